"""Where a run is in its data: start a dataloader inside a pass, by index, and tell what a pass is.

No batch before the position is loaded, and the user's DataLoader stays the one that is iterated.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from mmengine.process.seed import set_rng_state
from mmengine.utils.errors import ArgumentError

_END = object()


def batches_from(
    dataloader: Any, start: int, rng_state: dict[str, Any] | None = None
) -> Iterator[Any]:
    """Iterate ``dataloader`` from its batch number ``start``.

    A sampler with ``skip(num_samples)`` jumps there in one step. The indices of another sampler are
    drawn and dropped; their samples are not loaded. An object that is not a DataLoader, a
    DataLoader over an iterable dataset, and a DataLoader subclass that does not ask its sampler for
    a new pass have no indices to drop, so their batches are loaded and dropped.

    Args:
        dataloader: Where the batches come from.
        start: How many batches to leave out.
        rng_state: Restored where the unbroken run had saved it: after the seed of the workers is
            drawn and the first ``start`` batches are left out, before the next sample is loaded.
    """
    if start == 0:
        if rng_state is not None:
            set_rng_state(rng_state)
        return iter(dataloader)
    name = _index_sampler_name(dataloader)
    if name is None:
        return _after_dropping(iter(dataloader), start, rng_state)
    with _shifted(dataloader, name, start, rng_state) as order:
        batches = iter(dataloader)
        # A subclass may define __iter__ as a generator, which does nothing before its first batch.
        first = next(batches, _END)
    if first is _END:
        return iter(())
    if not order.has_begun:
        return _after_dropping(batches, start - 1, rng_state)
    return itertools.chain([first], batches)


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

    Raises:
        ArgumentError: If the data has no length, or its sampler is endless.
    """
    if not is_endless(dataloader):
        return
    sampler = _innermost_sampler(dataloader)
    reason = (
        f'{type(sampler).__name__} is endless'
        if getattr(sampler, 'is_endless', False)
        else f'{type(dataloader).__name__} has no length'
    )
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
    """The indices of a DataLoader; the next pass, and only that, leaves out its first ``start``.

    It replaces the ``batch_sampler`` (or the ``sampler``, where there is no batching) while an
    iterator is made. Persistent workers keep it as the source of their later passes.
    """

    def __init__(
        self,
        order: Any,
        start: int,
        skip: Callable[[], None] | None,
        rng_state: dict[str, Any] | None,
    ) -> None:
        self._order = order
        self._start = start
        self._skip = skip
        self._rng_state = rng_state
        self._is_iterated = False
        self.has_begun = False

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or name == '_order':
            raise AttributeError(name)
        return getattr(self._order, name)

    def __len__(self) -> int:
        # A DataLoader subclass may count to len(self) while its iterator is shifted.
        length = len(self._order)
        return max(length - self._start, 0) if self._is_iterated else length

    def __iter__(self) -> Iterator[Any]:
        self._is_iterated = True
        return self._indices()

    def end_shift(self) -> None:
        """Called after the iterator is created: from now on the length is a whole pass."""
        self._start = 0

    def _indices(self) -> Iterator[Any]:
        # Runs at the first index. Iterators with workers make this generator twice and use one.
        if self.has_begun:
            yield from self._order
            return
        self.has_begun = True
        start = self._start
        if self._skip is not None:
            self._skip()
            start = 0
        indices = iter(self._order)
        for _ in itertools.islice(indices, start):
            pass
        if self._rng_state is not None:
            set_rng_state(self._rng_state)
        yield from indices


@contextmanager
def _shifted(
    dataloader: DataLoader[Any], name: str, start: int, rng_state: dict[str, Any] | None
) -> Iterator[_ShiftedOrder]:
    """Let iterators of ``dataloader`` that are made meanwhile begin at batch ``start``."""
    attributes = vars(dataloader)  # DataLoader.__setattr__ refuses to exchange a sampler
    order = attributes[name]
    shifted = _ShiftedOrder(order, start, _skip_of(dataloader, start), rng_state)
    attributes[name] = shifted
    try:
        yield shifted
    finally:
        attributes[name] = order
        shifted.end_shift()


def _index_sampler_name(dataloader: Any) -> str | None:
    """The attribute of a DataLoader that gives its indices; None where there are none to shift."""
    if not isinstance(dataloader, DataLoader) or isinstance(dataloader.dataset, IterableDataset):
        return None
    name = 'sampler' if dataloader.batch_sampler is None else 'batch_sampler'
    return name if name in vars(dataloader) else None


def _skip_of(dataloader: DataLoader[Any], start: int) -> Callable[[], None] | None:
    """What makes the sampler leave out ``start`` batches in one step; None if it has no ``skip``.

    Only torch's own BatchSampler is known to take ``batch_size`` samples for each batch.
    """
    sampler: Any = _innermost_sampler(dataloader)
    batch_sampler: Any = dataloader.batch_sampler
    if not hasattr(sampler, 'skip'):
        return None
    if batch_sampler is None:
        return partial(sampler.skip, start)
    if type(batch_sampler) is BatchSampler:
        return partial(sampler.skip, start * batch_sampler.batch_size)
    return None


def _innermost_sampler(dataloader: Any) -> Any:
    """The sampler that draws single indices, below the batching if there is any."""
    batch_sampler = getattr(dataloader, 'batch_sampler', None)
    return getattr(batch_sampler, 'sampler', None) or getattr(dataloader, 'sampler', None)


def _after_dropping(
    batches: Iterator[Any], count: int, rng_state: dict[str, Any] | None
) -> Iterator[Any]:
    for _ in itertools.islice(batches, count):
        pass
    if rng_state is not None:
        set_rng_state(rng_state)
    return batches
