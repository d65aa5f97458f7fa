"""The argument `clip_grad` of an optimizer wrapper, checked once when the wrapper is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn.utils import clip_grad_norm_, clip_grad_value_, get_total_norm

from mmengine.dist._dtensor import full_tensor, is_dtensor
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


def clip_by_joint_norm(
    params: list[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
    foreach: bool | None = None,
) -> Tensor:
    """``clip_grad_norm_`` of torch, also for gradients on several device meshes.

    torch cannot compute the joint norm of ``DTensor`` objects on different meshes, or of them and
    plain tensors. All ranks of the meshes must call this.

    Args:
        params: Parameters with gradients, which are changed in place.
        max_norm: Upper bound of the joint norm.
        norm_type: The p of the p-norm.
        error_if_nonfinite: Whether to raise if the norm is not finite.
        foreach: As in torch.

    Returns:
        The norm before clipping, a plain 0-d tensor.

    Raises:
        RuntimeError: If the norm is not finite and ``error_if_nonfinite`` is set.
    """
    by_mesh = _grads_by_mesh(params)
    if len(by_mesh) < 2:
        norm: Tensor = clip_grad_norm_(params, max_norm, norm_type, error_if_nonfinite, foreach)
        return full_tensor(norm)
    norms = [
        full_tensor(get_total_norm(grads, norm_type, error_if_nonfinite, foreach))
        for grads in by_mesh.values()
    ]
    norm = torch.linalg.vector_norm(torch.stack(norms), norm_type)
    # The small number is torch's, so that the result is the same as on one mesh.
    factor = (max_norm / (norm + 1e-6)).clamp(max=1.0)
    for grads in by_mesh.values():
        for grad in grads:
            grad.mul_(factor)
    return norm


def clip_values(params: list[Tensor], clip_value: float, foreach: bool | None = None) -> None:
    """``clip_grad_value_`` of torch, also for ``DTensor`` objects beside plain tensors.

    Args:
        params: Parameters with gradients, which are changed in place.
        clip_value: Largest absolute value of a gradient.
        foreach: As in torch, where all gradients are on one mesh.
    """
    is_one_kind = len(_grads_by_mesh(params)) < 2
    clip_grad_value_(params, clip_value, foreach if is_one_kind else False)


def _grads_by_mesh(params: list[Tensor]) -> dict[Any, list[Tensor]]:
    """Gradients by their device mesh; None for plain tensors."""
    by_mesh: dict[Any, list[Tensor]] = {}
    for param in params:
        if param.grad is not None:
            spread: Any = param.grad
            mesh = spread.device_mesh if is_dtensor(spread) else None
            by_mesh.setdefault(mesh, []).append(spread)
    return by_mesh
