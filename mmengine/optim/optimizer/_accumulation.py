"""The gradients of an open accumulation window: gathered, restored, and averaged over ranks."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor, nn

from mmengine._checkpoint.dtensor import whole
from mmengine.dist import (
    all_gather_object,
    all_reduce,
    gather_object,
    get_world_size,
)
from mmengine.dist._data_parallel import get_data_parallel_info, of_data_ranks
from mmengine.dist._dtensor import full_tensor, is_dtensor


def gradients_of(param_groups: list[dict[str, Any]]) -> dict[int, Tensor]:
    """Gradients by the index of their parameter in a ``torch.optim`` state dict."""
    params = [param for group in param_groups for param in group['params']]
    return {
        number: param.grad
        for number, param in enumerate(params)
        if getattr(param, 'grad', None) is not None
    }


def gather_gradients(
    param_groups: list[dict[str, Any]], is_shared: bool = False
) -> list[dict[int, Tensor]]:
    """Return the gradients of all data-parallel ranks on rank 0; other ranks get their own.

    The list has one entry if all ranks have the same gradients: if ``is_shared`` is set, because
    the ranks have exchanged their gradients, or if each gradient is a ``DTensor`` on a mesh of all
    ranks, or of all ranks with different data. A ``DTensor`` is gathered to a plain tensor. All
    ranks must call this. The gradients of several ranks are in host memory.
    """
    world_size = get_world_size()
    sizes = (world_size, get_data_parallel_info()[1])
    held = gradients_of(param_groups)
    is_one_for_all = bool(held) and all(
        is_dtensor(grad) and cast(Any, grad).device_mesh.size() in sizes for grad in held.values()
    )
    gradients = {number: whole(grad) for number, grad in held.items()}
    if is_shared or is_one_for_all or world_size == 1:
        return [gradients]
    # Gathered as objects, because a parameter may have a gradient on some of the ranks only.
    gathered = gather_object({number: grad.cpu() for number, grad in gradients.items()}, dst=0)
    return of_data_ranks(gathered) if gathered else [gradients]


def left_gradients(param_groups: list[dict[str, Any]]) -> dict[int, Tensor]:
    """Gradients that are there between two steps; empty if all of them are zero.

    The ranks of a distributed model have the same ones.
    """
    held = gradients_of(param_groups)
    if all(map(_is_zero, held.values())):
        return {}
    return gather_gradients(param_groups, is_shared=True)[0]


def restore_gradients(param_groups: list[dict[str, Any]], by_rank: list[dict[int, Tensor]]) -> None:
    """Restore the gradients that :func:`gather_gradients` returned.

    If the number of ranks has changed, every rank gets the mean over the saved ranks: the step that
    closes the window is then the same except for rounding. With ``DTensor`` parameters all ranks
    must call this.
    """
    rank, world_size = get_data_parallel_info()
    gradients = by_rank[rank] if len(by_rank) == world_size else _mean_over_ranks(by_rank)
    params = [param for group in param_groups for param in group['params']]
    for number, grad in sorted(gradients.items()):
        param = params[number]
        # Cloned, because gradients change in place and the loaded state may be loaded again.
        grad = grad.to(device=param.device, dtype=param.dtype, copy=True)
        param.grad = _placed_like(param, grad) if is_dtensor(param) else grad


def scale_gradients(param_groups: list[dict[str, Any]], factor: float) -> None:
    """Multiply all gradients by ``factor``, in place."""
    # Multiplied one by one, because a foreach call cannot mix plain tensors and DTensors.
    for grad in gradients_of(param_groups).values():
        grad.mul_(factor)


def rescale_gradients(
    run: Any, unsynced: nn.Module | None, param_groups: list[dict[str, Any]], factor: float
) -> None:
    """Multiply all gradients of an open window by ``factor``, in place.

    A sharded model keeps gradients that were not exchanged elsewhere, so they are averaged first.

    Args:
        run: The run of the optimizer wrapper, an ``OptimizerRun``.
        unsynced: The model whose ranks hold different gradients; None if they have been exchanged.
        param_groups: The groups of the optimizer.
        factor: The factor.
    """
    if unsynced is not None:
        run.average_gradients(unsynced, param_groups)
    scale_gradients(param_groups, factor)


def average_gradients(model: nn.Module, param_groups: list[dict[str, Any]]) -> bool:
    """Average gradients of backward passes under ``no_sync``, which did not exchange them.

    All ranks must call this.

    Returns:
        Whether the gradients were averaged. This is not possible for models that keep unsharded
        gradients internally, such as FSDP.
    """
    if get_world_size() == 1:
        return True
    if not isinstance(model, nn.parallel.DistributedDataParallel):
        return False
    params = [param for group in param_groups for param in group['params']]
    # A wrapper that wraps each sub-model separately has no group itself.
    process_group = vars(model).get('process_group')
    numbers = all_gather_object(list(gradients_of(param_groups)), group=process_group)
    for number in sorted({number for of_rank in numbers for number in of_rank}):
        param = params[number]
        if param.grad is None:
            param.grad = torch.zeros_like(param)
        all_reduce(param.grad, op='mean', group=process_group)
    return True


def _is_zero(grad: Tensor) -> bool:
    if is_dtensor(grad):
        return not full_tensor(grad.abs().sum())
    return not grad.is_sparse and not grad.any()


def _placed_like(param: Any, grad: Tensor) -> Tensor:
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(grad, param.device_mesh, param.placements)


def _mean_over_ranks(by_rank: list[dict[int, Tensor]]) -> dict[int, Tensor]:
    total: dict[int, Tensor] = {}
    for gradients in by_rank:
        for number, grad in gradients.items():
            total[number] = total[number] + grad if number in total else grad
    return {number: summed / len(by_rank) for number, summed in total.items()}
