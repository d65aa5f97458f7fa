"""Comparisons, against cases whose answer is plain."""

import sys

import numpy as np
import pytest
import torch
from torch import nn

from mmengine.testing import (
    assert_allclose,
    assert_attrs_equal,
    assert_dict_contains_subset,
    assert_dict_has_keys,
    assert_is_norm_layer,
    assert_keys_equal,
    assert_params_all_zeros,
    check_python_script,
)
from mmengine.testing.compare import _any


@pytest.mark.parametrize(
    ('whole', 'part', 'expected'),
    [
        ({'a': 1, 'b': [1, 2]}, {'b': [1, 2]}, True),
        ({'a': 1}, {'a': 2}, False),
        ({'a': 1}, {'b': 1}, False),
        ({'a': 1}, {}, True),
        ({'a': np.ones(3)}, {'a': np.ones(3)}, True),
        ({'a': np.ones(3)}, {'a': np.array([1, 1, 2])}, False),
        ({'a': np.ones(3)}, {'a': np.ones((3, 1))}, False),
        ({'a': torch.ones(3)}, {'a': torch.ones(3)}, True),
        ({'a': torch.ones(3)}, {'a': torch.zeros(3)}, False),
        ({'a': {'x': [torch.ones(2)]}}, {'a': {'x': [torch.ones(2)]}}, True),
        ({'a': {'x': [torch.ones(2)]}}, {'a': {'x': [torch.zeros(2)]}}, False),
        ({'a': [1, 2]}, {'a': [1]}, False),
    ],
)
def test_dict_contains_subset(whole, part, expected):
    assert assert_dict_contains_subset(whole, part) is expected


def test_attributes_are_compared_by_value():
    layer = nn.Linear(2, 3)
    assert assert_attrs_equal(layer, {'in_features': 2, 'weight': layer.weight.clone()})
    assert not assert_attrs_equal(layer, {'in_features': 3})
    assert not assert_attrs_equal(layer, {'no_such_attribute': None})


def test_keys_are_found():
    assert assert_dict_has_keys({'a': 1, 'b': 2}, ['a'])
    assert not assert_dict_has_keys({'a': 1}, ['a', 'c'])


def test_keys_are_equal_in_any_order():
    assert assert_keys_equal(['a', 'b'], ('b', 'a'))
    assert not assert_keys_equal(['a', 'b'], ['b'])


@pytest.mark.parametrize(
    ('layer', 'expected'),
    [
        (nn.BatchNorm2d(2), True),
        (nn.InstanceNorm1d(2), True),
        (nn.GroupNorm(1, 2), True),
        (nn.LayerNorm(2), True),
        (nn.Conv2d(2, 2, 1), False),
    ],
)
def test_norm_layers_are_known(layer, expected):
    assert assert_is_norm_layer(layer) is expected


def test_parameters_are_all_zeros_only_if_each_is():
    layer = nn.Linear(2, 2)
    nn.init.zeros_(layer.weight)
    assert not assert_params_all_zeros(layer)
    nn.init.zeros_(layer.bias)
    assert assert_params_all_zeros(layer)
    assert assert_params_all_zeros(nn.Sequential(layer))


def test_a_module_without_parameters_is_refused():
    with pytest.raises(ValueError, match='ReLU has no parameters'):
        assert_params_all_zeros(nn.ReLU())


@pytest.mark.parametrize(
    ('value', 'expected'),
    [
        (True, True),
        (np.array([False, True]), True),
        (torch.zeros(2, dtype=torch.bool), False),
        ([[False], [np.array([True])]], True),
        ([], False),
    ],
)
def test_any_looks_into_arrays_and_sequences(value, expected):
    assert _any(value) is expected


@pytest.mark.parametrize(
    ('actual', 'expected'),
    [
        pytest.param(torch.ones(2), torch.ones(2) * (1 + 5e-5), id='within_single_precision'),
        pytest.param(torch.ones(2).double(), torch.ones(2), id='other_precision'),
        pytest.param(torch.ones(2, dtype=torch.long), torch.ones(2), id='other_type'),
        pytest.param([1, 2], np.array([1, 2]), id='list_and_array'),
        pytest.param(1.0, torch.tensor(1.0), id='number_and_tensor'),
        pytest.param([torch.ones(2), 3.0], [np.ones(2), 3], id='list_of_both'),
        pytest.param({'a': torch.ones(2)}, {'a': [1.0, 1.0]}, id='dicts'),
        pytest.param(torch.tensor([float('nan')]), [float('nan')], id='nan'),
        pytest.param(torch.tensor([1.0], dtype=torch.half), [1.0005], id='half'),
    ],
)
def test_close_values_pass(actual, expected):
    assert_allclose(actual, expected)


@pytest.mark.parametrize(
    ('actual', 'expected'),
    [
        pytest.param(torch.ones(2), torch.ones(2) * 1.001, id='values'),
        pytest.param(torch.ones(2).double(), torch.ones(2).double() * (1 + 5e-5), id='double'),
        pytest.param(torch.ones(2), torch.ones(2, 1), id='shape'),
        pytest.param(torch.ones(2), 1, id='no_broadcasting'),
        pytest.param([1, 2], [1, 3], id='integers'),
        pytest.param({'a': 1}, {'b': 1}, id='keys'),
    ],
)
def test_distant_values_are_refused(actual, expected):
    with pytest.raises(AssertionError):
        assert_allclose(actual, expected)


def test_tolerances_are_those_given():
    assert_allclose(torch.ones(2), torch.ones(2) * 1.1, rtol=0.2, atol=0.0)
    with pytest.raises(AssertionError):
        assert_allclose(torch.ones(2), torch.ones(2) * 1.1, rtol=0.0, atol=0.01)
    with pytest.raises(ValueError, match='atol'):
        assert_allclose(torch.ones(2), torch.ones(2), rtol=0.2)
    with pytest.raises(AssertionError):
        assert_allclose(float('nan'), float('nan'), equal_nan=False)


def test_the_message_can_be_given():
    with pytest.raises(AssertionError, match=r'^as it was told$'):
        assert_allclose(1, 2, msg='as it was told')


# Scripts


@pytest.fixture
def script(tmp_path):
    path = tmp_path / 'a script.py'
    path.write_text(
        'import sys\n'
        'if sys.argv[1:] == ["fail"]: raise ValueError("of the script")\n'
        'print(__name__, sys.argv[1:])\n'
        'if sys.argv[1:]: sys.exit(int(sys.argv[1]))\n'
    )
    return path


@pytest.mark.parametrize('before', ['', 'python ', 'python3 '])
def test_a_script_runs_as_the_main_module(script, before, capsys):
    own_arguments = sys.argv
    check_python_script(f"{before}'{script}' 0 b")
    assert capsys.readouterr().out == "__main__ ['0', 'b']\n"
    assert sys.argv is own_arguments


def test_a_script_that_fails_raises(script, tmp_path):
    with pytest.raises(ValueError, match='of the script'):
        check_python_script(f"'{script}' fail")
    with pytest.raises(SystemExit):
        check_python_script(f"'{script}' 3")
    with pytest.raises(FileNotFoundError):
        check_python_script(str(tmp_path / 'none.py'))
    with pytest.raises(ValueError, match='names no script'):
        check_python_script('python')
