"""Equal numbers of batches on all ranks: a rank with more would wait for the others for ever."""

from __future__ import annotations

import copy
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch

from mmengine.dataset._dataloader import num_batches
from mmengine.dist import (
    all_gather,
    all_gather_object,
    broadcast_object_list,
    get_rank,
    get_world_size,
)
from mmengine.runner._sample_count import have_equal_batches
from mmengine.utils.errors import ArgumentError, did_you_mean

CHOICES = ('error', 'shortest')
# How long the ranks have to come to the end of an epoch that was shorter than announced.
_END_OF_EPOCH_S = 10.0


class UnevenBatchesError(ArgumentError):
    """Ranks have different numbers of batches; the message says who has how many."""


def checked_choice(uneven: str) -> str:
    """``uneven`` itself.

    Raises:
        ArgumentError: If it is not one of 'error' and 'shortest'.
    """
    if uneven not in CHOICES:
        raise ArgumentError(
            f"uneven of EpochBasedTrainLoop is 'error' or 'shortest', got {uneven!r}."
            f'{did_you_mean(str(uneven), CHOICES)}'
        )
    return uneven


def epoch_length(dataloader: Any, uneven: str) -> int | None:
    """Batches of an epoch, the same on all ranks; None for a stream. All ranks call it.

    Raises:
        UnevenBatchesError: If ranks have different numbers and ``uneven`` is 'error'.
    """
    own = num_batches(dataloader)
    if own is None or get_world_size() == 1:
        return own
    counts = [int(count) for count in all_gather(torch.tensor(own))]
    if len(set(counts)) == 1:
        return own
    if uneven == 'shortest':
        return min(counts)
    raise UnevenBatchesError(
        f'The ranks have different numbers of training batches: {_by_rank(counts)}. Use a sampler '
        'that gives all ranks the same number of samples (DefaultSampler with round_up=True), or '
        "train_cfg=dict(..., uneven='shortest') to end an epoch with the shortest rank."
    )


def even_batches(batches: Iterator[Any], first: int, length: int | None) -> Iterator[Any]:
    """Batches ``first`` to ``length`` of an epoch, also if this rank has more.

    Raises:
        UnevenBatchesError: If this rank gives fewer than it announced, but not all ranks do.
    """
    if length is None or get_world_size() == 1:
        return batches
    return _counted(islice(batches, max(length - first, 0)), first, length)


def _counted(batches: Iterator[Any], first: int, length: int) -> Iterator[Any]:
    given = first
    for batch in batches:
        yield batch
        given += 1
    if given < length:
        _check_all_ended(given, length)


@dataclass(frozen=True)
class Repeated:
    """A batch that a rank has had before, because it has no more batches and another rank does."""

    batch: Any


def joined_batches(dataloader: Any, batches: Iterator[Any]) -> Iterator[Any]:
    """``batches`` of this rank, then a :class:`Repeated` for each further one of another rank.

    For an evaluation whose forward passes need all ranks. Ranks that are not known to have equally
    many batches compare before each of them. All ranks call it.
    """
    return batches if have_equal_batches(dataloader) else _with_repetitions(batches)


def check_even_batches(runner: Any, loop: Any) -> None:
    """Refuse an evaluation that would hang: its own ``run`` has no :func:`joined_batches`.

    All ranks call it.

    Raises:
        UnevenBatchesError: If forward passes need all ranks, which have different numbers.
    """
    if getattr(loop, 'is_cuttable', False) or not runner.strategy.needs_all_ranks:
        return
    for part in getattr(loop, 'parts', [loop]):
        counts = all_gather_object(num_batches(part.dataloader))
        if None not in counts and len(set(counts)) > 1:
            raise UnevenBatchesError(
                f'The ranks have different numbers of batches: {_by_rank(counts)}. '
                f'{type(loop).__name__} overrides run(), and forward passes of '
                f'{type(runner.strategy).__name__} need all ranks. Use DefaultSampler with '
                'round_up=True, or override run_iter() instead of run().'
            )


def _with_repetitions(batches: Iterator[Any]) -> Iterator[Any]:
    spare: Any = None
    is_first = True
    while True:
        batch = next(batches, _END)
        have_one = all_gather_object(batch is not _END)
        if True not in have_one:
            return
        if is_first:
            spare, is_first = _spare(batch, have_one), False
        # A model may change a batch in place.
        yield Repeated(copy.deepcopy(spare)) if batch is _END else batch


def _spare(batch: Any, have_one: list[bool]) -> Any:
    """A copy of the first batch; a rank without a batch gets the batch of another rank."""
    lent = [batch]
    if False in have_one:
        broadcast_object_list(lent, src=have_one.index(True))
    return lent[0] if batch is _END else copy.deepcopy(batch)


_END = object()
_num_short_epochs = 0


def _check_all_ended(given: int, length: int) -> None:
    """Compare with the other ranks, which may wait for a batch that this rank does not have."""
    from torch.distributed.distributed_c10d import _get_default_store

    global _num_short_epochs
    _num_short_epochs += 1
    store: Any = _get_default_store()
    keys = [f'mmengine/short_epoch/{_num_short_epochs}/{rank}' for rank in range(get_world_size())]
    store.set(keys[get_rank()], str(given))
    deadline = time.monotonic() + _END_OF_EPOCH_S
    while not store.check(keys) and time.monotonic() < deadline:
        time.sleep(0.05)
    counts = [int(store.get(key)) if store.check([key]) else None for key in keys]
    if len(set(counts)) > 1:
        raise UnevenBatchesError(
            f'The training dataloader of rank {get_rank()} gave {given} batches, but its length is '
            f'{length}. The ranks have different numbers of batches: {_by_rank(counts)}.'
        )


def _by_rank(counts: list[Any]) -> str:
    return ', '.join(
        f'rank {rank} has {"more" if count is None else count}' for rank, count in enumerate(counts)
    )
