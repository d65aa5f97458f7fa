"""Positions of iterable datasets that keep a state: they travel with the batches of each worker.

A dataset with ``state_dict`` and ``load_state_dict`` is asked for its state after the last sample
of each batch, in the worker that reads it. So the state belongs to the batch that is trained, also
if workers have loaded further ones.
"""

from __future__ import annotations

import copy
import weakref
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from torch.utils.data import IterableDataset


@dataclass(frozen=True)
class StreamPosition:
    """Where the workers of a rank are in their streams, after a batch.

    Attributes:
        states: State of the dataset of each worker; None if its stream has not begun.
        samples: Samples that each worker has given in this pass.
        next_worker: The worker whose turn it is.
    """

    states: list[Any]
    samples: list[int]
    next_worker: int

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> StreamPosition:
        """From the result of :meth:`plain`."""
        return cls(**saved)

    def plain(self) -> dict[str, Any]:
        """Plain values, as far as the states of the dataset are."""
        return asdict(self)

    def after(self, batch: BatchWithState) -> StreamPosition:
        """The position after ``batch``."""
        states, samples = list(self.states), list(self.samples)
        states[batch.worker], samples[batch.worker] = batch.state, batch.samples
        return StreamPosition(states, samples, (batch.worker + 1) % len(states))


def keeps_state(dataloader: Any) -> bool:
    """Whether the dataset of ``dataloader`` is a stream that saves and restores its position."""
    dataset = getattr(dataloader, 'dataset', None)
    return isinstance(dataset, IterableDataset) and all(
        callable(getattr(dataset, name, None)) for name in ('state_dict', 'load_state_dict')
    )


@dataclass
class BatchWithState:
    """A batch on its way from a worker.

    Attributes:
        batch: The batch.
        worker: Number of the worker; in a resumed pass, of the worker that began its stream.
        state: State of the dataset after the batch.
        samples: Samples that the worker has given.
    """

    batch: Any
    worker: int
    state: Any
    samples: int

    def pin_memory(self, device: Any = None) -> BatchWithState:
        """Called by a dataloader that pins memory."""
        from torch.utils.data._utils.pin_memory import pin_memory

        return replace(self, batch=pin_memory(self.batch, device))  # type: ignore[no-untyped-call]  # untyped in torch


class StateCollate:
    """Collates, and attaches the state of the dataset.

    Args:
        collate_fn: Of the loader.
        stream: What stands in for the dataset; has its ``worker`` and ``given``.
        dataset: The dataset.
    """

    def __init__(self, collate_fn: Callable[[Any], Any], stream: Any, dataset: Any) -> None:
        self._collate_fn = collate_fn
        self._stream = stream
        self._dataset = dataset

    def __call__(self, samples: Any) -> BatchWithState:
        batch = self._collate_fn(samples)
        # A thread pickles it later, when the dataset may have gone on.
        state = copy.deepcopy(self._dataset.state_dict())
        return BatchWithState(batch, self._stream.worker, state, self._stream.given)


class StreamJournal:
    """The positions after the latest batches of a pass.

    Args:
        num_workers: Workers that read; 1 for a loader without.
        first: Number of the first batch.
        start: The position before it; None for the begin of the stream.
    """

    _KEPT = 4

    def __init__(self, num_workers: int, first: int, start: StreamPosition | None) -> None:
        self._begin = StreamPosition([None] * num_workers, [0] * num_workers, 0)
        self._count, self._latest = first, start or self._begin
        self._positions = {} if start is None else {first: start}
        self._is_over = False

    def position(self, num_batches: int) -> StreamPosition | None:
        """The position after ``num_batches`` batches; None if it is not known."""
        return self._positions.get(num_batches)

    def watch(self, batches: Any) -> None:
        """Take the states off the batches of an iterator of a DataLoader."""
        owner = weakref.ref(batches)  # a cycle would keep workers alive

        def next_data() -> Any:
            iterator: Any = owner()
            try:
                data = type(iterator)._next_data(iterator)
            except StopIteration:
                self._is_over = True
                raise
            return self._note(data) if isinstance(data, BatchWithState) else data

        batches._next_data = next_data

    def _note(self, batch: BatchWithState) -> Any:
        if self._is_over:  # persistent workers go on with the next pass
            self._count, self._latest, self._is_over = 0, self._begin, False
            self._positions.clear()
        self._count += 1
        self._latest = self._positions[self._count] = self._latest.after(batch)
        self._positions.pop(self._count - self._KEPT, None)
        return batch.batch
