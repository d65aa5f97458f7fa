"""Predictions as lines of JSON."""

import dataclasses
import enum
import json
import math
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mmengine.infer._records import writing_records
from mmengine.structures import BaseDataElement, InstanceData


class Colour(enum.Enum):
    RED = 1


@dataclasses.dataclass
class Box:
    corner: torch.Tensor
    name: str


def written(value: Any, folder: Path) -> Any:
    with writing_records(folder) as writer:
        writer.write({}, value)
    return json.loads((folder / 'predictions.jsonl').read_text())['prediction']


@pytest.mark.parametrize(
    ('value', 'plain'),
    [
        (torch.tensor(3), 3),
        (torch.tensor([True, False]), [True, False]),
        (torch.tensor([0.1, 2.5]), [0.1, 2.5]),  # the digits of float32
        (torch.tensor([1.5], dtype=torch.bfloat16), [1.5]),
        (torch.tensor([1.0], requires_grad=True), [1.0]),
        (torch.tensor([1.0, math.nan, math.inf]), [1.0, None, None]),
        (math.nan, None),
        (np.float32(0.1), 0.1),
        (np.array(['a', 'b']), ['a', 'b']),
        ({'scores': torch.tensor([0.5]), 1: None}, {'scores': [0.5], '1': None}),
        ((1, 'a', {2}), [1, 'a', [2]]),
        (Colour.RED, 'RED'),
        (Path('a/b.png'), 'a/b.png'),
        (Box(torch.tensor([1, 2]), 'x'), {'corner': [1, 2], 'name': 'x'}),
        (
            BaseDataElement(
                metainfo={'path': 'a.png'}, boxes=InstanceData(label=torch.tensor([4, 5]))
            ),
            {'path': 'a.png', 'boxes': {'label': [4, 5]}},
        ),
    ],
    ids=lambda value: type(value).__name__,  # the text of some values has an address
)
def test_values_become_json(value: Any, plain: Any, tmp_path: Path) -> None:
    assert written(value, tmp_path) == plain


def test_large_arrays_are_files_that_the_line_names(tmp_path: Path) -> None:
    image = torch.arange(1024.0).view(32, 32)
    found = written({'map': image}, tmp_path)['map']
    assert (found['shape'], found['dtype']) == ([32, 32], 'float32')
    np.testing.assert_array_equal(np.load(tmp_path / found['file']), image.numpy())


def test_other_values_are_text_and_reported(tmp_path: Path) -> None:
    with writing_records(tmp_path) as writer:
        writer.write({'index': 0}, {'day': date(2024, 2, 3)})
    assert writer.as_text == {'date'}
    assert '"2024-02-03"' in (tmp_path / 'predictions.jsonl').read_text()


def test_earlier_files_stay_until_all_is_written(tmp_path: Path) -> None:
    first = written(torch.zeros(2000), tmp_path)
    with pytest.raises(RuntimeError, match='stopped'), writing_records(tmp_path) as writer:
        writer.write({}, torch.ones(2000))
        raise RuntimeError('stopped')
    assert np.load(tmp_path / first['file']).max() == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        'predictions.jsonl', 'predictions_arrays',
    ]  # fmt: skip
    assert written(1, tmp_path) == 1
    assert [path.name for path in tmp_path.iterdir()] == ['predictions.jsonl']
