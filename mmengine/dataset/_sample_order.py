"""Numbers the samples of a dataloader: each pass, and each sample in the order of all ranks."""

from __future__ import annotations

import copy
import weakref
from collections import deque
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, IterableDataset, IterDataPipe, MapDataPipe

from mmengine.dataset._bad_samples import BadSamplePolicy, BadSamples
from mmengine.dataset._loading_record import LoadingRecord
from mmengine.dataset._looked_up import draws_nothing
from mmengine.dataset._order_source import OrderSource, order_source
from mmengine.dataset._sample_seed import (
    NumberedBatch,
    NumberedIndex,
    SampleSeeds,
    SeededCollate,
    SeededMap,
    WorkerStart,
)
from mmengine.dataset._seeded_stream import SeededStream
from mmengine.dataset._stream_state import (
    StateCollate,
    StreamJournal,
    StreamPosition,
    keeps_state,
)
from mmengine.dataset._worker_process import keep_queues, move_to_own_groups
from mmengine.dist._data_parallel import get_data_parallel_info

TRAIN, VAL, TEST = 0, 1, 2
"""Streams of data: a sample at one position has another random state in each of them."""


def number_samples(dataloader: Any, seed: int | None) -> None:
    """Count the samples of ``dataloader`` from now on, in every pass, whoever iterates it.

    Args:
        dataloader: Left as it is if it is not a DataLoader, or keeps its own state.
        seed: Of the run: each sample is loaded in its own random state, drawn from it. None
            leaves random numbers alone.
    """
    if not isinstance(dataloader, DataLoader) or has_state(dataloader):
        return
    passes = passes_of(dataloader)
    if passes is None:
        passes = Passes(seed)
        vars(dataloader)['_get_iterator'] = _IteratorMaker(dataloader, passes)
    passes.seed = seed


def skip_bad_samples(dataloader: DataLoader[Any], policy: BadSamplePolicy) -> None:
    """Let others take the place of samples of ``dataloader`` that raise.

    Raises:
        ArgumentError: If the data is a stream.
    """
    vars(dataloader)[_BAD] = BadSamples(policy, dataloader)
    if passes_of(dataloader) is None:
        number_samples(dataloader, None)


def bad_samples_of(dataloader: Any) -> BadSamples | None:
    """The bad samples of ``dataloader``; None if it does not skip them."""
    found: BadSamples | None = getattr(dataloader, '__dict__', {}).get(_BAD)
    return found


_BAD = '_bad_samples'


def has_state(dataloader: Any) -> bool:
    """Whether ``dataloader`` saves and restores its position by itself."""
    return all(callable(getattr(dataloader, name, None)) for name in _STATE)


_STATE = ('state_dict', 'load_state_dict')


def loading_record_of(dataloader: Any) -> LoadingRecord | None:
    """What the workers of ``dataloader`` note of their loading; None if they note nothing."""
    maker = getattr(dataloader, '__dict__', {}).get('_get_iterator')
    return maker.record if isinstance(maker, _IteratorMaker) else None


def passes_of(dataloader: Any) -> Passes | None:
    """What :func:`number_samples` keeps for ``dataloader``; None if its samples are not counted."""
    maker = getattr(dataloader, '__dict__', {}).get('_get_iterator')
    return maker.passes if isinstance(maker, _IteratorMaker) else None


def begin_pass(dataloader: Any, number: int, stream: int) -> None:
    """The next pass over ``dataloader`` is pass ``number`` of ``stream``."""
    passes = passes_of(dataloader)
    if passes is not None:
        passes.number, passes.stream = number, stream


