"""Compares the output of an exported file with the output of its model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmengine.export._errors import ExportError

# By the precision of the output. Operations of float32 in another order differ by some 1e-6.
_ALLOWED = {torch.float16: 1e-2, torch.bfloat16: 5e-2, torch.float64: 1e-6, torch.complex128: 1e-6}
_ALLOWED_ELSE = 1e-4


@dataclass(frozen=True)
class Difference:
    """How far a file is from its model.

    Attributes:
        largest: The largest difference of two numbers.
        allowed: What it may be: the tolerance times the largest number of that output, or times 1
            if that is smaller.
    """

    largest: float = 0.0
    allowed: float = 0.0

    @property
    def is_small(self) -> bool:
        """Whether it is allowed."""
        return self.largest <= self.allowed


def compare(
    expected: Sequence[Tensor], found: Sequence[Tensor], tolerance: float | None
) -> Difference:
    """The difference of two outputs; of several tensors, the one that is furthest off.

    Args:
        expected: The tensors that the model returns.
        found: The tensors that the file returns.
        tolerance: Allowed difference relative to the largest number of a tensor; None selects it
            by the precision: 1e-4 for float32. Integers and booleans must be equal.

    Raises:
        ExportError: If the outputs differ in number, shape or dtype.
    """
    if len(expected) != len(found):
        raise ExportError(
            f'The file returns {len(found)} tensors, but the model returns {len(expected)}.'
        )
    worst, worst_ratio = Difference(), -1.0
    for number, (one, other) in enumerate(zip(expected, found, strict=True)):
        if one.shape != other.shape or one.dtype != other.dtype:
            raise ExportError(
                f'Output {number} of the file is {_form(other)}, but the model returns '
                f'{_form(one)}.'
            )
        difference = _compare_two(one, other, tolerance)
        ratio = difference.largest / difference.allowed if difference.allowed else 0.0
        if difference.allowed == 0.0 and difference.largest > 0.0:
            ratio = float('inf')
        if ratio > worst_ratio:
            worst, worst_ratio = difference, ratio
    return worst


def _compare_two(expected: Tensor, found: Tensor, tolerance: float | None) -> Difference:
    dtype = expected.dtype
    is_inexact = dtype.is_floating_point or dtype.is_complex
    if expected.numel() == 0:
        return Difference()
    wide = torch.complex128 if dtype.is_complex else torch.float64
    one, other = expected.to(wide), found.to(wide)
    same = (one == other) | (one.isnan() & other.isnan())
    apart = torch.where(same, torch.zeros_like(one.abs()), (one - other).abs())
    apart = apart.nan_to_num(nan=float('inf'), posinf=float('inf'))
    finite = one.abs()[one.isfinite()] if dtype.is_complex else one[one.isfinite()].abs()
    scale = max(1.0, float(finite.max())) if finite.numel() else 1.0
    relative = _ALLOWED.get(dtype, _ALLOWED_ELSE) if tolerance is None else tolerance
    return Difference(float(apart.max()), relative * scale if is_inexact else 0.0)


def _form(tensor: Tensor) -> str:
    return f'{str(tensor.dtype).removeprefix("torch.")} of shape {tuple(tensor.shape)}'
