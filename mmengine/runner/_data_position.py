"""How far a training is in its data, as a checkpoint tells it, and where that is today.

Batches and ranks may be of other sizes when the run goes on, so samples count.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from mmengine.dataset import InfiniteSampler
from mmengine.dataset._dataloader import num_batches
from mmengine.dataset._direct_batches import direct_batches
from mmengine.dataset._order_source import order_source
from mmengine.dataset._sample_order import TRAIN, has_state, passes_of
from mmengine.dataset._stream_state import StreamPosition, keeps_state
from mmengine.dist import all_gather_object
from mmengine.dist._data_parallel import get_data_parallel_info, of_data_ranks
from mmengine.runner._batch_position import (
    SampleStart,
    Start,
    batch_number,
    batch_size_of,
    epoch_and_offset,
    index_sampler_name,
    innermost_sampler,
    is_endless,
    samples_of_rank,
    start_batches,
    with_rng,
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
        samples: How many samples of all ranks are before ``start``, if that was saved.
        drawn_from: The states from which the order of the pass was drawn, if it has begun.
        generators: States of the generators that the dataloader keeps, for the next pass.
        stream: Where a dataset that keeps a state is.
    """

    number: int
    start: Start
    notes: list[str] = field(default_factory=list)
    loader_state: Any = None
    samples: int | None = None
    drawn_from: list[Any] | None = None
    generators: list[Any] | None = None
    stream: StreamPosition | None = None


@dataclass(frozen=True)
class BegunPass:
    """A pass over a dataloader whose batches are being taken.

    Attributes:
        dataloader: Where the batches come from.
        number: Of the pass.
        start: Where in the pass the first batch was taken.
        first: The number of that batch.
    """

    dataloader: Any
    number: int
    start: Start
    first: int

    def is_of(self, dataloader: Any, number: int) -> bool:
        """Whether this is pass ``number`` over ``dataloader``."""
        return dataloader is self.dataloader and number == self.number

    def after(self, batches: int) -> DataStart:
        """Where the pass goes on after its first ``batches`` batches."""
        passes = passes_of(self.dataloader)
        drawn_from = None if passes is None else passes.drawn_from(TRAIN)
        if isinstance(self.start, int) or batches < self.first:
            stream = None if passes is None else passes.stream_position(batches, TRAIN)
            return DataStart(self.number, batches, drawn_from=drawn_from, stream=stream)
        # Its batches are shifted, so the number of a batch does not say which samples it has.
        own = (batches - self.first) * (batch_size_of(self.dataloader) or 1)
        before = None if passes is None else passes.samples_before(batches, TRAIN)
        world_size = get_data_parallel_info()[1]
        if before is not None:
            own = (before - self.start.position) // world_size
        position = self.start.position + own * world_size
        start = SampleStart(position, self.start.of_rank + own)
        return DataStart(self.number, start, drawn_from=drawn_from)


def begin_data(
    dataloader: Any, data: DataStart, rng_state: dict[str, Any] | None
) -> tuple[int, Iterator[Any]]:
    """Iterate ``dataloader`` from ``data`` on: the number of the first batch, and the batches."""
    passes = passes_of(dataloader)
    if data.stream is not None and passes is not None and isinstance(data.start, int):
        passes.stream_start = (data.start, data.stream)
        return data.start, with_rng(iter(dataloader), rng_state)
    if data.loader_state is None:
        source = order_source(dataloader)
        if source is not None and data.generators is not None:
            source.load_kept(data.generators)
        first, batches = start_batches(dataloader, data.start, rng_state, data.drawn_from)
        return first, direct_batches(batches)
    dataloader.load_state_dict(data.loader_state)
    batches = iter(dataloader)
    source = order_source(dataloader)
    if source is not None and data.generators is not None:
        source.load_kept(data.generators)  # from which the next pass is drawn
    return batch_number(dataloader, data.start), with_rng(batches, rng_state)


