"""Labels of a whole sample."""

from typing import Any

import numpy as np
import pytest
import torch

from mmengine.structures import LabelData
from mmengine.utils.errors import ArgumentError


@pytest.mark.parametrize(
    ('label', 'expected'),
    [([0, 2], [1, 0, 1, 0]), ([3], [0, 0, 0, 1]), ([1, 1], [0, 1, 0, 0]), ([], [0, 0, 0, 0])],
)
@pytest.mark.parametrize('dtype', [torch.int64, torch.int32])
def test_labels_become_ones(label: list, expected: list, dtype: torch.dtype) -> None:
    onehot = LabelData.label_to_onehot(torch.tensor(label, dtype=dtype), num_classes=4)
    assert onehot.tolist() == expected
    assert onehot.dtype == dtype


@pytest.mark.parametrize(
    'label',
    [[1], torch.tensor([4]), torch.tensor([-1]), torch.tensor([1.0]), torch.tensor([[1, 2]])],
    ids=repr,
)
def test_other_labels_are_refused(label: Any) -> None:
    with pytest.raises(ArgumentError, match='abel'):
        LabelData.label_to_onehot(label, 4)


@pytest.mark.parametrize(
    ('onehot', 'expected'),
    [
        (torch.tensor([1, 0, 1]), [0, 2]),
        (torch.tensor([0.0, 1.0]), [1]),
        (torch.tensor([True, False]), [0]),
        (torch.tensor([0, 0]), []),
    ],
    ids=repr,
)
def test_ones_become_labels(onehot: torch.Tensor, expected: list) -> None:
    label = LabelData.onehot_to_label(onehot)
    assert label.tolist() == expected
    assert label.dtype == torch.int64


@pytest.mark.parametrize(
    'onehot',
    [torch.tensor([0, 2]), torch.tensor([[1, 0]]), [0, 1], np.array([0, 1])],
    ids=repr,
)
def test_other_vectors_are_refused(onehot: Any) -> None:
    with pytest.raises(ValueError, match='onehot must be'):
        LabelData.onehot_to_label(onehot)


def test_fields_of_any_kind_are_kept() -> None:
    assert LabelData(score=0.5, label=torch.tensor([1])).keys() == ['score', 'label']