class Passes:
    """Which pass over a dataloader begins next, and what the present ones have given.

    A pass that nobody has announced by :func:`begin_pass` is the one after the last.

    Attributes:
        seed: Of the run; None if random numbers are left alone.
        number: Of the pass that begins next.
        stream: Of the pass that begins next.
        stream_start: The number of the first batch of that pass, and where a dataset that keeps a
            state goes on; None for a pass from its begin.
    """

    def __init__(self, seed: int | None) -> None:
        self.seed = seed
        self.number = 0
        self.stream = TRAIN
        self.stream_start: tuple[int, StreamPosition] | None = None
        self._given: dict[int, _Given] = {}

    def begin(self, order: list[Any] | None = None) -> tuple[int, _Given]:
        """Begin the pass: its number, and where its batches are noted.

        Args:
            order: The states of what its order is drawn from.
        """
        given = self._given[self.stream] = _Given(order)
        number, self.number = self.number, self.number + 1
        return number, given

    def samples_before(self, num_batches: int, stream: int) -> int | None:
        """Samples of all ranks in the first ``num_batches`` batches of the present pass.

        Counted as if every rank had batches of the sizes of this one. None if that is not known,
        as the pass has not begun.
        """
        given = self._given.get(stream)
        return None if given is None else given.before(num_batches)

    def stream_position(self, num_batches: int, stream: int) -> StreamPosition | None:
        """Where a dataset that keeps a state is after ``num_batches`` batches, if it is known."""
        given = self._given.get(stream)
        if given is None or given.journal is None:
            return None
        return given.journal.position(num_batches)

    def drawn_from(self, stream: int) -> list[Any] | None:
        """The states from which the order of the present pass was drawn.

        The first state is from before its iterator was made, the second from before its first
        index was taken. None if the order is a function of seed and pass, or if the pass has not
        begun.
        """
        given = self._given.get(stream)
        return None if given is None else given.order


class _Given:
    """Sizes of the batches of a pass, as runs of batches of equal size, and its ``order``."""

    def __init__(self, order: list[Any] | None = None) -> None:
        self.order = order
        self.journal: StreamJournal | None = None
        # What was consumed is a little behind what was drawn, so old runs are of no use.
        self._runs: deque[tuple[int, int, int]] = deque(maxlen=10_000)

    def note(self, batch: int, before: int, size: int) -> None:
        """From batch number ``batch`` on, before which there are ``before`` samples."""
        if not self._runs or self._runs[-1][2] != size:
            self._runs.append((batch, before, size))

    def before(self, num_batches: int) -> int | None:
        """Samples in the first ``num_batches`` batches."""
        for batch, before, size in reversed(self._runs):
            if batch <= num_batches:
                return before + (num_batches - batch) * size
        return None


class NumberedOrder:
    """The indices of a DataLoader with their numbers; stands in while an iterator is made.

    Persistent workers keep it as the source of their later passes.

    Args:
        order: Batches of indices, or indices.
        passes: Of the dataloader.
        is_batched: Whether ``order`` gives batches.
        is_numbered: Whether each sample gets its pass and its position.
        source: What the order is drawn from; None if it is a function of seed and pass.
    """

    def __init__(
        self,
        order: Any,
        passes: Passes,
        is_batched: bool,
        is_numbered: bool,
        source: OrderSource | None,
    ) -> None:
        self._order = order
        self._passes = passes
        self._is_batched = is_batched
        self._is_numbered = is_numbered
        self._source = source

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or name == '_order':
            raise AttributeError(name)
        return getattr(self._order, name)

    def __len__(self) -> int:
        return len(self._order)

    def __iter__(self) -> Iterator[Any]:
        # The order of a pass may depend on the random state now, so it is begun now.
        state = None if self._source is None else self._source.state()
        return self._numbered(iter(self._order), state)

    def _numbered(self, order: Iterator[Any], state: Any) -> Iterator[Any]:
        # Runs at the first index. Iterators with workers call __iter__ twice and use one.
        passes, is_batched = self._passes, self._is_batched
        states = None if self._source is None else [state, self._source.state()]
        # A resumed pass has the order that was drawn before the stop.
        number, given = passes.begin(getattr(self._order, '_drawn_from', None) or states)
        rank, world_size = get_data_parallel_info()
        is_numbered = self._is_numbered
        base: int | None = None
        own = first = 0
        last_size = -1
        for count, entry in enumerate(order):
            if base is None:
                # A resumed pass starts inside: known once it has.
                base = getattr(self._order, '_first_position', 0)
                first = getattr(self._order, '_first_batch', 0)
            if is_batched:
                batch = entry if hasattr(entry, '__len__') else list(entry)
                size = len(batch)
            else:
                batch, size = entry, 1
            before = base + own * world_size
            if size != last_size:
                given.note(first + count, before, size * world_size)
                last_size = size
            own += size
            if not is_numbered:
                yield batch
            elif is_batched:
                yield NumberedBatch.of(batch, number, before + rank, world_size)
            else:
                yield NumberedIndex(batch, number, before + rank)


