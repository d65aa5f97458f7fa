"""What may be logged: real numbers, tensors and arrays of one element."""

from __future__ import annotations

import math
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
from torch import Tensor

from mmengine.utils.errors import ArgumentError, ArgumentTypeError


def check_holds_one_number(value: Tensor) -> None:
    """Check that a tensor has one element, a real number.

    Raises:
        ArgumentError: If it does not.
    """
    if value.numel() != 1 or value.is_complex():
        raise ArgumentError(
            'A logged tensor must hold one real number, '
            f'got shape {tuple(value.shape)} of {value.dtype}. '
            'Reduce it first, for example with .mean().'
        )


def as_number(value: Any) -> float:
    """``value``, a number or an array of one element, as a float.

    Raises:
        ArgumentError: If an array does not have one element.
        ArgumentTypeError: If it is something else.
    """
    if isinstance(value, np.ndarray):
        if value.size != 1:
            raise ArgumentError(
                f'A logged array must hold one number, got shape {value.shape}. '
                'Reduce it first, for example with .mean().'
            )
        value = value.reshape(-1)[0]
    if isinstance(value, (Real, Decimal, np.floating, np.integer, np.bool_)):
        return float_of(value)
    raise ArgumentTypeError(
        f'A logged value must be a number or a tensor of one element, got a {type(value).__name__}.'
    )


def float_of(value: Any) -> float:
    """``float(value)``; infinity for an integer, fraction or decimal that no float can hold."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def as_count(count: Any) -> float:
    """``count`` as an int or a float.

    Raises:
        TypeError: If it is not a number.
    """
    if isinstance(count, (int, np.integer, np.bool_)):
        return int(count)
    if isinstance(count, (float, np.floating)):
        return float(count)
    if isinstance(count, Tensor) and count.numel() == 1:
        return as_count(count.item())
    raise TypeError(f'count must be a number, got {type(count).__name__}.')
