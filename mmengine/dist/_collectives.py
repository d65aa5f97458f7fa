"""Collective operations on tensors, on any device and with any backend."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, MutableMapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.distributed as torch_dist
from torch import Tensor

from mmengine.dist.utils import Group, get_comm_device, get_rank, get_world_size
from mmengine.utils.errors import ArgumentError, did_you_mean

_REDUCE_OPS = {
    'sum': torch_dist.ReduceOp.SUM,
    'product': torch_dist.ReduceOp.PRODUCT,
    'min': torch_dist.ReduceOp.MIN,
    'max': torch_dist.ReduceOp.MAX,
    'band': torch_dist.ReduceOp.BAND,
    'bor': torch_dist.ReduceOp.BOR,
    'bxor': torch_dist.ReduceOp.BXOR,
}


def all_reduce(data: Tensor, op: str = 'sum', group: Group = None) -> None:
    """Replace ``data``, on every rank, by its sum (or ...) over the ranks.

    Args:
        data: Tensor of one shape and dtype on all ranks, on any device. Changed in place.
        op: ``sum``, ``mean``, ``product``, ``min``, ``max``, ``band``, ``bor`` or ``bxor``. The
            mean of integers is rounded down.
        group: Ranks that take part; all of them by default.

    Raises:
        ArgumentError: If ``op`` is not known.
    """
    if get_world_size(group) <= 1:
        return
    sent = _sendable(data, group)
    _reduce_in_place(sent, op, group)
    _bring_back(sent, data)


def all_gather(data: Tensor, group: Group = None) -> list[Tensor]:
    """The tensors of all ranks, in rank order, on the device of ``data``.

    Args:
        data: Tensor of one shape and dtype on all ranks.
        group: Ranks that take part; all of them by default.
    """
    world_size = get_world_size(group)
    if world_size <= 1:
        return [data]
    sent = _sendable(data, group)
    received = [torch.empty_like(sent) for _ in range(world_size)]
    torch_dist.all_gather(received, sent, group)
    return [tensor.to(data.device) for tensor in received]


def gather(data: Tensor, dst: int = 0, group: Group = None) -> list[Tensor]:
    """On rank ``dst`` the tensors of all ranks, in rank order; an empty list on the others.

    Args:
        data: Tensor of one shape and dtype on all ranks.
        dst: Global rank that receives.
        group: Ranks that take part; all of them by default.
    """
    world_size = get_world_size(group)
    if world_size <= 1:
        return [data]
    sent = _sendable(data, group)
    if get_rank() != dst:
        torch_dist.gather(sent, None, dst, group)
        return []
    received = [torch.empty_like(sent) for _ in range(world_size)]
    torch_dist.gather(sent, received, dst, group)
    return [tensor.to(data.device) for tensor in received]


def broadcast(data: Tensor, src: int = 0, group: Group = None) -> None:
    """Replace ``data`` on every rank by the data of rank ``src``.

    Args:
        data: Tensor of one shape and dtype on all ranks. Changed in place.
        src: Global rank that has the data.
        group: Ranks that take part; all of them by default.
    """
    if get_world_size(group) <= 1:
        return
    sent = _sendable(data, group)
    torch_dist.broadcast(sent, src, group)
    _bring_back(sent, data)


def sync_random_seed(group: Group = None) -> int:
    """A random seed that all ranks share, drawn by the numpy generator of rank 0."""
    # Every rank draws, so that all generators advance equally.
    seed = int(np.random.randint(2**31))
    if get_world_size(group) <= 1:
        return seed
    shared = torch.tensor(seed, dtype=torch.int64)
    first = 0 if group is None else torch_dist.get_global_rank(group, 0)
    broadcast(shared, first, group)
    return int(shared)


def all_reduce_dict(
    data: MutableMapping[str, Tensor], op: str = 'sum', group: Group = None
) -> None:
    """Replace each tensor of ``data`` by its sum (or ...) over the ranks, all of them together.

    Args:
        data: The same keys on all ranks, in any order. Its entries are replaced; a mean of integers
            is a float.
        op: As for :func:`all_reduce`.
        group: Ranks that take part; all of them by default.

    Raises:
        ArgumentError: If ``data`` is not a dict, or ``op`` is not known.
    """
    if not isinstance(data, MutableMapping):
        raise ArgumentError(f'data must be a dict of tensors, got {type(data).__name__}.')
    if get_world_size(group) <= 1:
        return
    # Ranks may have filled their dicts in different orders.
    keys = sorted(data, key=str)
    tensors = [torch.as_tensor(data[key]).detach().clone() for key in keys]
    if op.lower() == 'mean':
        tensors = [
            tensor if tensor.is_floating_point() or tensor.is_complex() else tensor.double()
            for tensor in tensors
        ]
    _all_reduce_coalesced(tensors, op=op, group=group)
    for key, tensor in zip(keys, tensors, strict=True):
        data[key] = tensor


def all_reduce_params(
    params: Iterable[Tensor] | Generator[Tensor, None, None],
    coalesce: bool = True,
    bucket_size_mb: int = -1,
    op: str = 'sum',
    group: Group = None,
) -> None:
    """Replace each of many tensors by its sum (or ...) over the ranks.

    Args:
        params: Parameters or buffers, in the same order on all ranks. Changed in place.
        coalesce: Send many of them together, which is faster for small ones.
        bucket_size_mb: Maximum size of what is sent together, in MiB; all tensors of a dtype when
            below 1.
        op: As for :func:`all_reduce`.
        group: Ranks that take part; all of them by default.
    """
    if get_world_size(group) <= 1:
        return
    tensors = [param.detach() for param in params]
    if coalesce:
        _all_reduce_coalesced(tensors, bucket_size_mb, op=op, group=group)
    else:
        for tensor in tensors:
            all_reduce(tensor, op=op, group=group)


def _all_reduce_coalesced(
    tensors: Sequence[Tensor], bucket_size_mb: int = -1, op: str = 'sum', group: Group = None
) -> None:
    """Reduce ``tensors`` in place, joined into one flat tensor a bucket."""
    for bucket in _buckets(tensors, bucket_size_mb):
        flat = torch.cat([tensor.reshape(-1) for tensor in bucket])
        all_reduce(flat, op, group)
        sizes = [tensor.numel() for tensor in bucket]
        for tensor, reduced in zip(bucket, torch.split(flat, sizes), strict=True):
            tensor.copy_(reduced.view(tensor.shape))


def _buckets(tensors: Sequence[Tensor], bucket_size_mb: int) -> Iterator[list[Tensor]]:
    """``tensors`` grouped by device and dtype, each group cut where it exceeds the size."""
    limit = bucket_size_mb * 1024 * 1024 if bucket_size_mb >= 1 else float('inf')
    kinds: dict[Any, list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault((tensor.device, tensor.dtype), []).append(tensor)
    for same_kind in kinds.values():
        bucket: list[Tensor] = []
        filled = 0
        for tensor in same_kind:
            size = tensor.numel() * tensor.element_size()
            if bucket and filled + size > limit:
                yield bucket
                bucket, filled = [], 0
            bucket.append(tensor)
            filled += size
        yield bucket


def _get_reduce_op(name: str) -> Any:
    """The operation of torch with this name.

    Raises:
        ArgumentError: If there is none.
    """
    try:
        return _REDUCE_OPS[name.lower()]
    except KeyError:
        known = ('mean', *_REDUCE_OPS)
        raise ArgumentError(
            f'op must be one of {", ".join(known)}, got {name!r}.{did_you_mean(name, known)}'
        ) from None


def _reduce_in_place(data: Tensor, op: str, group: Group) -> None:
    if op.lower() != 'mean':
        torch_dist.all_reduce(data, _get_reduce_op(op), group)
        return
    torch_dist.all_reduce(data, torch_dist.ReduceOp.SUM, group)
    world_size = get_world_size(group)
    if data.is_floating_point() or data.is_complex():
        data.div_(world_size)
    else:
        data.floor_divide_(world_size)


def _sendable(data: Tensor, group: Group) -> Tensor:
    """``data`` on the device of the group and contiguous; copied only if necessary."""
    return data.detach().to(get_comm_device(group)).contiguous()


def _bring_back(travelled: Tensor, data: Tensor) -> None:
    if travelled.data_ptr() != data.data_ptr():
        data.detach().copy_(travelled)
