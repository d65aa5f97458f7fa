"""Start reading a dataloader in the middle, by index: no batch before the cursor is loaded."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader

from mmengine.process.seed import set_rng_state


def batches_from(
    dataloader: Any, start: int, rng_state: dict[str, Any] | None = None
) -> Iterator[Any]:
    """Iterate ``dataloader`` from its batch number ``start``.

    A sampler with ``skip(num_samples)`` jumps there in one step. Another sampler's indices are
    drawn and dropped; its samples are not loaded. What is no DataLoader, or reads an iterable
    dataset, has no indices, so there the batches themselves are.

    Args:
        dataloader: Where the batches come from.
        start: How many batches to leave out.
        rng_state: Put back at the point where the batches before ``start`` would have left it.
    """
    if start == 0:
        if rng_state is not None:
            set_rng_state(rng_state)
        return iter(dataloader)
    batches = _skip_by_index(dataloader, start)
    if batches is None:
        batches = itertools.islice(iter(dataloader), start, None)
        first = next(batches, None)
        batches = itertools.chain([] if first is None else [first], batches)
    if rng_state is not None:
        # Creating an iterator draws a seed for its workers, which the run that was not stopped had
        # done before.
        set_rng_state(rng_state)
    return batches


def epoch_and_offset(dataloader: Any, num_batches: int) -> tuple[int, int]:
    """Which pass over ``dataloader`` batch ``num_batches`` is in, and its place in that pass."""
    if is_endless(dataloader):
        return 0, num_batches
    length = len(dataloader)
    return divmod(num_batches, length) if length else (0, 0)


def is_endless(dataloader: Any) -> bool:
    """Whether one iterator of ``dataloader`` never ends."""
    try:
        len(dataloader)
    except TypeError:
        return True
    return bool(getattr(_index_sampler(dataloader), 'is_endless', False))


def _skip_by_index(dataloader: Any, start: int) -> Iterator[Any] | None:
    if not isinstance(dataloader, DataLoader) or _reads_iterable(dataloader):
        return None
    sampler = _index_sampler(dataloader)
    batch_size = getattr(dataloader.batch_sampler, 'batch_size', dataloader.batch_size) or 1
    if hasattr(sampler, 'skip') and _is_plain_batching(dataloader):
        sampler.skip(start * batch_size)
        return iter(dataloader)
    shifted = _with_shifted_batches(dataloader, start)
    return iter(shifted)


def _reads_iterable(dataloader: DataLoader[Any]) -> bool:
    from torch.utils.data import IterableDataset

    return isinstance(dataloader.dataset, IterableDataset)


def _index_sampler(dataloader: Any) -> Any:
    """The sampler that draws the indices, below the batching if there is any."""
    batch_sampler = getattr(dataloader, 'batch_sampler', None)
    return getattr(batch_sampler, 'sampler', None) or getattr(dataloader, 'sampler', None)


def _is_plain_batching(dataloader: DataLoader[Any]) -> bool:
    from torch.utils.data import BatchSampler

    return dataloader.batch_sampler is None or type(dataloader.batch_sampler) is BatchSampler


class _Shifted:
    """A batch sampler without its first batches, for one pass."""

    def __init__(self, batch_sampler: Any, start: int) -> None:
        self._batch_sampler = batch_sampler
        self._start = start

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(iter(self._batch_sampler), self._start, None)

    def __len__(self) -> int:
        return max(len(self._batch_sampler) - self._start, 0)


def _with_shifted_batches(dataloader: DataLoader[Any], start: int) -> DataLoader[Any]:
    """A dataloader like the given one that reads the later batches only."""
    by_batch = dataloader.batch_sampler is not None
    order = dataloader.batch_sampler if by_batch else dataloader.sampler
    shifted = _Shifted(order, start)
    return DataLoader(
        dataloader.dataset,
        num_workers=dataloader.num_workers,
        collate_fn=dataloader.collate_fn,
        pin_memory=dataloader.pin_memory,
        timeout=dataloader.timeout,
        worker_init_fn=dataloader.worker_init_fn,
        multiprocessing_context=dataloader.multiprocessing_context,
        generator=dataloader.generator,
        prefetch_factor=dataloader.prefetch_factor,
        **({'batch_sampler': shifted} if by_batch else {'batch_size': None, 'sampler': shifted}),
    )
