"""Gathers sharded tensors (``DTensor``) for a checkpoint, and shards loaded tensors again.

All functions are collective: all ranks must call them with the same tensors in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mmengine.dist import is_main_process
from mmengine.dist._dtensor import full_tensor, is_dtensor

_keeps_on_main_rank = False


def whole(value: Any) -> Any:
    """The full tensor of a ``DTensor``; other values are returned unchanged.

    See :func:`whole_on_main_rank` for what other ranks get in that context.
    """
    return kept(full_tensor(value)) if is_dtensor(value) else value


def kept(full: Tensor) -> Tensor:
    """What remains on this rank of a full tensor that all ranks have gathered."""
    if not _keeps_on_main_rank:
        return full
    return full.cpu() if is_main_process() else full.to('meta')


@contextmanager
def whole_on_main_rank() -> Iterator[None]:
    """Context to gather a checkpoint that rank 0 writes.

    :func:`whole` returns full tensors in host memory on rank 0. Other ranks take part in gathering
    one tensor after the other, and get tensors of the same shapes on the meta device, which have no
    memory.
    """
    global _keeps_on_main_rank
    before, _keeps_on_main_rank = _keeps_on_main_rank, True
    try:
        yield
    finally:
        _keeps_on_main_rank = before


def whole_tree(value: Any) -> Any:
    """Replace each ``DTensor`` in dicts, lists and tuples by its full tensor."""
    if isinstance(value, Mapping):
        return type(value)((key, whole_tree(entry)) for key, entry in value.items())  # type: ignore[call-arg]  # a dict or an OrderedDict
    if isinstance(value, (list, tuple)):
        return type(value)(whole_tree(entry) for entry in value)
    return whole(value)


def spread_like(value: Tensor, pattern: Tensor) -> Tensor:
    """Convert ``value`` to a ``DTensor`` with the mesh and placements of ``pattern``.

    If ``pattern`` is a plain tensor, or ``value`` is already a ``DTensor``, ``value`` is returned.
    """
    if not is_dtensor(pattern) or is_dtensor(value):
        return value
    from torch.distributed.tensor import distribute_tensor

    spread: Any = pattern
    local = spread.to_local()
    return distribute_tensor(value.to(local.device), spread.device_mesh, spread.placements)


def spread_state_dict(module: nn.Module, state_dict: Mapping[str, Any]) -> dict[str, Any]:
    """Shard the entries of ``state_dict`` like the parameters and buffers of the same names.

    Entries with another shape are not changed; loading reports them.
    """
    if not any(map(is_dtensor, (*module.parameters(), *module.buffers()))):
        return dict(state_dict)
    targets = dict(module.state_dict())
    return {
        key: spread_like(value, targets[key])
        if isinstance(value, Tensor) and key in targets and targets[key].shape == value.shape
        else value
        for key, value in state_dict.items()
    }


def spread_optimizer_state(optimizer: Any, state_dict: dict[str, Any]) -> dict[str, Any]:
    """Shard a full ``torch.optim`` state dict like the parameters of ``optimizer``."""
    params = [param for group in optimizer.param_groups for param in group['params']]
    if not any(is_dtensor(param) for param in params):
        return state_dict
    state = {
        number: {
            name: spread_like(value, params[number])
            if isinstance(value, Tensor) and value.shape == params[number].shape
            else value
            for name, value in entries.items()
        }
        for number, entries in state_dict['state'].items()
    }
    return {**state_dict, 'state': state}


@contextmanager
def whole_parameters(model: nn.Module) -> Iterator[None]:
    """Context in which the parameters and buffers of ``model`` are full, plain tensors.

    On exit the original ``DTensor`` objects are restored, with the values of the full tensors.
    Within the context each rank holds the whole model.
    """
    replaced: list[tuple[Any, str, Any, Tensor]] = []
    seen: dict[int, Any] = {}
    for module in model.modules():
        for table in (module._parameters, module._buffers):
            for name, value in table.items():
                if value is None or not is_dtensor(value):
                    continue
                if id(value) not in seen:
                    full = whole(value.detach()).clone()
                    if isinstance(value, nn.Parameter):
                        full = nn.Parameter(full, requires_grad=value.requires_grad)
                    seen[id(value)] = full
                replaced.append((table, name, value, seen[id(value)]))
    for table, name, _, full in replaced:
        table[name] = full
    try:
        yield
    finally:
        with torch.no_grad():
            for table, name, value, _ in replaced:
                now = table[name]
                table[name] = value
                if now is not None:
                    value.copy_(spread_like(now.detach(), value))