class _IteratorMaker:
    """Makes the iterators of one DataLoader, in place of its method ``_get_iterator``.

    What the iterator reads is exchanged meanwhile. So the loader, its sampler and its dataset stay
    what they are, and a subclass of DataLoader keeps its own ``__iter__``.
    """

    def __init__(self, dataloader: DataLoader[Any], passes: Passes) -> None:
        self._dataloader = weakref.ref(dataloader)
        self.passes = passes
        self.record: LoadingRecord | None = None
        self._journal: StreamJournal | None = None

    def __getstate__(self) -> tuple[Any, Passes]:
        return self._dataloader(), self.passes

    def __setstate__(self, state: tuple[Any, Passes]) -> None:
        dataloader, self.passes = state
        self._dataloader = weakref.ref(dataloader)
        self.record = self._journal = None

    def __deepcopy__(self, memo: dict[int, Any]) -> _IteratorMaker:
        # A loader that is being copied is in the memo already.
        owner: Any = memo.get(id(self._dataloader()), self._dataloader())
        return _IteratorMaker(owner, copy.deepcopy(self.passes, memo))

    def __call__(self) -> Any:
        loader: Any = self._dataloader()
        attributes = vars(loader)
        exchanged = self._exchanged(loader)
        kept = {name: attributes[name] for name in exchanged}
        attributes.update(exchanged)
        try:
            batches = type(loader)._get_iterator(loader)
        finally:
            attributes.update(kept)
        move_to_own_groups(batches)
        keep_queues(batches)
        if self._journal is not None:
            self._journal.watch(batches)
        return batches

    def _exchanged(self, loader: Any) -> dict[str, Any]:
        dataset, passes = loader.dataset, self.passes
        self._journal = None
        if isinstance(dataset, (IterDataPipe, MapDataPipe)):
            return {}  # torch seeds and splits data pipes
        seeds = None if passes.seed is None else SampleSeeds(passes.seed, passes.stream)
        if isinstance(dataset, IterableDataset):
            return self._exchanged_stream(loader, seeds)
        is_batched = loader.batch_sampler is not None
        name = 'batch_sampler' if is_batched else 'sampler'
        if name not in vars(loader):
            return {}
        bad = bad_samples_of(loader)
        is_looked_up = draws_nothing(loader, vars(loader)[name])
        is_numbered = bad is not None or not is_looked_up
        source = order_source(loader)
        order = NumberedOrder(vars(loader)[name], passes, is_batched, is_numbered, source)
        if is_looked_up and bad is None:
            return {name: order, 'worker_init_fn': WorkerStart(loader.worker_init_fn)}
        stand_in = SeededMap(dataset, seeds, self._record_of(loader), bad, passes.stream)
        return {name: order, **_stood_in(loader, stand_in)}

    def _exchanged_stream(self, loader: Any, seeds: SampleSeeds | None) -> dict[str, Any]:
        dataset, passes = loader.dataset, self.passes
        number, given = passes.begin()
        (first, start), passes.stream_start = passes.stream_start or (0, None), None
        rank = get_data_parallel_info()[0]
        stream = SeededStream(dataset, seeds, number, rank, self._record_of(loader), start)
        stream.rounds_up = passes.stream == TRAIN
        exchanged = _stood_in(loader, stream)
        if keeps_state(loader) and passes.stream == TRAIN:
            given.journal = self._journal = StreamJournal(max(loader.num_workers, 1), first, start)
            collate = exchanged.get('collate_fn', loader.collate_fn)
            exchanged['collate_fn'] = StateCollate(collate, stream, dataset)
        return exchanged

    def _record_of(self, loader: Any) -> LoadingRecord:
        """The record of ``loader``, which may have got another dataset or number of workers."""
        known = self.record
        is_same = known is not None and known.dataset is loader.dataset
        if known is None or not is_same or known.num_workers != loader.num_workers:
            known = self.record = LoadingRecord(loader.dataset, loader.num_workers)
        return known


def _stood_in(loader: Any, dataset: SeededMap | SeededStream) -> dict[str, Any]:
    exchanged: dict[str, Any] = {
        'dataset': dataset,
        'worker_init_fn': WorkerStart(loader.worker_init_fn),
    }
    if dataset.is_seeded:
        exchanged['collate_fn'] = SeededCollate(loader.collate_fn, dataset)
    return exchanged
