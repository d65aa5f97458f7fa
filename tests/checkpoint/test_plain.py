"""What is put into a checkpoint opens with torch.load(weights_only=True)."""

import enum
import io
from collections import OrderedDict, defaultdict, namedtuple
from pathlib import Path, PureWindowsPath

import numpy as np
import pytest
import torch
from torch import nn

from mmengine._checkpoint.plain import plain_checkpoint, savable
from mmengine.config import ConfigDict


class Colour(enum.IntEnum):
    RED = 2


class Text(str):
    pass


Pair = namedtuple('Pair', 'a b')


def _fail(value):
    raise AssertionError(f'unknown: {value!r}')


def _roundtrip(value):
    file = io.BytesIO()
    torch.save(value, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (np.float32(0.5), 0.5),
        (np.int64(3), 3),
        (np.bool_(True), True),
        (np.str_('a'), 'a'),
        (np.array(['a', 'bb']), ['a', 'bb']),
        (np.array([1, None], dtype=object), [1, None]),
        (Colour.RED, 2),
        (Text('t'), 't'),
        (Pair(1, np.float64(2)), (1, 2.0)),
        (frozenset({1}), {1}),
        ({1, 2}, {1, 2}),
        (defaultdict(list, a=[np.int8(1)]), {'a': [1]}),
        (ConfigDict(a=dict(b=(1, 2))), {'a': {'b': (1, 2)}}),
        ({np.int64(1): None}, {1: None}),
        (b'bytes', b'bytes'),
        (Path('/data/1.jpg'), '/data/1.jpg'),
        (PureWindowsPath('c:/data'), 'c:\\data'),
        (1 + 2j, 1 + 2j),
        (torch.float16, torch.float16),
        (torch.Size([1, 2]), torch.Size([1, 2])),
    ],
    ids=lambda value: type(value).__name__,
)
def test_a_value_opens_as_its_plain_form(value, expected):
    opened = _roundtrip(savable(value, _fail))
    assert opened == expected
    assert type(opened) is type(expected)


def test_arrays_become_tensors_of_their_own():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    opened = savable({'array': array}, _fail)
    array[:] = 0
    assert torch.equal(opened['array'], torch.arange(6.0).reshape(2, 3))


def test_what_is_plain_stays_the_same_object():
    value = OrderedDict(a=[torch.zeros(1), (1, 'x')], b={'c': None})
    assert savable(value, _fail) is value


def test_the_versions_of_a_state_dict_survive_a_change_beside_them():
    state = nn.BatchNorm1d(2).state_dict()
    state['extra'] = np.float64(1)
    assert savable(state, _fail)._metadata == state._metadata


def test_the_given_value_is_not_changed():
    value = {'a': [np.float64(1)]}
    savable(value, _fail)
    assert type(value['a'][0]) is np.float64


def test_an_object_without_a_plain_form_is_kept_and_named(capsys):
    kept = nn.Linear(1, 1)
    assert plain_checkpoint({'model': kept})['model'] is kept
    assert 'objects of torch.nn.modules.linear.Linear' in capsys.readouterr().out
