"""Gathers sharded tensors (``DTensor``) for a checkpoint, and shards loaded tensors again.

All functions are collective: all ranks must call them with the same tensors in the same order.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from mmengine._checkpoint._stored_tensor import StoredTensor, read_tree, read_values
from mmengine.dist import is_main_process
from mmengine.dist._dtensor import full_tensor, is_dtensor

_EVERYWHERE, _ON_MAIN_RANK, _IN_PARTS = range(3)
_gathering = _EVERYWHERE


def whole(value: Any) -> Any:
    """The full tensor of a ``DTensor``; other values are returned unchanged.

    See :func:`whole_on_main_rank` for what other ranks get in that context. In the context of
    :func:`in_parts` the ``DTensor`` itself is returned.
    """
    if not is_dtensor(value) or _gathering == _IN_PARTS:
        return value
    return kept(full_tensor(value))


def kept(full: Tensor) -> Tensor:
    """What remains on this rank of a full tensor that all ranks have gathered."""
    if _gathering == _EVERYWHERE:
        return full
    return full.cpu() if is_main_process() else full.to('meta')


def whole_on_main_rank() -> AbstractContextManager[None]:
    """Context to gather a checkpoint that rank 0 writes.

    :func:`whole` returns full tensors in host memory on rank 0. Other ranks take part in gathering
    one tensor after the other, and get tensors of the same shapes on the meta device, which have no
    memory.
    """
    return _gathered(_ON_MAIN_RANK)


def in_parts() -> AbstractContextManager[None]:
    """Context to collect a checkpoint of which each rank writes its part.

    Nothing is gathered: a ``DTensor`` stays one.
    """
    return _gathered(_IN_PARTS)


@contextmanager
def _gathered(how: int) -> Iterator[None]:
    global _gathering
    before, _gathering = _gathering, how
    try:
        yield
    finally:
        _gathering = before


def local_part(tensor: Tensor) -> tuple[Tensor, tuple[int, ...]]:
    """The box of a tensor that this rank has, and where it begins; of a plain tensor, all of it."""
    if not is_dtensor(tensor):
        return tensor, (0,) * tensor.dim()
    sharded: Any = tensor
    (box,) = sharded.__create_chunk_list__()
    return sharded.to_local(), tuple(box.offsets)


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
    Of a ``StoredTensor`` each rank reads its part.
    """
    if not is_dtensor(pattern) or is_dtensor(value):
        return read_values(value)  # type: ignore[no-any-return]  # a tensor
    from torch.distributed.tensor import DTensor, distribute_tensor

    spread: Any = pattern
    local = spread.to_local()
    if isinstance(value, StoredTensor):
        part = value.part(local_part(pattern)[1], local.shape).to(local.device)
        return DTensor.from_local(
            part,
            spread.device_mesh,
            spread.placements,
            run_check=False,
            shape=spread.shape,
            stride=spread.stride(),
        )
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
        return read_tree(state_dict)  # type: ignore[no-any-return]  # a dict
    state = {
        number: {
            name: spread_like(value, params[number])
            if isinstance(value, Tensor) and value.shape == params[number].shape
            else read_values(value)
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
