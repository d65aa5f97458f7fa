"""Copy all tensors of nested results into host memory together."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from mmengine.device import get_device
from mmengine.structures import BaseDataElement

# Joining tensors takes that much memory of the device for a moment.
_BYTES_PER_TRANSFER = 128 * 2**20


def to_cpu(data: Any, *, compact: bool = False) -> Any:
    """``data`` with every tensor on the CPU. Tensors from other devices are detached.

    Each transfer makes the host wait for the device, so tensors of one device and dtype are joined
    and moved together. Looks into lists, tuples, dicts and data elements, which are returned as
    they are if nothing is to be moved.

    Args:
        data: The results.
        compact: Also copy tensors on the CPU that are views of larger ones, whose pickles would
            hold all of the larger one.
    """
    if not compact and get_device() == 'cpu':
        return data  # there is nowhere else for a tensor to be, so nothing has to be looked through
    found: dict[int, Tensor] = {}
    _find(data, _is_distant_or_view if compact else _is_distant, found)
    if not found:
        return data
    return _replace(data, dict(zip(found, fetch(list(found.values())), strict=True)))


def fetch(tensors: list[Tensor]) -> list[Tensor]:
    """Copies of the tensors in host memory, in order and detached."""
    fetched: dict[int, Tensor] = {}
    for positions in _transfers(tensors):
        flat = [tensors[position].detach().reshape(-1) for position in positions]
        arrived = torch.split(torch.cat(flat).cpu(), [part.numel() for part in flat])
        for position, part in zip(positions, arrived, strict=True):
            # A view would keep all tensors of the transfer in memory and in its pickle.
            fetched[position] = part.clone().view(tensors[position].shape)
    return [
        fetched[position] if position in fetched else tensor.detach().cpu()
        for position, tensor in enumerate(tensors)
    ]


def _transfers(tensors: list[Tensor]) -> Iterator[list[int]]:
    """Positions of tensors that can be copied together, one list for each transfer.

    Those that cannot be joined with others are left out.
    """
    groups: dict[Any, list[int]] = defaultdict(list)
    for position, tensor in enumerate(tensors):
        if _can_be_joined(tensor):
            groups[tensor.device, tensor.dtype].append(position)
    for positions in groups.values():
        together: list[int] = []
        num_bytes = 0
        for position in positions:
            if together and num_bytes + tensors[position].nbytes > _BYTES_PER_TRANSFER:
                yield together
                together, num_bytes = [], 0
            together.append(position)
            num_bytes += tensors[position].nbytes
        yield together


def _find(data: Any, is_wanted: Callable[[Tensor], bool], found: dict[int, Tensor]) -> None:
    """Put the wanted tensors into ``found``, by their identity."""
    if isinstance(data, Tensor):
        if is_wanted(data):
            found[id(data)] = data
        return
    for part in _parts(data):
        _find(part, is_wanted, found)


def _is_distant(tensor: Tensor) -> bool:
    return tensor.device.type != 'cpu'


def _is_distant_or_view(tensor: Tensor) -> bool:
    if _is_distant(tensor):
        return True
    return _can_be_joined(tensor) and tensor.untyped_storage().nbytes() > tensor.nbytes


def _can_be_joined(tensor: Tensor) -> bool:
    return tensor.layout is torch.strided and not tensor.is_quantized and not tensor.is_nested


def _parts(data: Any) -> Iterable[Any]:
    if isinstance(data, (list, tuple)):
        return data
    if isinstance(data, dict):
        return data.values()
    if isinstance(data, BaseDataElement):
        return vars(data).values()
    return ()


def _replace(data: Any, moved: dict[int, Tensor]) -> Any:
    """``data`` rebuilt with the moved tensors in the place of their originals."""
    if isinstance(data, Tensor):
        return moved.get(id(data), data)
    if isinstance(data, tuple):
        parts = [_replace(part, moved) for part in data]
        return type(data)(*parts) if hasattr(data, '_fields') else tuple(parts)
    if isinstance(data, list):
        return [_replace(part, moved) for part in data]
    if isinstance(data, dict):
        rebuilt = copy.copy(data)
        rebuilt.update({key: _replace(value, moved) for key, value in data.items()})
        return rebuilt
    if isinstance(data, BaseDataElement):
        element = copy.copy(data)
        # Without __setattr__: its checks were done before, and only the device has changed.
        vars(element).update(
            {
                name: _replace(value, moved)
                for name, value in vars(data).items()
                if not isinstance(value, set)
            }
        )
        return element
    return data
