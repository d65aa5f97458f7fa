"""How far a training is in its data, as a checkpoint tells it, and where that is today.

Batches and ranks may be of other sizes when the run goes on, so samples count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from mmengine.dataset._dataloader import num_batches
from mmengine.dataset._sample_order import TRAIN, has_state, passes_of
from mmengine.dist import all_gather_object, get_rank, get_world_size
from mmengine.runner._batch_position import (
    SampleStart,
    Start,
    batch_size_of,
    epoch_and_offset,
    is_endless,
    samples_of_rank,
)
from mmengine.utils.errors import ArgumentError


@dataclass(frozen=True)
class DataStart:
    """Where the data of a resumed training goes on.

    Attributes:
        number: The pass.
        start: The batch or the sample in it.
        notes: What changed, and what is assumed, for the user.
        loader_state: For the ``load_state_dict`` of a dataloader that has one.
    """

    number: int
    start: Start
    notes: list[str] = field(default_factory=list)
    loader_state: Any = None


def pack_position(dataloader: Any, number: int, batches: int) -> dict[str, Any]:
    """Position of the training in plain values. All ranks call it.

    Args:
        dataloader: Of the training.
        number: Of the present pass.
        batches: Finished batches in it.
    """
    packed = {
        'pass': number,
        'batches': batches,
        'samples': _samples_of_all_ranks(dataloader, batches),
        **_sizes(dataloader),
    }
    if has_state(dataloader):
        packed['loader_states'] = all_gather_object(dataloader.state_dict())
    return packed


def unpack_position(saved: Mapping[str, Any], dataloader: Any) -> DataStart:
    """Where a training goes on today that was at ``saved``.

    Raises:
        ArgumentError: If the dataloader has a state for each rank, and there are more or fewer
            ranks now.
    """
    number, batches, samples = saved['pass'], saved['batches'], saved['samples']
    if 'loader_states' in saved and has_state(dataloader):
        return DataStart(number, batches, loader_state=_own_state(saved['loader_states']))
    now = _sizes(dataloader)
    changed = [name for name in now if saved.get(name) != now[name]]
    if not changed:
        return DataStart(number, batches)
    if batches == 0 and saved['is_endless'] == now['is_endless']:
        return DataStart(number, 0, _changes(saved, now, changed))
    notes = _changes(saved, now, changed)
    if samples is None:
        notes.append(
            'How many samples the run had seen is not known, as the size of its batches is not. '
            f'It is assumed that {batches} batches of today are as many.'
        )
        length = num_batches(dataloader)
        return DataStart(number, batches if length is None else min(batches, length), notes)
    if saved['is_endless'] != now['is_endless']:
        length = saved['num_samples'] or now['num_samples'] or 0
        samples += number * length
        number, samples = (
            divmod(samples, length) if length and saved['is_endless'] else (0, samples)
        )
    return DataStart(number, _sample_start(saved, now, samples, notes), notes)


def assumed_position(dataloader: Any, epoch: int, iteration: int, by_epoch: bool) -> DataStart:
    """Where a training goes on that counted ``epoch`` and ``iteration`` alone, as in old files."""
    if not by_epoch:
        return DataStart(*epoch_and_offset(dataloader, iteration))
    length = num_batches(dataloader) or 0
    done = iteration - epoch * length
    if 0 <= done <= length:
        return DataStart(epoch, done)
    note = (
        f'The run had finished {epoch} epochs in {iteration} iterations, and an epoch now has '
        f'{length}. Where it was within its epoch is not known; it is assumed that epoch '
        f'{epoch + 1} had not begun.'
    )
    return DataStart(epoch, 0, [note])


def _sample_start(
    saved: Mapping[str, Any], now: Mapping[str, Any], samples: int, notes: list[str]
) -> SampleStart:
    """``samples`` of all ranks in units of today's ranks."""
    world_size = get_world_size()
    was_shared, is_shared = _is_shared(saved), _is_shared(now)
    if not was_shared:
        samples //= saved['world_size']  # each rank had an order of its own, and was there in it
    if not is_shared:
        notes.append('Each rank has an order of all samples of its own, and goes on in that.')
        return SampleStart(samples * world_size, samples)
    if samples % world_size and not now['knows_order']:
        notes.append(
            f'{samples} samples do not divide by {world_size} ranks, so {samples % world_size} of '
            'them are seen twice in this pass.'
        )
    return SampleStart(samples, samples // world_size)


def _is_shared(sizes: Mapping[str, Any]) -> bool:
    """Whether the ranks share the samples of a pass; else each of them goes over all."""
    total, own = sizes['num_samples'], sizes['rank_samples']
    if sizes['world_size'] == 1 or sizes['is_endless'] or total is None or own is None:
        return True
    return bool(own < total or total <= 1)


def _sizes(dataloader: Any) -> dict[str, Any]:
    batch_sampler = getattr(dataloader, 'batch_sampler', None)
    sampler = getattr(batch_sampler, 'sampler', None) or getattr(dataloader, 'sampler', None)
    return {
        'batch_size': batch_size_of(dataloader),
        'world_size': get_world_size(),
        'num_batches': num_batches(dataloader),
        'num_samples': num_batches(getattr(dataloader, 'dataset', None)),
        'rank_samples': samples_of_rank(dataloader),
        'is_endless': is_endless(dataloader),
        'knows_order': hasattr(sampler, 'start_at'),
    }


def _samples_of_all_ranks(dataloader: Any, batches: int) -> int | None:
    own: int | None = 0
    if batches:
        passes = passes_of(dataloader)
        own = None if passes is None else passes.samples_before(batches, TRAIN)
    counts = all_gather_object(own)
    # A rank counts as if all had its batches, so the mean is the number of samples of all.
    return None if None in counts else round(sum(counts) / len(counts))


def _changes(saved: Mapping[str, Any], now: Mapping[str, Any], changed: Sequence[str]) -> list[str]:
    words = {
        'batch_size': 'batch size of a rank',
        'world_size': 'ranks',
        'num_samples': 'samples of the dataset',
    }
    found = [f'{words[name]} {saved.get(name)} -> {now[name]}' for name in changed if name in words]
    if not found:
        return []
    notes = [f'Since the checkpoint was saved the data changed: {", ".join(found)}.']
    if 'num_samples' in changed and saved['batches']:
        notes.append(
            'The order of a pass depends on the length of the dataset, so the rest of the present '
            'pass may repeat or leave out samples; its length is right.'
        )
    return notes


def _own_state(states: Sequence[Any]) -> Any:
    if len(states) == get_world_size():
        return states[get_rank()]
    if all(repr(state) == repr(states[0]) for state in states):
        return states[0]
    raise ArgumentError(
        f'The dataloader keeps a state for each rank. The checkpoint has {len(states)} of them, '
        f'and there are {get_world_size()} ranks now. Resume with {len(states)} ranks, or train '
        'from its weights with load_from.'
    )
