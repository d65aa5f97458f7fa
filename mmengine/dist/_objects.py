"""Collective operations on picklable objects, and the collection of evaluation results.

Objects are sent as bytes over the CPU. If the backend supports accelerators only, a gloo group of
the same ranks is made once and used instead. All ranks first exchange the sizes of their objects. A
rank that cannot pickle its object reports that in this exchange, and then all ranks raise an error
instead of waiting for each other.
"""

from __future__ import annotations

import copyreg
import datetime
import io
import itertools
import pickle
from collections.abc import Callable, Sequence
from typing import Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
import torch.distributed as torch_dist
from torch import Tensor
from torch.distributed import ProcessGroup

from mmengine.dist import _launch
from mmengine.dist._data_parallel import is_first_of_batch, of_data_ranks
from mmengine.dist._warn import warn_once
from mmengine.dist.utils import Group, get_backend, get_default_group, get_rank, get_world_size
from mmengine.utils.errors import ArgumentError

_COULD_NOT_PICKLE = -1
_WAIT_FOR_OBJECTS = datetime.timedelta(hours=2)
_CPU_GROUPS: WeakKeyDictionary[ProcessGroup, ProcessGroup] = WeakKeyDictionary()
_THREAD_GROUPS: WeakKeyDictionary[ProcessGroup, ProcessGroup] = WeakKeyDictionary()
_RESULT_DEVICES = ('cpu', 'gpu', 'cuda', 'npu', 'mlu', 'musa', 'xpu')


def broadcast_object_list(data: list[Any], src: int = 0, group: Group = None) -> None:
    """Replace the entries of ``data`` on every rank by the entries on rank ``src``.

    Args:
        data: A list of the same length on all ranks. Changed in place.
        src: Global rank that has the objects.
        group: Ranks that take part; all of them by default.

    Raises:
        ArgumentError: If ``data`` is not a list.
        RuntimeError: On every rank, if the objects of ``src`` cannot be pickled.
    """
    if not isinstance(data, list):
        raise ArgumentError(f'data must be a list, got {type(data).__name__}.')
    if get_world_size(group) > 1:
        _broadcast_object_list(data, src, group)


def all_gather_object(data: Any, group: Group = None) -> list[Any]:
    """The objects of all ranks, in rank order.

    Raises:
        RuntimeError: On every rank, if the object of one cannot be pickled.
    """
    world_size = get_world_size(group)
    if world_size <= 1:
        return [data]
    gathered: list[Any] = [None] * world_size
    _all_gather_object(gathered, data, group)
    return gathered


def gather_object(data: Any, dst: int = 0, group: Group = None) -> list[Any] | None:
    """On rank ``dst`` (among all) the objects of all ranks, in rank order; None on the others.

    Raises:
        RuntimeError: On every rank, if the object of one cannot be pickled.
    """
    world_size = get_world_size(group)
    if world_size <= 1:
        return [data]
    gathered: list[Any] | None = [None] * world_size if get_rank() == dst else None
    _gather_object(data, gathered, dst, group)
    return gathered


def collect_results(
    results: list[Any], size: int, device: str = 'cpu', tmpdir: str | None = None
) -> list[Any] | None:
    """On rank 0 the results of all ranks in dataset order, without padding; None on the others.

    Data-parallel rank ``r`` of ``n`` has the results of samples ``r, r + n, r + 2n ...``, as the
    samplers distribute them; results of other samples alternate in the same way. Ranks may have
    different numbers of results. They are sent through the process group, never through files.

    Args:
        results: Results of this rank, in the order of its samples.
        size: Number of samples of the dataset. Further results are padding and are dropped.
        device: ``'cpu'``, ``'gpu'`` or another kind of accelerator; kept for compatibility.
        tmpdir: Not used.

    Raises:
        ArgumentError: If ``device`` is not known.
        RuntimeError: On every rank, if the results of one cannot be pickled.

    Example:
        >>> collect_results(['first', 'second', 'padding'], size=2)
        ['first', 'second']
    """
    if device not in _RESULT_DEVICES:
        raise ArgumentError(f'device must be one of {", ".join(_RESULT_DEVICES)}, got {device!r}.')
    _warn_of_tmpdir(tmpdir)
    return _collect_results_device(results, size)


def collect_results_cpu(
    result_part: list[Any], size: int, tmpdir: str | None = None
) -> list[Any] | None:
    """:func:`collect_results` for results in host memory."""
    _warn_of_tmpdir(tmpdir)
    return _collect_results_device(result_part, size)