def pack_position(dataloader: Any, data: DataStart) -> dict[str, Any]:
    """``data``, where a training goes on, in plain values. All ranks call it."""
    batches = batch_number(dataloader, data.start)
    samples = _samples_of_all_ranks(dataloader, data, batches)
    packed = {
        'pass': data.number,
        'batches': batches,
        'samples': samples,
        'is_shifted': isinstance(data.start, SampleStart),
        **sizes_of(dataloader),
    }
    sampler = innermost_sampler(dataloader)
    if isinstance(sampler, InfiniteSampler) and samples is not None:
        packed['sampler'] = sampler.state_dict(samples // sampler.world_size)
    source = order_source(dataloader)
    if source is not None:
        kept = source.state_of_kept() if data.generators is None else data.generators
        order = {'drawn_from': data.drawn_from, 'generators': kept}
        packed['orders'] = of_data_ranks(all_gather_object(order))
    if keeps_state(dataloader):
        own = None if data.stream is None else data.stream.plain()
        streams = of_data_ranks(all_gather_object(own))
        if None not in streams:
            packed['streams'] = streams
    if has_state(dataloader):
        state = data.loader_state
        own = dataloader.state_dict() if state is None else state
        packed['loader_states'] = of_data_ranks(all_gather_object(own))
    return packed


def unpack_position(saved: Mapping[str, Any], dataloader: Any) -> DataStart:
    """Where a training goes on today that was at ``saved``.

    Raises:
        ArgumentError: If the dataloader has a state for each rank, and there are more or fewer
            ranks now.
    """
    start = _place_today(saved, dataloader)
    if order_source(dataloader) is None:
        return start
    orders = saved.get('orders')
    rank, num_ranks = get_data_parallel_info()
    if orders is not None and len(orders) == num_ranks:
        order = orders[rank]
        if start.loader_state is not None:
            return replace(start, generators=order['generators'])
        drawn_from = order['drawn_from'] if start.number == saved['pass'] else None
        return replace(start, drawn_from=drawn_from, generators=order['generators'])
    if not start.start or start.loader_state is not None:
        return start
    reason = 'does not have' if orders is None else f'has for {len(orders)} ranks'
    note = (
        'The sampler draws the order of a pass from random states, which the checkpoint '
        f'{reason}. The rest of the present pass may repeat or leave out samples.'
    )
    return replace(start, notes=[*start.notes, note])


def _place_today(saved: Mapping[str, Any], dataloader: Any) -> DataStart:
    number, batches, samples = saved['pass'], saved['batches'], saved['samples']
    sampler = innermost_sampler(dataloader)
    if 'sampler' in saved and isinstance(sampler, InfiniteSampler):
        sampler.load_state_dict(saved['sampler'])
    if 'loader_states' in saved and has_state(dataloader):
        state = _own_state(saved['loader_states'])
        return DataStart(number, batches, loader_state=state, samples=samples)
    now = sizes_of(dataloader)
    lost = _lost_streams(saved, dataloader)
    if 'streams' in saved and keeps_state(dataloader) and not lost:
        position = StreamPosition.of(saved['streams'][get_data_parallel_info()[0]])
        if saved['batch_size'] != now['batch_size']:
            batches = sum(position.samples) // (now['batch_size'] or 1)
        return DataStart(number, batches, stream=position, samples=samples)
    changed = [name for name in now if saved.get(name) != now[name]]
    notes = lost + _changes(saved, now, changed)
    if not changed and not saved['is_shifted']:
        return DataStart(number, batches, notes, samples=samples)
    length = None if now['is_endless'] else now['num_batches']
    if saved['is_endless'] == now['is_endless']:
        if samples == 0:
            return DataStart(number, 0, notes, samples=0)
        if length is not None and batches >= saved['num_batches']:
            return DataStart(number, length, notes)  # the pass was over
    if samples is None:
        notes.append(
            'How many samples the run had seen is not known, as the size of its batches is not. '
            f'It is assumed that {batches} batches of today are as many.'
        )
        return DataStart(number, batches if length is None else min(batches, length), notes)
    if saved['is_endless'] != now['is_endless']:
        total = saved['num_samples'] or now['num_samples'] or 0
        samples += number * total
        number, samples = divmod(samples, total) if total and saved['is_endless'] else (0, samples)
    start = _sample_start(saved, now, samples, notes)
    if index_sampler_name(dataloader) is not None:
        return DataStart(number, start, notes)
    return DataStart(number, _whole_batches(dataloader, start, notes), notes)


def _lost_streams(saved: Mapping[str, Any], dataloader: Any) -> list[str]:
    """Why the states of a stream in a checkpoint cannot be used; empty if they can."""
    if 'streams' not in saved or not keeps_state(dataloader):
        return []
    streams = saved['streams']
    was = len(streams), len(streams[0]['states'])
    now = get_data_parallel_info()[1], max(dataloader.num_workers, 1)
    if was == now:
        return []
    return [
        f'The dataset kept its state for {was[0]} ranks with {was[1]} readers each, and there are '
        f'{now[0]} with {now[1]}. It is read from its begin, and what comes before is left out.'
    ]


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
    world_size = get_data_parallel_info()[1]
    was_shared, is_shared = _is_shared(saved), _is_shared(now)
    if not was_shared:
        samples //= saved['world_size']  # each rank had its own order
    if not is_shared:
        notes.append('Each rank has its own order of all samples, and goes on in it.')
        return SampleStart(samples * world_size, samples)
    if samples % world_size and not now['knows_order']:
        notes.append(
            f'{samples} samples do not divide by {world_size} ranks, so {samples % world_size} of '
            'them are seen twice in this pass.'
        )
    return SampleStart(samples, samples // world_size)


def _whole_batches(dataloader: Any, start: SampleStart, notes: list[str]) -> int:
    """Batches of today before ``start``, where a pass cannot begin inside a batch."""
    size = batch_size_of(dataloader) or 1
    batches, repeated = divmod(start.of_rank, size)
    if repeated:
        notes.append(
            f'The data is a stream without indices, which goes on at a whole batch of {size}. '
            f'{repeated} samples of each rank are seen twice in this pass.'
        )
    return batches


def _is_shared(sizes: Mapping[str, Any]) -> bool:
    """Whether the ranks share the samples of a pass; else each of them goes over all."""
    total, own = sizes['num_samples'], sizes['rank_samples']
    if sizes['world_size'] == 1 or sizes['is_endless'] or total is None or own is None:
        return True
    return bool(own < total or total <= 1)


def sizes_of(dataloader: Any) -> dict[str, Any]:
    return {
        'batch_size': batch_size_of(dataloader),
        'world_size': get_data_parallel_info()[1],
        'num_batches': num_batches(dataloader),
        'num_samples': num_batches(getattr(dataloader, 'dataset', None)),
        'rank_samples': samples_of_rank(dataloader),
        'is_endless': is_endless(dataloader),
        'knows_order': hasattr(innermost_sampler(dataloader), 'start_at'),
    }


def _samples_of_all_ranks(dataloader: Any, data: DataStart, batches: int) -> int | None:
    own = _samples_before(dataloader, data, batches)
    counts = all_gather_object(own)
    # A rank counts as if all had its batches, so the mean is the number of samples of all.
    return None if None in counts else round(sum(counts) / len(counts))


def _samples_before(dataloader: Any, data: DataStart, batches: int) -> int | None:
    if data.samples is not None:
        return data.samples
    if isinstance(data.start, SampleStart):
        return data.start.position
    if batches == 0:
        return 0
    passes = passes_of(dataloader)
    counted = None if passes is None else passes.samples_before(batches, TRAIN)
    size = batch_size_of(dataloader)
    if counted is not None or size is None:
        return counted
    # The dataloader has not begun: its batches are taken to be of the size that it says.
    own, available = batches * size, None if is_endless(dataloader) else samples_of_rank(dataloader)
    return (own if available is None else min(own, available)) * get_data_parallel_info()[1]


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
    rank, num_ranks = get_data_parallel_info()
    if len(states) == num_ranks:
        return states[rank]
    if all(repr(state) == repr(states[0]) for state in states):
        return states[0]
    raise ArgumentError(
        f'The dataloader keeps a state for each rank. The checkpoint has {len(states)} of them, '
        f'and there are {num_ranks} ranks now. Resume with {len(states)} ranks, or train '
        'from its weights with load_from.'
    )
