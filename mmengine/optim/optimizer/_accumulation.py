"""The gradients of an open accumulation window: gathered, restored, and averaged over ranks."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from mmengine.dist import (
    all_gather_object,
    all_reduce,
    gather_object,
    get_dist_info,
    get_world_size,
)
from mmengine.dist._dtensor import full_tensor, is_dtensor


def gradients_of(param_groups: list[dict[str, Any]]) -> dict[int, Tensor]:
    """Gradients by the number their parameter has in a ``torch.optim`` state dict."""
    params = [param for group in param_groups for param in group['params']]
    return {
        number: param.grad
        for number, param in enumerate(params)
        if getattr(param, 'grad', None) is not None
    }


def gather_gradients(
    param_groups: list[dict[str, Any]], is_shared: bool = False
) -> list[dict[int, Tensor]]:
    """The gradients of each rank, in order of rank, on rank 0; on any other rank its own.

    The list has one entry if one gradient serves all ranks: with ``is_shared``, which says that the
    ranks have exchanged their gradients, and if each gradient is a ``DTensor`` on a mesh of all
    ranks. A ``DTensor`` is gathered to a plain tensor. All ranks must call it. The gradients of
    several ranks are on the host.
    """
    world_size = get_world_size()
    held = gradients_of(param_groups)
    is_one_for_all = bool(held) and all(
        is_dtensor(grad) and cast(Any, grad).device_mesh.size() == world_size
        for grad in held.values()
    )
    gradients = {number: full_tensor(grad) for number, grad in held.items()}
    if is_shared or is_one_for_all or world_size == 1:
        return [gradients]
    # As objects, because a parameter may have a gradient on one rank and none on another.
    gathered = gather_object({number: grad.cpu() for number, grad in gradients.items()}, dst=0)
    return gathered or [gradients]


def restore_gradients(param_groups: list[dict[str, Any]], by_rank: list[dict[int, Tensor]]) -> None:
    """Give the parameters back the gradients that were collected, of each rank or of one for all.

    A run on another number of ranks gets the mean over the saved ranks: the step that closes the
    window is the same but for rounding. With ``DTensor`` parameters all ranks must call it.
    """
    rank, world_size = get_dist_info()
    gradients = by_rank[rank] if len(by_rank) == world_size else _mean_over_ranks(by_rank)
    params = [param for group in param_groups for param in group['params']]
    for number, grad in sorted(gradients.items()):
        param = params[number]
        # Cloned: the loaded state may be loaded again, and a gradient is changed in place.
        grad = grad.to(device=param.device, dtype=param.dtype, copy=True)
        param.grad = _placed_like(param, grad) if is_dtensor(param) else grad


def scale_gradients(param_groups: list[dict[str, Any]], factor: float) -> None:
    """Multiply all gradients by ``factor``, in place."""
    # One by one, because plain tensors and DTensors cannot share a foreach call.
    for grad in gradients_of(param_groups).values():
        grad.mul_(factor)


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


def _placed_like(param: Any, grad: Tensor) -> Tensor:
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(grad, param.device_mesh, param.placements)


def _mean_over_ranks(by_rank: list[dict[int, Tensor]]) -> dict[int, Tensor]:
    total: dict[int, Tensor] = {}
    for gradients in by_rank:
        for number, grad in gradients.items():
            total[number] = total[number] + grad if number in total else grad
    return {number: summed / len(by_rank) for number, summed in total.items()}
