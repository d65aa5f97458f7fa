"""What every schedule checks before a run starts: numbers in range, positive counts."""

from numbers import Integral, Real
from typing import Any

from mmengine.utils.errors import ArgumentError


def require_range(
    owner: object,
    name: str,
    value: Any,
    low: float,
    high: float = float('inf'),
    *,
    above_low: bool = False,
) -> None:
    """Refuse a ``value`` outside ``[low, high]``, or outside ``(low, high]`` with ``above_low``.

    Raises:
        TypeError: If ``value`` is not a real number.
        ArgumentError: If it is outside the range, or NaN.
    """
    if not isinstance(value, Real):
        raise TypeError(
            f'{type(owner).__name__} expects a number for {name}, got {value!r} '
            f'of type {type(value).__name__}.'
        )
    number = float(value)
    inside = low < number <= high if above_low else low <= number <= high
    if not inside:
        lower = f'above {low:g}' if above_low else f'at least {low:g}'
        upper = '' if high == float('inf') else f' and at most {high:g}'
        raise ArgumentError(f'{type(owner).__name__} needs {name} {lower}{upper}, got {value!r}.')


def require_count(owner: object, name: str, value: Any) -> int:
    """A positive integer, as a plain int.

    Raises:
        ArgumentError: If ``value`` is not one.
    """
    whole = isinstance(value, Integral) or (isinstance(value, Real) and float(value).is_integer())
    if not whole or value <= 0:
        raise ArgumentError(
            f'{type(owner).__name__} needs a positive integer for {name}, got {value!r}.'
        )
    return int(value)
