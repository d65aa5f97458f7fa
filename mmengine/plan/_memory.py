"""Bytes of the tensors that are alive, by what they are for."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from mmengine.dist._dtensor import is_dtensor

PARAMETERS = 'parameters'
BUFFERS = 'buffers'
GRADIENTS = 'gradients'
BUCKETS = 'gradient buckets'
STATES = 'optimizer states'
AVERAGE = 'averaged weights'
GATHERED = 'gathered parameters'
BATCH = 'batch'
ACTIVATIONS = 'activations and temporary tensors'
KEPT = 'kept by the model'
KINDS = (
    PARAMETERS, BUFFERS, GRADIENTS, BUCKETS, STATES, AVERAGE, GATHERED, BATCH, ACTIVATIONS, KEPT
)  # fmt: skip


class MemoryLedger:
    """Counts each storage once, from the operation that returned it until it is freed.

    A storage is counted with the bytes of its tensors: what an allocator rounds up, memory inside
    of an operation, and libraries of a device are not counted.

    Attributes:
        live: Bytes that are alive, by kind.
        peak: The same at the moment when the sum was largest.
        most: The largest number of bytes of each kind, at any moment.
    """

    def __init__(self) -> None:
        self._known: dict[int, list[Any]] = {}  # storage: kind, bytes, weak reference
        self.live = dict.fromkeys(KINDS, 0)
        self._total = 0
        self.forget_peak()

    @property
    def peak_bytes(self) -> int:
        """The sum over all kinds at the peak."""
        return sum(self.peak.values())

    def forget_peak(self) -> None:
        """Look for the peak from now on."""
        self._peak_total = self._total
        self.peak = dict(self.live)
        self.most = dict(self.live)

    def see(self, tensor: Tensor) -> None:
        """Count the storage of ``tensor``, if it is new, as an activation."""
        storage = tensor.untyped_storage()
        key = storage._cdata
        if key not in self._known:
            size = storage.nbytes()
            reference = weakref.ref(storage, lambda _: self._forget(key))
            self._known[key] = [ACTIVATIONS, size, reference]
            self._change(ACTIVATIONS, size)

    def assign(self, tensors: Iterable[Any], kind: str) -> None:
        """Count the storages of ``tensors`` under ``kind`` from now on."""
        for tensor in tensors:
            if not isinstance(tensor, Tensor):
                continue
            part: Tensor = tensor.to_local() if is_dtensor(tensor) else tensor  # type: ignore[attr-defined]  # a DTensor
            if part.layout is not torch.strided:
                continue
            self.see(part)
            self._move(self._known[part.untyped_storage()._cdata], kind)

    def assign_rest(self, kind: str) -> None:
        """Count all activations that are alive under ``kind`` from now on."""
        for entry in list(self._known.values()):
            if entry[0] == ACTIVATIONS:
                self._move(entry, kind)

    def hold(self, kind: str, size: int) -> None:
        """Count ``size`` bytes that stay until the end."""
        self._change(kind, size)

    @contextmanager
    def watching_resizes(self) -> Iterator[None]:
        """Context in which storages that are resized are counted with their new size.

        FSDP frees and allocates gathered parameters so, without an operation.
        """
        original = torch.UntypedStorage.resize_

        def resize(storage: torch.UntypedStorage, size: int) -> Any:
            done = original(storage, size)
            entry = self._known.get(storage._cdata)
            if entry is not None:
                self._move(entry, GATHERED)
                self._change(GATHERED, storage.nbytes() - entry[1])
                entry[1] = storage.nbytes()
            return done

        torch.UntypedStorage.resize_ = resize  # type: ignore[method-assign, assignment]  # restored below
        try:
            yield
        finally:
            torch.UntypedStorage.resize_ = original  # type: ignore[method-assign]  # torch's own

    def _forget(self, key: int) -> None:
        kind, size, _ = self._known.pop(key)
        self.live[kind] -= size
        self._total -= size

    def _move(self, entry: list[Any], kind: str) -> None:
        if entry[0] != kind:
            self.live[entry[0]] -= entry[1]
            self._total -= entry[1]
            entry[0] = kind
            self._change(kind, entry[1])

    def _change(self, kind: str, size: int) -> None:
        self.live[kind] += size
        self._total += size
        self.most[kind] = max(self.most[kind], self.live[kind])
        if self._total > self._peak_total:
            self._peak_total = self._total
            self.peak = dict(self.live)
