"""Checks that tests of projects share."""

from __future__ import annotations

import runpy
import shlex
import sys
from collections.abc import Collection, Mapping
from typing import Any
from unittest import mock

import numpy as np
import torch
from torch import Tensor, nn

from mmengine.utils.dl_utils.misc import is_norm
from mmengine.utils.errors import ArgumentError

# (relative, absolute); other types of numbers have to be equal.
_TOLERANCES = {
    torch.float16: (1e-3, 1e-3),
    torch.bfloat16: (1.6e-2, 1e-3),
    torch.float32: (1e-4, 1e-5),
    torch.float64: (1e-5, 1e-8),
    torch.complex64: (1e-4, 1e-5),
    torch.complex128: (1e-5, 1e-8),
}


def check_python_script(cmd: str) -> None:
    """Run a Python script in this process, as ``python <cmd>`` would.

    Args:
        cmd: The path of the script and its arguments; ``python`` may stand before them.

    Raises:
        FileNotFoundError: If the script does not exist.
        SystemExit: If the script ends with an exit code other than 0.
    """
    words = shlex.split(cmd)
    if words[:1] in (['python'], ['python3']):
        words = words[1:]
    if not words:
        raise ArgumentError(f'The command {cmd!r} names no script.')
    with mock.patch.object(sys, 'argv', words):
        try:
            runpy.run_path(words[0], run_name='__main__')
        except SystemExit as ending:
            if ending.code not in (None, 0):
                raise


def _any(judge_result: Any) -> bool:
    """Whether anything in a value, an array, a tensor or nested sequences of them is true."""
    if isinstance(judge_result, (Tensor, np.ndarray)):
        return bool(judge_result.any())
    if isinstance(judge_result, (list, tuple)):
        return any(map(_any, judge_result))
    return bool(judge_result)


def _same(value: Any, expected: Any) -> bool:
    """Equality that also holds for arrays and tensors, and inside sequences and mappings."""
    if isinstance(value, (Tensor, np.ndarray)) or isinstance(expected, (Tensor, np.ndarray)):
        shapes = [np.shape(item) for item in (value, expected)]
        return shapes[0] == shapes[1] and not _any(value != expected)
    if isinstance(value, Mapping) and isinstance(expected, Mapping):
        return value.keys() == expected.keys() and all(_same(value[k], expected[k]) for k in value)
    if isinstance(value, (list, tuple)) and isinstance(expected, type(value)):
        return len(value) == len(expected) and all(map(_same, value, expected))
    return bool(value == expected)


def assert_dict_contains_subset(
    dict_obj: Mapping[Any, Any], expected_subset: Mapping[Any, Any]
) -> bool:
    """Whether a dict has all the entries of another one."""
    return all(
        key in dict_obj and _same(dict_obj[key], value) for key, value in expected_subset.items()
    )


def assert_attrs_equal(obj: Any, expected_attrs: Mapping[str, Any]) -> bool:
    """Whether an object has attributes of these names and values."""
    return all(
        hasattr(obj, name) and _same(getattr(obj, name), value)
        for name, value in expected_attrs.items()
    )


def assert_dict_has_keys(obj: Mapping[Any, Any], expected_keys: Collection[Any]) -> bool:
    """Whether a dict has all these keys."""
    return all(key in obj for key in expected_keys)


def assert_keys_equal(result_keys: Collection[Any], target_keys: Collection[Any]) -> bool:
    """Whether two collections have the same entries, in any order."""
    return set(result_keys) == set(target_keys)


def assert_is_norm_layer(module: nn.Module) -> bool:
    """Whether a module is a batch, instance, group or layer normalization."""
    return is_norm(module)


def assert_params_all_zeros(module: nn.Module) -> bool:
    """Whether all parameters of a module are 0.

    Raises:
        ArgumentError: If it has none.
    """
    parameters = list(module.parameters())
    if not parameters:
        raise ArgumentError(f'{type(module).__name__} has no parameters to look at.')
    return not any(_any(parameter.detach()) for parameter in parameters)


def assert_allclose(
    actual: Any,
    expected: Any,
    rtol: float | None = None,
    atol: float | None = None,
    equal_nan: bool = True,
    msg: str | None = '',
) -> None:
    """Raise unless two tensors, arrays, numbers, or sequences of these are close.

    Their types may differ, their shapes may not.

    Args:
        actual: What came out.
        expected: What should have.
        rtol: Difference allowed relative to ``expected``.
        atol: Difference allowed in addition. By default both go by the less precise of the types;
            give either both or none.
        equal_nan: Whether NaN equals NaN.
        msg: The message, instead of a description of the difference.

    Raises:
        AssertionError: If they are not close.
        ValueError: If only one of the tolerances is given.
    """
    first, second = _as_tensors(actual), _as_tensors(expected)
    if rtol is None and atol is None:
        kinds = _dtypes(first) | _dtypes(second)
        limits = [_TOLERANCES[kind] for kind in kinds if kind in _TOLERANCES]
        rtol = max((relative for relative, _ in limits), default=0.0)
        atol = max((absolute for _, absolute in limits), default=0.0)
    torch.testing.assert_close(
        first,
        second,
        rtol=rtol,
        atol=atol,
        equal_nan=equal_nan,
        check_dtype=False,
        check_device=False,
        msg=msg or None,
    )


def _as_tensors(value: Any) -> Any:
    """``value`` as a tensor, or as nested sequences and mappings of tensors."""
    if isinstance(value, Tensor):
        return value
    if isinstance(value, Mapping):
        return {key: _as_tensors(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)) and not _is_of_numbers(value):
        return [_as_tensors(item) for item in value]
    return torch.as_tensor(value)


def _is_of_numbers(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_of_numbers, value))
    return isinstance(value, (int, float, complex, np.number))


def _dtypes(value: Any) -> set[torch.dtype]:
    if isinstance(value, Tensor):
        return {value.dtype}
    items = value.values() if isinstance(value, Mapping) else value
    return set().union(*map(_dtypes, items))
