"""Finds layers that compute other gradients on ranks that should compute the same."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as torch_dist
from torch import Tensor, nn

from mmengine.dist import all_reduce, broadcast, get_backend
from mmengine.strategy._first_step import before_first_step, optimized_parameters
from mmengine.strategy._tensor_parallel import is_split
from mmengine.utils.errors import ArgumentError

# Kernels may round in another order on each rank. A part of a sequence gives other numbers.
_OF_PARAMETER, _OF_MODEL = 0.05, 1e-3


def check_first_step(optimizer: Any, model: nn.Module, mesh: Any) -> None:
    """Compare the gradients of layers that are not split, before the first step of ``optimizer``.

    A layer that is not in ``tp_plan`` has all its parameters on each rank of ``mesh``, and gets the
    same input there. Where it gets a part of a sequence instead, each rank has a part of its
    gradient only, and the copies of its parameters would become different without a word.

    Args:
        optimizer: An optimizer of torch. All ranks step together.
        model: The placed model.
        mesh: The axis ``tensor`` of the device mesh.
    """

    def check() -> None:
        if get_backend() == 'fake':
            return  # ranks of a plan, which compute nothing
        whole = {
            name: param.grad
            for name, param in optimized_parameters(optimizer, model).items()
            if param.grad is not None and not is_split(param)
        }
        differing = _differing(whole, mesh)
        if differing:
            raise ArgumentError(
                f'The ranks that compute one batch together have other gradients of '
                f'{", ".join(differing[:4])}. These layers are not split, so they need the same '
                'input on each of these ranks. Layers that get a part of the sequence belong in '
                "tp_plan with the style 'sequence'. Samplers and random numbers should give these "
                'ranks the same batch.'
            )

    before_first_step(optimizer, check)


def _differing(gradients: dict[str, Any], mesh: Any) -> list[str]:
    """Names of gradients that differ along ``mesh``. All ranks must call it and get the same."""
    if not gradients:
        return []
    group = mesh.get_group()
    first_rank = torch_dist.get_global_rank(group, 0)
    rows = []
    for grad in gradients.values():
        own: Tensor = grad.to_local().detach().float()
        first = own.clone()
        broadcast(first, first_rank, group)
        rows.append(torch.stack([(own - first).norm(), first.norm()]))
    table = torch.stack(rows)
    all_reduce(table, op='max')
    difference, norm = table.unbind(1)
    is_other = (difference > _OF_PARAMETER * norm) & (difference > _OF_MODEL * norm.max())
    return [name for name, other in zip(gradients, is_other.tolist(), strict=True) if other]
