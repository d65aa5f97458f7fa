"""Which value of a batch a loss or an embedding of torch refused, in one sentence.

The functions of torch raise an error that has neither the place of the value nor what is allowed.
Their arguments are in the traceback.
"""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from mmengine.utils.errors import ArgumentError


class RefusedValueError(ArgumentError, IndexError, RuntimeError):
    """A function of torch refused a value of the batch; torch raises one of these."""


def refused_value(model: nn.Module, error: BaseException) -> RefusedValueError | None:
    """An error that names the value and what is allowed; None if ``error`` has another reason.

    Args:
        model: The model that was at work.
        error: What it raised.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    if not frames:
        return None
    frame = frames[-1][0]
    describe = _FUNCTIONS.get(frame.f_code.co_name)
    if describe is None or frame.f_globals.get('__name__') != 'torch.nn.functional':
        return None
    try:
        text = describe(model, frame.f_locals)
    except RuntimeError:  # after an error in a kernel of the device, nothing can be read from it
        return None
    return None if text is None else RefusedValueError(f'{type(model).__name__}: {text}')


def _of_cross_entropy(model: nn.Module, given: Mapping[str, Any]) -> str | None:
    scores, targets, ignored = given['input'], given['target'], given['ignore_index']
    if not isinstance(scores, Tensor) or not isinstance(targets, Tensor) or not scores.dim():
        return None
    number = scores.shape[1 if scores.dim() > 1 else 0]
    expected = (*scores.shape[:1], *scores.shape[2:]) if scores.dim() > 1 else ()
    if tuple(targets.shape) != expected:
        if targets.shape == scores.shape:
            return None  # a probability of each class
        return (
            f'the scores have the shape {tuple(scores.shape)}, so targets should have the shape '
            f'{expected}, got {tuple(targets.shape)}.'
        )
    if targets.dtype not in (torch.int64, torch.uint8):
        return (
            'a target is the number of a class, of the type torch.int64 (labels.long()), got '
            f'{targets.dtype}.'
        )
    wrong = ((targets < 0) | (targets >= number)) & (targets != ignored)
    allowed = (
        f'the scores are for {number} classes, so a target is from 0 to {number - 1}, or '
        f'{ignored}, which does not count'
    )
    return _first(wrong, targets, 'targets', allowed)


def _of_embedding(model: nn.Module, given: Mapping[str, Any]) -> str | None:
    indices, weight = given['input'], given['weight']
    number = len(weight)
    parts = model.named_modules()
    name = next((name for name, part in parts if getattr(part, 'weight', None) is weight), '')
    owner = f'the embedding {name}' if name else 'an embedding'
    if indices.dtype not in (torch.int64, torch.int32):
        return (
            f'{owner} takes integers of the type torch.int64 (tokens.long()), got {indices.dtype}.'
        )
    wrong = (indices < 0) | (indices >= number)
    allowed = f'{owner} has {number} rows, so its inputs are from 0 to {number - 1}'
    return _first(wrong, indices, 'inputs', allowed)


def _first(wrong: Tensor, values: Tensor, what: str, allowed: str) -> str | None:
    """``allowed`` and the first wrong value with its place."""
    places = wrong.nonzero()
    if not len(places):
        return None
    place = places[0].tolist()
    value = values[tuple(place)].item()
    more = f', and {len(places) - 1} more are wrong' if len(places) > 1 else ''
    return f'{allowed}; {what}{place or ""} is {value}{more}.'


_FUNCTIONS: dict[str, Callable[[nn.Module, Mapping[str, Any]], str | None]] = {
    'cross_entropy': _of_cross_entropy,
    'nll_loss': _of_cross_entropy,
    'embedding': _of_embedding,
}
