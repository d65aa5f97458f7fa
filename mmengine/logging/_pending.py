"""Reads the pending tensors of several histories with one transfer per device and dtype."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from mmengine.logging.history_buffer import HistoryBuffer

_device_of = attrgetter('device')
_dtype_of = attrgetter('dtype')


def read_pending(buffers: Iterable[HistoryBuffer]) -> None:
    """Read the pending tensors of all ``buffers``, with one transfer for each device and dtype."""
    buffers = [buffer for buffer in buffers if buffer._pending_values]
    batches: dict[tuple[torch.device, torch.dtype], _Batch] = {}
    for buffer in buffers:
        if buffer._pending_tensors:
            for kind, positions, tensors in _by_kind(*buffer._take_tensors()):
                batch = batches.setdefault(kind, _Batch())
                batch.tensors += tensors
                batch.owners.append((buffer, positions))
    for batch in batches.values():
        numbers = iter(torch.stack(batch.tensors).tolist())
        for buffer, positions in batch.owners:
            for position in positions:
                buffer._pending_values[position] = next(numbers)
    for buffer in buffers:
        buffer._fold_pending()


@dataclass
class _Batch:
    """Tensors of one device and dtype, and where their values belong: buffers, with positions."""

    tensors: list[Tensor] = field(default_factory=list)
    owners: list[tuple[HistoryBuffer, list[int]]] = field(default_factory=list)


def _by_kind(
    positions: list[int], tensors: list[Tensor]
) -> Iterator[tuple[tuple[torch.device, torch.dtype], list[int], list[Tensor]]]:
    devices = set(map(_device_of, tensors))
    dtypes = set(map(_dtype_of, tensors))
    for kind in itertools.product(devices, dtypes):
        if len(devices) == len(dtypes) == 1:
            yield kind, positions, tensors
            return
        chosen = [
            (position, tensor)
            for position, tensor in zip(positions, tensors, strict=True)
            if (tensor.device, tensor.dtype) == kind
        ]
        if chosen:
            yield kind, [position for position, _ in chosen], [tensor for _, tensor in chosen]
