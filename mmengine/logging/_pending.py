"""Reads the pending values of several histories with one transfer per device and dtype.

Appending needs no lock, in any thread: it is one append to the end of a list. Whoever reads holds
``reading``, copies the entries that are there, and removes them from the front when they are
stored. (In a Python without a GIL each of these list operations has the list's lock.)
"""

from __future__ import annotations

import itertools
import os
import threading
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

if TYPE_CHECKING:
    from mmengine.logging.history_buffer import HistoryBuffer

#: Held while pending values are stored, and while stored values are looked up.
reading = threading.RLock()
# A process that is forked while another thread reads would wait for that thread forever.
if hasattr(os, 'register_at_fork'):  # not on Windows, where nothing forks
    os.register_at_fork(
        before=reading.acquire, after_in_parent=reading.release, after_in_child=reading.release
    )

_device_of = attrgetter('device')
_dtype_of = attrgetter('dtype')


def read_pending(buffers: Iterable[HistoryBuffer]) -> None:
    """Read the pending values of all ``buffers``, with one transfer for each device and dtype."""
    with reading:
        taken = [_Taken(buffer) for buffer in buffers if buffer._pending_values]
        batches: dict[tuple[torch.device, torch.dtype], _Batch] = {}
        for one in taken:
            for kind, positions, tensors in _by_kind(one.positions, one.tensors()):
                batch = batches.setdefault(kind, _Batch())
                batch.tensors += tensors
                batch.owners.append((one.values, positions))
        for batch in batches.values():
            numbers = iter(torch.stack(batch.tensors).tolist())
            for values, positions in batch.owners:
                for position in positions:
                    values[position] = next(numbers)
        for one in taken:
            one.store()


class _Taken:
    """The entries that are pending in ``buffer`` now: numbers, 0-d tensors, or pairs with a count.

    Entries that other threads append meanwhile stay pending.
    """

    def __init__(self, buffer: HistoryBuffer) -> None:
        self.buffer = buffer
        entries: Any = buffer._pending_values[:]
        self.values: list[Any] = entries
        self.positions: list[int] = []
        self.counts: npt.NDArray[Any] | None = None
        if buffer._has_only_numbers:
            return
        odd = {at: entry[1] for at, entry in enumerate(self.values) if type(entry) is tuple}
        if odd:
            given = np.array(list(odd.values()))
            self.counts = np.ones(len(self.values), dtype=given.dtype)
            self.counts[list(odd)] = given
            for at in odd:
                self.values[at] = self.values[at][0]
        self.positions = [at for at, value in enumerate(self.values) if isinstance(value, Tensor)]

    def tensors(self) -> list[Tensor]:
        """The values that are tensors."""
        tensors = [self.values[position] for position in self.positions]
        # All were logged as version 0; in inference mode changes are not counted.
        if any(tensor._version for tensor in tensors if not tensor.is_inference()):
            warnings.warn(
                'A logged tensor was changed in place before its value was read, '
                'so the log holds the changed value. Log tensor.clone() instead.',
                stacklevel=4,
            )
        return tensors

    def store(self) -> None:
        """Move the values, all numbers by now, into the stored columns."""
        self.buffer._extend(np.array(self.values, dtype=np.float64), self.counts)
        # In place: `append` belongs to this list.
        del self.buffer._pending_values[: len(self.values)]


@dataclass
class _Batch:
    """Tensors of one device and dtype, and where their values belong: lists, with positions."""

    tensors: list[Tensor] = field(default_factory=list)
    owners: list[tuple[list[Any], list[int]]] = field(default_factory=list)


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
