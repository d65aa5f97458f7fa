"""Gradient accumulation in numbers: which batches share a step, and what an open window holds.

Batches are counted from 0 over the whole run. A *window* is a run of neighbouring batches whose
averaged gradient makes one step; its loss is divided by the number of batches in it, so it equals
one big batch of equal parts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from mmengine.dist import (
    all_gather_object,
    all_reduce,
    gather_object,
    get_dist_info,
    get_world_size,
)


def window_of(batch: int, size: int, last: int, floor: int) -> tuple[int, int]:
    """The window that holds ``batch``, as its first batch and the one after its last.

    Args:
        batch: Which batch, from 0.
        size: Batches in a full window.
        last: Number of batches of the run, where a shorter window ends; negative while unknown.
        floor: No window reaches back over this batch: where counting began without its
            predecessors' gradients.

    Example:
        >>> [window_of(batch, size=3, last=5, floor=0) for batch in range(5)]
        [(0, 3), (0, 3), (0, 3), (3, 5), (3, 5)]
        >>> window_of(5, size=3, last=10, floor=5)
        (5, 6)
    """
    start = batch - batch % size
    end = start + size
    if start < last < end:
        if batch < last:
            end = last
        else:
            start = last
    if start < floor <= batch:
        start = floor
    return start, end


def gradients_of(param_groups: list[dict[str, Any]]) -> dict[int, Tensor]:
    """Gradients by the number their parameter has in a ``torch.optim`` state dict."""
    params = [param for group in param_groups for param in group['params']]
    return {
        number: param.grad
        for number, param in enumerate(params)
        if getattr(param, 'grad', None) is not None
    }


def gather_gradients(param_groups: list[dict[str, Any]]) -> list[dict[int, Tensor]]:
    """Every rank's gradients, in order of rank, on rank 0; its own alone on any other rank.

    All ranks must call it. The gradients of several ranks are on the host.
    """
    gradients = gradients_of(param_groups)
    if get_world_size() == 1:
        return [gradients]
    # As objects, because a parameter may have a gradient on one rank and none on another.
    gathered = gather_object({number: grad.cpu() for number, grad in gradients.items()}, dst=0)
    return gathered or [gradients]


def restore_gradients(param_groups: list[dict[str, Any]], by_rank: list[dict[int, Tensor]]) -> None:
    """Give the parameters back the gradients that were collected, of each rank or of one for all.

    A run on another number of ranks gets the mean over the saved ranks: the step that closes the
    window is the same but for rounding.
    """
    rank, world_size = get_dist_info()
    gradients = by_rank[rank] if len(by_rank) == world_size else _mean_over_ranks(by_rank)
    params = [param for group in param_groups for param in group['params']]
    for number, grad in gradients.items():
        param = params[number]
        # Cloned: the loaded state may be loaded again, and a gradient is changed in place.
        param.grad = grad.to(device=param.device, dtype=param.dtype, copy=True)


def average_gradients(model: nn.Module, param_groups: list[dict[str, Any]]) -> bool:
    """Do for gradients from under ``no_sync`` what the backward pass of ``model`` would have done.

    All ranks must call it.

    Returns:
        Whether it could. A model that keeps unsharded gradients to itself, as FSDP does, cannot be
        helped from outside.
    """
    if get_world_size() == 1:
        return True
    if not isinstance(model, nn.parallel.DistributedDataParallel):
        return False
    params = [param for group in param_groups for param in group['params']]
    numbers = all_gather_object(list(gradients_of(param_groups)), group=model.process_group)
    for number in sorted({number for of_rank in numbers for number in of_rank}):
        param = params[number]
        if param.grad is None:
            param.grad = torch.zeros_like(param)
        all_reduce(param.grad, op='mean', group=model.process_group)
    return True


def _mean_over_ranks(by_rank: list[dict[int, Tensor]]) -> dict[int, Tensor]:
    total: dict[int, Tensor] = {}
    for gradients in by_rank:
        for number, grad in gradients.items():
            total[number] = total[number] + grad if number in total else grad
    return {number: summed / len(by_rank) for number, summed in total.items()}
