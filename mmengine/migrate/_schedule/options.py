"""The arguments of a policy, as a config gives them, and what is wrong with them."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any

from mmengine.utils.errors import ArgumentError, did_you_mean


def bound(name: str, policy: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    """The function of time that ``policy`` makes of its options.

    Raises:
        ArgumentError: If an option is unknown, missing or of a wrong value.
    """
    known = inspect.signature(policy).parameters
    for option in options:
        if option not in known:
            raise ArgumentError(
                f'policy {name} has no {option!r}.{did_you_mean(str(option), known)} It takes: '
                f'{", ".join(known) or "nothing"}.'
            )
    for option, parameter in known.items():
        if parameter.default is parameter.empty and option not in options:
            raise ArgumentError(f'policy {name} needs {option!r}.')
    for option, value in options.items():
        _check_kind(name, option, value)
    return policy(**options)


_LISTS = ('periods', 'restart_weights')
_LISTS_OR_NUMBERS = ('step', 'target_ratio', 'max_lr')
_NO_NUMBERS = ('anneal_strategy', 'three_phase')


def _check_kind(name: str, option: str, value: Any) -> None:
    if value is None or option in _NO_NUMBERS:
        return
    is_list = isinstance(value, (list, tuple))
    if option in _LISTS:
        kind, is_right = 'a list of numbers', is_list
    elif option in _LISTS_OR_NUMBERS:
        kind, is_right = 'a number or a list of numbers', True
    else:
        kind, is_right = 'a number', not is_list
    numbers = value if is_list else [value]
    is_empty = not numbers and option != 'step'
    if not is_right or is_empty or not all(map(_is_number, numbers)):
        raise ArgumentError(f'policy {name}: {option} is {kind}, got {value!r}.')


def _is_number(value: Any) -> bool:
    is_one = isinstance(value, (int, float)) and not isinstance(value, bool)
    return is_one and math.isfinite(value)