def collect_results_gpu(result_part: list[Any], size: int) -> list[Any] | None:
    """:func:`collect_results` for tensors of accelerators; rank 0 gets them on its accelerator."""
    return _collect_results_device(result_part, size)


def _collect_results_device(result_part: list[Any], size: int) -> list[Any] | None:
    """:func:`collect_results`, whatever the device."""
    if get_world_size() <= 1:
        return result_part[:size]
    # Ranks that compute one batch together have the same results.
    parts = gather_object(list(result_part) if is_first_of_batch() else [], dst=0)
    if parts is None:
        return None
    parts = of_data_ranks(parts)
    missing = object()
    dealt_back = itertools.chain.from_iterable(itertools.zip_longest(*parts, fillvalue=missing))
    return [result for result in dealt_back if result is not missing][:size]


def _warn_of_tmpdir(tmpdir: str | None) -> None:
    if tmpdir is not None:
        message = 'tmpdir is not used: results travel through the process group.'
        warn_once(message, stacklevel=3)


def _broadcast_object_list(object_list: list[Any], src: int = 0, group: Group = None) -> None:
    """:func:`broadcast_object_list` for at least two ranks."""
    cpu_group = _cpu_group(group)
    sends = get_rank() == src
    payload, error = _try_pickle(list(object_list)) if sends else (torch.empty(0), None)
    size = torch.tensor(_COULD_NOT_PICKLE if error else payload.numel(), dtype=torch.int64)
    torch_dist.broadcast(size, src, cpu_group)
    _raise_together({src: int(size)}, error)
    if not sends:
        payload = torch.empty(int(size), dtype=torch.uint8)
    torch_dist.broadcast(payload, src, cpu_group)
    if not sends:
        object_list[:] = _tensor_to_object(payload, int(size))


def _all_gather_object(object_list: list[Any], obj: Any, group: Group = None) -> None:
    """Fill ``object_list`` with the objects of all ranks."""
    cpu_group = _cpu_group(group)
    payload, sizes = _pickle_and_exchange_sizes(obj, cpu_group)
    # Only tensors of one size can be gathered.
    padded = torch.empty(max(sizes), dtype=torch.uint8)
    padded[: payload.numel()] = payload
    received = [torch.empty_like(padded) for _ in sizes]
    torch_dist.all_gather(received, padded, cpu_group)
    for rank, (tensor, size) in enumerate(zip(received, sizes, strict=True)):
        object_list[rank] = _tensor_to_object(tensor, size)


def _gather_object(
    obj: Any, object_gather_list: list[Any] | None = None, dst: int = 0, group: Group = None
) -> None:
    """Fill ``object_gather_list`` of rank ``dst``; one sender at a time, to save memory."""
    cpu_group = _cpu_group(group)
    _validate_output_list_for_rank(get_rank(), dst, object_gather_list)
    payload, sizes = _pickle_and_exchange_sizes(obj, cpu_group)
    if object_gather_list is None:
        torch_dist.send(payload, dst, cpu_group)
        return
    for rank, size in enumerate(sizes):
        sender = torch_dist.get_global_rank(cpu_group, rank)
        if sender == dst:
            object_gather_list[rank] = obj
        else:
            payload = torch.empty(size, dtype=torch.uint8)
            torch_dist.recv(payload, sender, cpu_group)
            object_gather_list[rank] = _tensor_to_object(payload, size)


def _validate_output_list_for_rank(
    my_rank: int, dst: int, gather_list: Sequence[Any] | None
) -> None:
    """Check that the receiving rank, and no other, has a list to fill.

    Raises:
        ArgumentError: If not.
    """
    if my_rank == dst and not gather_list:
        raise ArgumentError(f'Rank {dst} receives the objects and needs a list to put them in.')
    if my_rank != dst and gather_list:
        raise ArgumentError(f'Only rank {dst} receives objects; rank {my_rank} passes no list.')


def _pickle_and_exchange_sizes(obj: Any, cpu_group: ProcessGroup) -> tuple[Tensor, list[int]]:
    """The bytes of ``obj``, and the number of bytes of every rank."""
    payload, error = _try_pickle(obj)
    mine = torch.tensor([_COULD_NOT_PICKLE if error else payload.numel()], dtype=torch.int64)
    told = [torch.empty_like(mine) for _ in range(get_world_size(cpu_group))]
    torch_dist.all_gather(told, mine, cpu_group)
    sizes = [int(size) for size in told]
    _raise_together(
        {torch_dist.get_global_rank(cpu_group, rank): size for rank, size in enumerate(sizes)},
        error,
    )
    return payload, sizes


