"""Rank and world size, devices for communication, and functions for rank 0 only."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ParamSpec, TypeAlias, TypeVar
from weakref import ReferenceType

import torch
import torch.distributed as torch_dist
from torch import Tensor
from torch.distributed import ProcessGroup

from mmengine.dist._launch import (  # noqa: F401
    BACKEND_DEVICES,
    # The three with an underscore are imported from here by code built on this API.
    _init_dist_mpi,
    _init_dist_pytorch,
    _init_dist_slurm,
    infer_launcher,
    init_dist,
)

__all__ = [
    'barrier',
    'cast_data_device',
    'get_backend',
    'get_comm_device',
    'get_data_device',
    'get_default_group',
    'get_dist_info',
    'get_local_group',
    'get_local_rank',
    'get_local_size',
    'get_rank',
    'get_world_size',
    'infer_launcher',
    'init_dist',
    'init_local_group',
    'is_distributed',
    'is_main_process',
    'master_only',
]

Group: TypeAlias = ProcessGroup | None
_P = ParamSpec('_P')
_R = TypeVar('_R')

# The default group in which it was made, and the local group. Weak, so that destroyed groups end.
_local_group: tuple[ReferenceType[ProcessGroup], ReferenceType[ProcessGroup]] | None = None


def is_distributed() -> bool:
    """Whether this process has joined a process group."""
    return torch_dist.is_available() and torch_dist.is_initialized()


def get_default_group() -> ProcessGroup:
    """The group of all ranks.

    Raises:
        ValueError: If this process has joined no group.
    """
    return torch_dist.distributed_c10d._get_default_group()


def get_rank(group: Group = None) -> int:
    """Rank of this process in ``group``; 0 when not distributed, -1 when it is not a member."""
    return torch_dist.get_rank(group) if is_distributed() else 0


def get_world_size(group: Group = None) -> int:
    """Number of processes in ``group``: 1 if not distributed, -1 if this one is not a member."""
    return torch_dist.get_world_size(group) if is_distributed() else 1


def get_backend(group: Group = None) -> str | None:
    """Name of the backend of ``group``; None when not distributed."""
    return torch_dist.get_backend(group) if is_distributed() else None


def get_dist_info(group: Group = None) -> tuple[int, int]:
    """Rank of this process in ``group``, and the number of processes there."""
    return get_rank(group), get_world_size(group)


def is_main_process(group: Group = None) -> bool:
    """Whether this process is rank 0 of ``group``; True when not distributed."""
    return get_rank(group) == 0


def master_only(func: Callable[_P, _R]) -> Callable[_P, _R | None]:
    """Decorator: ``func`` runs on rank 0 alone; other ranks return None at once."""

    @functools.wraps(func)
    def on_rank_0(*args: _P.args, **kwargs: _P.kwargs) -> _R | None:
        return func(*args, **kwargs) if is_main_process() else None

    return on_rank_0


def barrier(group: Group = None) -> None:
    """Wait until every rank of ``group`` calls this. Does nothing when not distributed."""
    if not is_distributed():
        return
    device = get_comm_device(group)
    if device.type == 'cuda':
        torch_dist.barrier(group, device_ids=[torch.cuda.current_device()])
    else:
        torch_dist.barrier(group)


def init_local_group(node_rank: int, num_gpus_per_node: int) -> None:
    """Make the group of the ranks on this machine, which the ``get_local_*`` functions use.

    Every rank calls this. Machines have ``num_gpus_per_node`` ranks each, consecutive ones.
    """
    global _local_group
    first = node_rank * num_gpus_per_node
    ranks = list(range(first, first + num_gpus_per_node))
    # Each machine has another group, so only its members wait for each other.
    local = torch_dist.new_group(ranks, use_local_synchronization=True)
    _local_group = ReferenceType(get_default_group()), ReferenceType(local)


def get_local_group() -> Group:
    """The group of the ranks on this machine; None when not distributed.

    Raises:
        RuntimeError: If :func:`init_local_group` was not called.
    """
    if not is_distributed():
        return None
    if _local_group is None or _local_group[0]() is not get_default_group():
        raise RuntimeError(
            'There is no group of the ranks on this machine yet: '
            'call init_local_group on every rank first.'
        )
    return _local_group[1]()


def get_local_size() -> int:
    """Number of ranks on this machine; 1 when not distributed.

    Raises:
        RuntimeError: If :func:`init_local_group` was not called.
    """
    return torch_dist.get_world_size(get_local_group()) if is_distributed() else 1


def get_local_rank() -> int:
    """Rank of this process among those on this machine; 0 when not distributed.

    Raises:
        RuntimeError: If :func:`init_local_group` was not called.
    """
    return torch_dist.get_rank(get_local_group()) if is_distributed() else 0


def get_comm_device(group: Group = None) -> torch.device:
    """The device that a tensor must be on to be sent through ``group``."""
    backend = get_backend(group) or ''
    for name, kind in BACKEND_DEVICES.items():
        if name in backend:
            index = getattr(torch, kind).current_device()
            return torch.device(kind, index)
    return torch.device('cpu')


def get_data_device(data: Tensor | Sequence[Any] | Mapping[Any, Any]) -> torch.device:
    """The one device of all tensors in ``data``: a tensor, or lists, tuples and dicts of them.

    Raises:
        TypeError: If a value in it is not a tensor.
        ValueError: If there is no tensor, or they are on several devices.
    """
    if isinstance(data, Tensor):
        return data.device
    if isinstance(data, Mapping):
        parts: Sequence[Any] = list(data.values())
    elif isinstance(data, (list, tuple)):
        parts = data
    else:
        raise _no_tensors(data)
    devices = {get_data_device(part) for part in parts}
    if not devices:
        raise ValueError(f'There is no tensor in an empty {type(data).__name__}.')
    if len(devices) > 1:
        raise ValueError(
            f'All tensors must be on one device, got {", ".join(sorted(map(str, devices)))}.'
        )
    return devices.pop()


def cast_data_device(data: Any, device: torch.device | str, out: Any = None) -> Any:
    """``data`` with its tensors on ``device``: a tensor, or lists, tuples and dicts of them.

    Args:
        data: What to move. A tensor that is on ``device`` already is returned itself.
        device: The target.
        out: Same structure as ``data``. Its tensors are overwritten and it is returned.

    Raises:
        TypeError: If a value in it is not a tensor, or ``out`` has another structure.
        ValueError: If ``out`` has another length.
    """
    if out is not None:
        if type(data) is not type(out):
            raise TypeError(
                f'out must be a {type(data).__name__} like the data, got a {type(out).__name__}.'
            )
        if not isinstance(data, Tensor) and len(data) != len(out):
            raise ValueError(f'The data has {len(data)} entries, out has {len(out)}.')
    if isinstance(data, Tensor):
        moved = data.to(device)
        return moved if out is None else out.copy_(moved)
    if isinstance(data, Mapping):
        cast = {
            key: cast_data_device(value, device, None if out is None else out[key])
            for key, value in data.items()
        }
        kind: Any = type(data)
        return kind(cast) if out is None else out
    if isinstance(data, (list, tuple)):
        targets = [None] * len(data) if out is None else out
        moved_parts = [
            cast_data_device(part, device, target)
            for part, target in zip(data, targets, strict=True)
        ]
        if out is not None:
            return out
        if hasattr(data, '_fields'):
            return type(data)(*moved_parts)
        return type(data)(moved_parts)
    raise _no_tensors(data)


def _no_tensors(data: Any) -> TypeError:
    return TypeError(
        f'Expected a tensor, or lists, tuples and dicts of tensors, got a {type(data).__name__}.'
    )
