"""The argument `clip_grad` of an optimizer wrapper, checked once when the wrapper is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_

from mmengine.utils.errors import ArgumentError, did_you_mean

ClipType = Literal['norm', 'value']

CLIPPERS: dict[ClipType, Callable[..., Any]] = {'norm': clip_grad_norm_, 'value': clip_grad_value_}
_REQUIRED = {'norm': 'max_norm', 'value': 'clip_value'}


def clip_type_of(function: Callable[..., Any]) -> ClipType | None:
    """The clip type that belongs to torch's ``function``; None for a custom function."""
    for clip_type, clipper in CLIPPERS.items():
        if function is clipper:
            return clip_type
    return None


def params_to_clip(param_groups: list[dict[str, Any]]) -> list[Tensor]:
    """The parameters of all groups that are trained and have a gradient."""
    return [
        param
        for group in param_groups
        for param in group['params']
        if param.requires_grad and param.grad is not None
    ]


def parse_clip_grad(clip_grad: Mapping[str, Any]) -> tuple[ClipType, dict[str, Any]]:
    """Split ``clip_grad`` into ``norm`` or ``value`` and the arguments of torch's function.

    Raises:
        ArgumentError: If ``clip_grad`` is not a dict, is empty, or has an unknown type or no bound.

    Example:
        >>> parse_clip_grad(dict(max_norm=1.0))
        ('norm', {'max_norm': 1.0})
    """
    if not isinstance(clip_grad, Mapping) or not clip_grad:
        raise ArgumentError(
            'clip_grad should be a dict such as dict(max_norm=1.0) or dict(type="value", '
            'clip_value=0.5), '
            f'got {clip_grad!r}. Omit it, or pass None, to disable clipping.'
        )
    kwargs = dict(clip_grad)
    clip_type = kwargs.pop('type', 'norm')
    if clip_type not in CLIPPERS:
        raise ArgumentError(
            f'clip_grad["type"] should be "norm" or "value", got {clip_type!r}.'
            + did_you_mean(str(clip_type), CLIPPERS)
        )
    bound = _REQUIRED[clip_type]
    if bound not in kwargs:
        raise ArgumentError(
            f'clip_grad of type {clip_type!r} needs {bound!r}, got only {sorted(kwargs)}.'
        )
    return clip_type, kwargs
