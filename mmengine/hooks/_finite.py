"""Whether tensors are finite, without waiting for the device, and which ones are not."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from mmengine.dist._dtensor import is_dtensor

_MOST_NAMES = 5


class FiniteCheck:
    """The extreme values of each tensor, from which one flag is made. Nothing is read.

    A maximum cannot overflow, as a sum of squares can.

    Args:
        tensors: Tensors by name. Of a ``DTensor`` the part of this rank is checked.
    """

    def __init__(self, tensors: Mapping[str, Tensor]) -> None:
        local = {name: _local(tensor) for name, tensor in tensors.items()}
        groups: dict[tuple[torch.device, torch.dtype], list[str]] = {}
        for name, tensor in local.items():
            if tensor.numel() and (tensor.is_floating_point() or tensor.is_complex()):
                groups.setdefault((tensor.device, tensor.dtype), []).append(name)
        self._extremes = [
            (names, _extremes([local[name] for name in names])) for names in groups.values()
        ]

    def flag(self, device: torch.device) -> Tensor:
        """Whether all tensors are finite: a 0-d bool tensor on ``device``."""
        if not self._extremes:
            return torch.ones((), dtype=torch.bool, device=device)
        flags = [extremes.isfinite().all().to(device) for _, extremes in self._extremes]
        return flags[0] if len(flags) == 1 else torch.stack(flags).all()

    def non_finite(self) -> list[str]:
        """Names of the tensors that are not finite. Waits for the device."""
        return [
            name
            for names, extremes in self._extremes
            for name, is_finite in zip(names, extremes.isfinite().all(1).tolist(), strict=True)
            if not is_finite
        ]


def gradients_by_name(
    param_groups: Sequence[Mapping[str, Any]], names: Mapping[int, str]
) -> dict[str, Tensor]:
    """The gradients of an optimizer by the names of their parameters.

    Args:
        param_groups: The groups of the optimizer.
        names: Names of the parameters by ``id``.
    """
    params = [param for group in param_groups for param in group['params']]
    return {
        names.get(id(param), f'parameter {number}'): _dense(param.grad)
        for number, param in enumerate(params)
        if getattr(param, 'grad', None) is not None
    }


def weights_by_name(model: nn.Module) -> dict[str, Tensor]:
    """The trained parameters of a model, and the running statistics of its normalization layers."""
    weights: dict[str, Tensor] = {
        name: _dense(param)
        for name, param in model.named_parameters()
        if param.requires_grad and not is_lazy(param)
    }
    for prefix, module in model.named_modules():
        if getattr(module, 'track_running_stats', False):
            weights |= dict(module.named_buffers(prefix, recurse=False))
    return weights


def few(names: Iterable[str]) -> str:
    """The first names as text, and how many more there are."""
    names = list(names)
    more = len(names) - _MOST_NAMES
    return ', '.join(names[:_MOST_NAMES]) + (f' and {more} more' if more > 0 else '')


def _extremes(tensors: list[Tensor]) -> Tensor:
    """Values of each tensor, in a row, that are finite if and only if the whole tensor is.

    A device takes the norms of all tensors in one call. On a CPU that is one slow loop each, and
    the least and the largest value take a twentieth of the time.
    """
    if tensors[0].is_cpu:
        real = [torch.view_as_real(one) if one.is_complex() else one for one in tensors]
        return torch.stack([torch.stack(torch.aminmax(one)) for one in real])
    return torch.stack(torch._foreach_norm(tensors, math.inf)).unsqueeze(1)


@torch.no_grad()
def _local(tensor: Tensor) -> Tensor:
    sharded: Any = tensor
    part: Tensor = sharded.to_local() if is_dtensor(tensor) else tensor
    return part.detach()


def _dense(tensor: Tensor) -> Tensor:
    return tensor.detach().coalesce().values() if tensor.is_sparse else tensor
