"""How far two outputs are apart, and what is allowed."""

import math

import pytest
import torch

from mmengine.export import ExportError
from mmengine.export._compare import compare


def of(*values: float, dtype: torch.dtype = torch.float32) -> list[torch.Tensor]:
    return [torch.tensor(values, dtype=dtype)]


def test_difference_is_relative_to_the_largest_number() -> None:
    found = compare(of(1000.0, 0.0), of(1000.0, 0.0625), None)
    assert found.largest == 0.0625
    assert found.allowed == pytest.approx(0.1)  # 1e-4 of 1000
    assert found.is_small
    assert not compare(of(0.5, 0.0), of(0.5, 0.0625), None).is_small  # 1e-4 of 1


def test_precision_decides_what_is_allowed() -> None:
    for dtype, allowed in ((torch.float16, 1e-2), (torch.float64, 1e-6)):
        assert compare(of(1.0, dtype=dtype), of(1.0, dtype=dtype), None).allowed == allowed
    assert compare(of(2.0), of(2.5), 0.25).is_small  # 0.25 of 2


def test_integers_are_equal_or_not() -> None:
    assert compare(of(3, dtype=torch.int64), of(3, dtype=torch.int64), 0.5).is_small
    assert not compare(of(3, dtype=torch.int64), of(4, dtype=torch.int64), 0.5).is_small


def test_infinite_and_undefined_numbers_are_at_the_same_places() -> None:
    assert compare(of(math.inf, math.nan), of(math.inf, math.nan), None).largest == 0
    for expected, found in ((math.nan, 1.0), (1.0, math.nan), (math.inf, -math.inf)):
        assert compare(of(expected), of(found), None).largest == math.inf


def test_worst_of_several_outputs_counts() -> None:
    good, bad = torch.tensor([1e6]), torch.tensor([1.0])
    found = compare([good, bad], [good + 1, bad + 0.01], None)
    assert found.largest == pytest.approx(0.01, rel=1e-4)  # the 1 is small beside 1e6


def test_other_forms_are_refused() -> None:
    for other in ([], [torch.zeros(2)], [torch.zeros(1, dtype=torch.float64)]):
        with pytest.raises(ExportError, match=r'The file returns 0|Output 0 of the file is'):
            compare([torch.zeros(1)], other, None)
