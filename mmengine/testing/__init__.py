"""Helpers for tests: comparisons, and a base for tests that run a Runner."""

from typing import TYPE_CHECKING, Any

from mmengine.testing.compare import (
    assert_allclose,
    assert_attrs_equal,
    assert_dict_contains_subset,
    assert_dict_has_keys,
    assert_is_norm_layer,
    assert_keys_equal,
    assert_params_all_zeros,
    check_python_script,
)

if TYPE_CHECKING:
    from mmengine.testing.runner_test_case import RunnerTestCase

__all__ = [
    'RunnerTestCase',
    'assert_allclose',
    'assert_attrs_equal',
    'assert_dict_contains_subset',
    'assert_dict_has_keys',
    'assert_is_norm_layer',
    'assert_keys_equal',
    'assert_params_all_zeros',
    'check_python_script',
]


def __getattr__(name: str) -> Any:
    # It imports the whole engine, which the processes of a distributed test do not need.
    if name == 'RunnerTestCase':
        from mmengine.testing.runner_test_case import RunnerTestCase

        return RunnerTestCase
    raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