def _raise_together(sizes_by_rank: dict[int, int], own_error: Exception | None) -> None:
    failed = [str(rank) for rank, size in sizes_by_rank.items() if size == _COULD_NOT_PICKLE]
    if failed:
        reason = (
            f': {type(own_error).__name__}: {own_error}'
            if own_error
            else '; its error gives the reason'
        )
        raise RuntimeError(
            f'The object of rank {", ".join(failed)} cannot be sent to other ranks{reason}.'
        ) from own_error


def _cpu_group(group: Group) -> ProcessGroup:
    """A group of the ranks of ``group`` that can move host memory."""
    members = group or get_default_group()
    backend = get_backend(members) or ''
    if not any(name in backend for name in _launch.BACKEND_DEVICES) or 'cpu:' in backend:
        return members
    if members not in _CPU_GROUPS:
        # One rank may compute metrics for long while the others wait for its object.
        timeout = max(_launch.group_timeout or _WAIT_FOR_OBJECTS, _WAIT_FOR_OBJECTS)
        _CPU_GROUPS[members] = _new_cpu_group(members, timeout)
    return _CPU_GROUPS[members]


def group_of_threads() -> ProcessGroup | None:
    """A group of all ranks for the host memory of one thread of each; None for a single process.

    Two threads of a rank cannot share a group, because the order of their calls is not certain. All
    ranks must call this, in their main threads; it is the same group until the process group ends.
    """
    if get_world_size() <= 1:
        return None
    members = get_default_group()
    if members not in _THREAD_GROUPS:
        _THREAD_GROUPS[members] = _new_cpu_group(members, _launch.group_timeout)
    return _THREAD_GROUPS[members]


def _new_cpu_group(members: ProcessGroup, timeout: datetime.timedelta | None) -> ProcessGroup:
    _launch.end_group_at_exit()
    group: ProcessGroup = torch_dist.new_group(
        torch_dist.get_process_group_ranks(members),
        backend='gloo',
        timeout=timeout,
        use_local_synchronization=True,
    )
    return group


def _try_pickle(obj: Any) -> tuple[Tensor, Exception | None]:
    try:
        return _object_to_tensor(obj)[0], None
    except Exception as error:  # pickling runs code of the object, which can raise anything
        return torch.empty(0, dtype=torch.uint8), error


def _object_to_tensor(obj: Any) -> tuple[Tensor, Tensor]:
    """The pickled bytes of ``obj``, and their number."""
    buffer = io.BytesIO()
    _Pickler(buffer, protocol=pickle.HIGHEST_PROTOCOL).dump(obj)
    payload = torch.frombuffer(buffer.getbuffer(), dtype=torch.uint8)
    return payload, torch.tensor([payload.numel()], dtype=torch.int64)


def _tensor_to_object(tensor: Tensor, tensor_size: int) -> Any:
    """The object whose pickled bytes are the first ``tensor_size`` of ``tensor``."""
    return pickle.loads(tensor.cpu().numpy()[:tensor_size].data)


def _reduce_tensor(tensor: Tensor) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    """Pickle a tensor fast, and only its elements, not the whole storage of a view."""
    if (
        tensor.layout is not torch.strided
        or tensor.is_quantized
        or tensor.is_meta
        or tensor.is_nested
    ):
        reduce_ex: Any = tensor.__reduce_ex__
        reduced: tuple[Any, Any] = reduce_ex(pickle.HIGHEST_PROTOCOL)
        return reduced
    data = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    raw = data.reshape(-1).view(torch.uint8).numpy()
    return _rebuild_tensor, (
        raw,
        data.dtype,
        tuple(data.shape),
        tensor.device.type,
        tensor.requires_grad,
    )


def _rebuild_tensor(
    raw: np.ndarray[Any, Any],
    dtype: torch.dtype,
    shape: tuple[int, ...],
    device_type: str,
    requires_grad: bool,
) -> Tensor:
    """A tensor on this rank's device of the type that it was sent from."""
    data = torch.from_numpy(raw).view(dtype).reshape(shape)
    # The accelerator of the sender may have another index, or be missing here.
    return data.to(device_type).requires_grad_(requires_grad)


class _Pickler(pickle.Pickler):
    dispatch_table = {**copyreg.dispatch_table, Tensor: _reduce_tensor}
