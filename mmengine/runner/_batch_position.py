"""Where a run is in its data: start a dataloader inside a pass, by index, and tell what a pass is.

No batch before the position is loaded, and the user's DataLoader stays the one that is iterated.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from mmengine.dataset._limited import is_limited
from mmengine.dataset._order_source import order_source
from mmengine.dist import get_world_size
from mmengine.dist._data_parallel import get_data_parallel_info
from mmengine.process.seed import set_rng_state
from mmengine.utils.errors import ArgumentError

_END = object()


@dataclass(frozen=True)
class SampleStart:
    """Where a pass goes on whose batches or ranks were of other sizes before.

    Attributes:
        position: In the order of all ranks.
        of_rank: How many samples this rank leaves out, where its sampler cannot start at a
            position in the order of all ranks.
    """

    position: int
    of_rank: int


Start = int | SampleStart
"""The number of a batch, or a sample."""


def batches_from(
    dataloader: Any, start: Start, rng_state: dict[str, Any] | None = None
) -> Iterator[Any]:
    """Iterate ``dataloader`` from ``start``; see :func:`start_batches`."""
    return start_batches(dataloader, start, rng_state)[1]


def start_batches(
    dataloader: Any,
    start: Start,
    rng_state: dict[str, Any] | None = None,
    drawn_from: list[Any] | None = None,
) -> tuple[int, Iterator[Any]]:
    """Iterate ``dataloader`` from ``start`` on.

    A sampler with ``start_at(position)`` or ``skip(num_samples)`` jumps there in one step. The
    indices of another sampler are drawn and dropped; their samples are not loaded. Where a custom
    batch sampler has a batch around ``start``, its rest is a smaller batch. An object that is not a
    DataLoader, a DataLoader over an iterable dataset, and a DataLoader subclass that does not ask
    its sampler for a new pass have no indices to drop, so their batches are loaded and dropped.

    Args:
        dataloader: Where the batches come from.
        start: How many batches to leave out, or the sample to begin with.
        rng_state: Restored where the unbroken run had saved it: after the seed of the workers is
            drawn and what comes before ``start`` is left out, before the next sample is loaded.
        drawn_from: The states from which the order of the pass was drawn, if it had begun.

    Returns:
        The number of the first batch in its pass, and the batches.
    """
    if start == 0 and drawn_from is None:
        if rng_state is None:
            return 0, iter(dataloader)
        set_rng_state(rng_state)
        return 0, _iterate_again(dataloader)
    first_batch = batch_number(dataloader, start)
    name = index_sampler_name(dataloader)
    if name is None:
        return first_batch, _after_dropping(iter(dataloader), first_batch, rng_state)
    with _shifted(dataloader, name, start, rng_state, drawn_from) as order:
        batches = iter(dataloader)
        # A subclass may define __iter__ as a generator, which does nothing before its first batch.
        first = next(batches, _END)
    if not order.has_begun:
        if first is _END:
            return first_batch, iter(())
        return first_batch, _after_dropping(batches, first_batch - 1, rng_state)
    if first is _END:
        return order._first_batch, iter(())
    return order._first_batch, itertools.chain([first], batches)


def batch_number(dataloader: Any, start: Start) -> int:
    """The number in its pass of the batch that begins at ``start``.

    Counted from the end of the pass, so that the last batch has the number it always has. A custom
    batch sampler is taken for one with batches of its ``batch_size``.
    """
    if isinstance(start, int):
        return start
    size = batch_size_of(dataloader) or 1
    if is_endless(dataloader) or is_limited(dataloader):
        return start.of_rank // size
    left = max(_samples_left(dataloader, start), 0)
    drops = bool(getattr(getattr(dataloader, 'batch_sampler', None), 'drop_last', False))
    return max(len(dataloader) - (left // size if drops else math.ceil(left / size)), 0)


def batch_size_of(dataloader: Any) -> int | None:
    """Samples in a batch of one rank; None where that is not known."""
    batch_sampler = getattr(dataloader, 'batch_sampler', None)
    if batch_sampler is None and isinstance(dataloader, DataLoader):
        return 1
    size = getattr(batch_sampler, 'batch_size', None) or getattr(dataloader, 'batch_size', None)
    return size if isinstance(size, int) else None


def samples_of_rank(dataloader: Any) -> int | None:
    """Samples that this rank has in a pass; None where that is not known."""
    try:
        return len(innermost_sampler(dataloader))
    except TypeError:
        return None


def epoch_and_offset(dataloader: Any, num_batches: int) -> tuple[int, int]:
    """Which pass over ``dataloader`` batch ``num_batches`` is in, and its place in that pass."""
    if is_endless(dataloader):
        return 0, num_batches
    length = len(dataloader)
    return divmod(num_batches, length) if length else (0, 0)


def is_endless(dataloader: Any) -> bool:
    """Whether one pass over ``dataloader`` never ends: it has no length, or an endless sampler."""
    try:
        len(dataloader)
    except TypeError:
        return True
    batch_sampler = getattr(dataloader, 'batch_sampler', None)
    for sampler in (
        batch_sampler,
        getattr(batch_sampler, 'sampler', None),
        getattr(dataloader, 'sampler', None),
    ):
        # The outermost sampler that says it decides: a batch sampler may stop an endless sampler.
        says = getattr(sampler, 'is_endless', None)
        if says is not None:
            return bool(says)
    return False


def check_has_epochs(dataloader: Any) -> None:
    """Refuse training data whose pass never ends, which an epoch-based loop would never leave.

    A stream without a length is taken to end.

    Raises:
        ArgumentError: If its sampler is endless, or several ranks have data without a length.
    """
    if not is_endless(dataloader):
        return
    sampler = innermost_sampler(dataloader)
    if getattr(sampler, 'is_endless', False):
        reason = f'{type(sampler).__name__} is endless'
    elif get_world_size() > 1:
        reason = f'{type(dataloader).__name__} has no length, which several ranks compare'
    else:
        return  # a stream that ends
    raise ArgumentError(
        f'EpochBasedTrainLoop needs data whose pass ends, but {reason}. Train with '
        "IterBasedTrainLoop, as in train_cfg=dict(type='IterBasedTrainLoop', max_iters=...), or "
        'use a finite sampler such as DefaultSampler.'
    )


def check_has_batches(dataloader: Any) -> None:
    """Refuse training data that is known to give no batch.

    Raises:
        ArgumentError: If the length of ``dataloader`` is 0.
    """
    if is_endless(dataloader) or len(dataloader):
        return
    dataset: Any = getattr(dataloader, 'dataset', None)
    samples = f' of {len(dataset)} samples' if hasattr(dataset, '__len__') else ''
    raise ArgumentError(
        f'The training dataloader gives no batch: its dataset{samples} is empty on this rank, or '
        'smaller than one batch with drop_last=True.'
    )


class _ShiftedOrder:
    """The indices of a DataLoader; the next pass, and only that, begins inside.

    It replaces the ``batch_sampler`` (or the ``sampler``, where there is no batching) while an
    iterator is made. Persistent workers keep it as the source of their later passes.

    Attributes:
        has_begun: Whether the pass has begun.
        _first_position: The first sample of the pass in the order of all ranks, read by what
            numbers the samples.
        _first_batch: Its batch.
        _drawn_from: The states from which the order of the pass was drawn before.
    """

    PASSES_ON = '_order'

    def __init__(
        self,
        order: Any,
        dataloader: Any,
        start: Start,
        rng_state: dict[str, Any] | None,
        drawn_from: list[Any] | None,
    ) -> None:
        self._order = order
        self._dataloader = dataloader
        self._start = start
        self._rng_state = rng_state
        self._drawn_from = drawn_from
        self._source = None if drawn_from is None else order_source(dataloader)
        self._is_iterated = False
        self.has_begun = False
        self._first_position = 0
        self._first_batch = self._left_out = batch_number(dataloader, start)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or name == '_order':
            raise AttributeError(name)
        return getattr(self._order, name)

    def __len__(self) -> int:
        # A DataLoader subclass may count to len(self) while its iterator is shifted.
        length = len(self._order)
        return max(length - self._left_out, 0) if self._is_iterated else length

    def __iter__(self) -> Iterator[Any]:
        self._is_iterated = True
        return self._indices()

    def end_shift(self) -> None:
        """Called after the iterator is created: from now on the length is a whole pass."""
        self._left_out = 0
        self._dataloader = None

    def _indices(self) -> Iterator[Any]:
        # Runs at the first index. Iterators with workers make this generator twice and use one.
        if self.has_begun or self._dataloader is None:
            self._first_position = self._first_batch = 0
            yield from self._order
            return
        self.has_begun = True
        indices = self._after_start()
        if self._rng_state is not None:
            set_rng_state(self._rng_state)
        yield from indices

    def _after_start(self) -> Iterator[Any]:
        """The indices after the start, in the fewest steps that the samplers allow."""
        loader, start = self._dataloader, self._start
        is_batched = loader.batch_sampler is not None
        sampler: Any = innermost_sampler(loader)
        if not is_batched or type(self._order) is BatchSampler:
            size = batch_size_of(loader) or 1
            samples = start * size if isinstance(start, int) else start.of_rank
            world_size = get_data_parallel_info()[1]
            if isinstance(start, SampleStart) and hasattr(sampler, 'start_at'):
                self._first_position = start.position
                sampler.start_at(start.position)
                return self._all()
            self._first_position = samples * world_size
            if hasattr(sampler, 'skip'):
                sampler.skip(samples)
                return self._all()
            # A BatchSampler asks for the first index and the iterator at once.
            rest = self._begun(_begun_late(sampler) if is_batched else sampler)
            for _ in itertools.islice(rest, samples):
                pass
            return iter(BatchSampler(rest, size, self._order.drop_last)) if is_batched else rest  # type: ignore[arg-type]  # any iterable
        if isinstance(start, int):
            return self._after_batches(start)
        return self._after_samples(start.of_rank)

    def _all(self) -> Iterator[Any]:
        return self._begun(self._order)

    def _begun(self, order: Any) -> Iterator[Any]:
        """An iterator over ``order``, drawn from the states from which it was drawn before."""
        if self._source is None or self._drawn_from is None:
            entries: Iterator[Any] = iter(order)
            return entries
        (at_iterator, at_first_index), self._drawn_from = self._drawn_from, None
        self._source.load(at_iterator)
        entries = iter(order)
        self._source.load(at_first_index)
        return itertools.chain(list(itertools.islice(entries, 1)), entries)

    def _after_batches(self, num_batches: int) -> Iterator[Any]:
        batches = self._begun(self._order)
        dropped = sum(len(batch) for batch in itertools.islice(batches, num_batches))
        self._first_position = dropped * get_data_parallel_info()[1]
        return batches

    def _after_samples(self, num_samples: int) -> Iterator[Any]:
        """Batches of a custom batch sampler; the one around the start is cut."""
        self._first_position = num_samples * get_data_parallel_info()[1]
        self._first_batch, left = 0, num_samples
        batches = self._begun(self._order)
        while left > 0:
            batch = next(batches, None)
            if batch is None:
                return batches
            if len(batch) > left:
                return itertools.chain([batch[left:]], batches)
            left -= len(batch)
            self._first_batch += 1
        return batches


def _begun_late(order: Any) -> Iterator[Any]:
    """The entries of ``order``, which is not iterated before the first one is taken."""
    yield from order


@contextmanager
def _shifted(
    dataloader: DataLoader[Any],
    name: str,
    start: Start,
    rng_state: dict[str, Any] | None,
    drawn_from: list[Any] | None,
) -> Iterator[_ShiftedOrder]:
    """Let iterators of ``dataloader`` that are made meanwhile begin at ``start``."""
    attributes = vars(dataloader)  # DataLoader.__setattr__ refuses to exchange a sampler
    order = attributes[name]
    shifted = _ShiftedOrder(order, dataloader, start, rng_state, drawn_from)
    attributes[name] = shifted
    try:
        yield shifted
    finally:
        attributes[name] = order
        shifted.end_shift()


def index_sampler_name(dataloader: Any) -> str | None:
    """The attribute of a DataLoader that gives its indices; None where there are none to shift."""
    if not isinstance(dataloader, DataLoader) or isinstance(dataloader.dataset, IterableDataset):
        return None
    name = 'sampler' if dataloader.batch_sampler is None else 'batch_sampler'
    return name if name in vars(dataloader) else None


def _samples_left(dataloader: Any, start: SampleStart) -> int:
    """Samples that this rank has from ``start`` on."""
    sampler = innermost_sampler(dataloader)
    if hasattr(sampler, 'start_at') and hasattr(sampler, 'dataset'):
        rank, world_size = get_data_parallel_info()
        length = len(sampler.dataset)
        if getattr(sampler, 'round_up', True):
            return math.ceil((length - start.position) / world_size)
        return len(range(start.position + rank, length, world_size))
    total = samples_of_rank(dataloader)
    if total is None:
        total = len(dataloader) * (batch_size_of(dataloader) or 1)
    return total - start.of_rank


def innermost_sampler(dataloader: Any) -> Any:
    """The sampler that draws single indices, below the batching if there is any."""
    batch_sampler = getattr(dataloader, 'batch_sampler', None)
    return getattr(batch_sampler, 'sampler', None) or getattr(dataloader, 'sampler', None)


def _iterate_again(dataloader: Any) -> Iterator[Any]:
    """Iterate as for a pass that is not the first one.

    Persistent workers live on then, and no seed is drawn for them. A resumed run makes them anew,
    with a seed from a separate generator.
    """
    if not getattr(dataloader, 'persistent_workers', False):
        return iter(dataloader)
    kept, dataloader.generator = dataloader.generator, torch.Generator()
    try:
        return iter(dataloader)
    finally:
        dataloader.generator = kept


def with_rng(batches: Iterator[Any], rng_state: dict[str, Any] | None) -> Iterator[Any]:
    """``batches``, with the random state of the run that was stopped."""
    if rng_state is not None:
        set_rng_state(rng_state)
    return batches


def _after_dropping(
    batches: Iterator[Any], count: int, rng_state: dict[str, Any] | None
) -> Iterator[Any]:
    for _ in itertools.islice(batches, count):
        pass
    return with_rng(batches, rng_state)
