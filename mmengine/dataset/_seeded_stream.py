"""What stands in for an iterable dataset while it is iterated."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch.utils.data import get_worker_info

from mmengine.dataset._loading_record import LoadingRecord
from mmengine.dataset._notes import add_note
from mmengine.dataset._sample_seed import SampleSeeds, _Seeded
from mmengine.dataset._shared_stream import Share, share_of
from mmengine.dataset._stage_times import timed_reading
from mmengine.dataset._stream_state import StreamPosition


class SeededStream(_Seeded):
    """An iterable dataset: each worker of each rank counts its own samples.

    The readers of a :class:`SharedStream` all read the same samples, in the same random states, and
    each keeps its part of them.

    Args:
        dataset: The dataset.
        seeds: Its seeds; None leaves random numbers alone.
        number: Of the pass that begins next. Persistent workers count on from there.
        rank: Of this process.
        record: Where it is noted which sample is being loaded.
        start: Where a resumed pass goes on in a dataset that keeps a state.

    Attributes:
        worker: The worker that reads, of whom a resumed one takes over the stream.
        given: Samples that this worker has given in the pass.
        rounds_up: Whether readers of a shared stream that have one sample less repeat one.
    """

    rounds_up = False

    def __init__(
        self,
        dataset: Any,
        seeds: SampleSeeds | None,
        number: int,
        rank: int,
        record: LoadingRecord | None = None,
        start: StreamPosition | None = None,
    ) -> None:
        super().__init__(dataset, seeds, record)
        self._number = number
        self._rank = rank
        self._start = start
        self._own_worker: int | None = None
        self.worker = self.given = 0

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        workers = 1 if info is None else info.num_workers
        if self._own_worker is None:
            self._own_worker = 0 if info is None else info.id
        start, self._start = self._start, None
        self.worker, self.given = self._own_worker, 0
        if start is not None:
            # A dataloader begins with worker 0, but the turn may belong to another one.
            self.worker = (self._own_worker + start.next_worker) % workers
            self.given = start.samples[self.worker]
            if start.states[self.worker] is not None:
                self._original.load_state_dict(start.states[self.worker])
        if info is not None:
            object.__setattr__(info, 'id', self.worker)
        share = share_of(self._original, self._rank, self.worker, workers)
        seeds = None if self._seeds is None else self._seeds.lane(share.lane)
        number, self._number = self._number, self._number + 1
        return self._samples(seeds, number, share)

    def _next(self, samples: Iterator[Any]) -> Any:
        if not self._record.is_measured:
            return next(samples)
        return timed_reading(next, self._original, self._record)(samples)

    def _samples(self, seeds: SampleSeeds | None, number: int, share: Share) -> Iterator[Any]:
        samples, position = None, share.read_before(self.given)
        first: Any = None
        while True:
            self.set_aside()
            self._record.begin(f'{position}, counted in its stream,')
            try:
                if seeds is not None:
                    self._enter(seeds.of(number, position))
                if samples is None:
                    samples = iter(share.source)
                sample = self._next(samples)
            except StopIteration:
                self.put_back()
                break
            except BaseException as error:
                self.put_back()
                name = type(share.source).__name__
                add_note(error, f'Raised by {name} after it had given {position} samples here.')
                raise
            finally:
                self._record.end()
            position += 1
            if share.has(position - 1):
                if self.given == 0:
                    first = sample
                self.given += 1
                yield sample
        if self.rounds_up and self.given and share.lacks_one(position):
            # The sample of another reader is the last of the stream, and every rank needs one.
            self.given += 1
            yield first if first is not None else next(iter(share.source))
