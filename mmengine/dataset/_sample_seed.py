"""The random state in which a sample is loaded: a function of run seed, pass and position.

It does not depend on the worker, the rank or the process that loads the sample, nor on what was
loaded before. A generator that a dataset or a transform keeps for itself joins by a method
``seed_sample(seed: int)``, which is called before each sample is loaded::

    class Crop:
        def __init__(self):
            self.rng = np.random.default_rng()

        def seed_sample(self, seed):
            self.rng = np.random.default_rng(seed)
"""

from __future__ import annotations

import random
from collections.abc import Callable
from functools import partial
from operator import getitem
from typing import Any

import numpy as np
import torch
from torch.utils.data import Subset, get_worker_info

from mmengine.dataset._bad_samples import BadSamples, bad_sample, give_up, name_in
from mmengine.dataset._loading_record import LoadingRecord
from mmengine.dataset._notes import add_note
from mmengine.dataset._numpy_state import put_numpy_state, take_numpy_state
from mmengine.dataset._stage_times import timed_collate, timed_reading
from mmengine.dataset._worker_process import end_with_parent, leave_process_group

_BLOCK = 256
_WORDS = 4
_HOLDS_PARTS = ('dataset', '_dataset', 'datasets', 'pipeline', 'transform', 'transforms')


class SampleSeeds:
    """Seeds of the samples of one stream of data, each from its pass and its position.

    ``numpy.random.SeedSequence`` spreads them. It is called once for a block of positions, because
    one call takes as long as seeding all generators.

    Args:
        seed: Seed of the run.
        stream: Which data: training, validation and test have different numbers.
        lane: Which part of a stream that cannot be addressed by position, if there are several.
    """

    def __init__(self, seed: int, stream: int, lane: int | None = None) -> None:
        self._seed = seed % 2**64
        self._stream = stream
        self._lane = () if lane is None else (lane,)
        self._present: tuple[int, int] | None = None
        self._rows: list[list[int]] = []

    @property
    def seed(self) -> int:
        """Seed of the run."""
        return self._seed

    def lane(self, number: int) -> SampleSeeds:
        """Seeds of one part of this stream."""
        return SampleSeeds(self._seed, self._stream, number)

    def of(self, number: int, position: int) -> list[int]:
        """Four numbers of 64 bits.

        Args:
            number: Of the pass.
            position: Of the sample in the order of that pass, over all ranks.
        """
        block, row = divmod(position, _BLOCK)
        if self._present != (number, block):
            key = (self._stream, number, block, *self._lane)
            sequence = np.random.SeedSequence(self._seed, spawn_key=key)
            words = sequence.generate_state(_BLOCK * _WORDS, np.uint64)
            self._rows = words.reshape(_BLOCK, _WORDS).tolist()
            self._present = (number, block)
        return self._rows[row]


class _Seeded:
    """What stands in for a dataset while it is iterated; looks like it to those who ask.

    Args:
        dataset: The dataset.
        seeds: Its seeds; None leaves random numbers alone.
        record: Where it is noted which sample is being loaded.
    """

    def __init__(
        self, dataset: Any, seeds: SampleSeeds | None, record: LoadingRecord | None = None
    ) -> None:
        self._original = dataset
        self._seeds = seeds
        self._record = LoadingRecord(dataset, 0) if record is None else record
        self._holders: list[Any] | None = None
        self._aside: tuple[Any, Any, Any] | None = None

    @property
    def is_seeded(self) -> bool:
        """Whether each sample is loaded in a separate random state."""
        return self._seeds is not None

    @property  # type: ignore[misc]  # read only
    def __class__(self) -> Any:
        return type(vars(self)['_original']) if '_original' in vars(self) else type(self)

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or name == '_original':
            raise AttributeError(name)
        return getattr(self._original, name)

    def __len__(self) -> int:
        return len(self._original)

    def __reduce_ex__(self, protocol: Any) -> Any:
        return _rebuilt, (type(self), dict(vars(self), _holders=None, _aside=None))

    def set_aside(self) -> None:
        """Keep the random state of the main process; a worker has none to keep."""
        if self._seeds is not None and self._aside is None and get_worker_info() is None:
            of_torch = torch.default_generator.get_state()
            self._aside = random.getstate(), take_numpy_state(), of_torch

    def put_back(self) -> None:
        """Let the main process go on in the random state that was set aside."""
        if self._aside is not None:
            python, numpy, of_torch = self._aside
            self._aside = None
            random.setstate(python)
            put_numpy_state(numpy)
            torch.default_generator.set_state(of_torch)

    def use_slot_of(self, worker: int) -> None:
        """Called in a worker: note what it loads in its part of the record."""
        self._record.use_slot_of(worker)

    def _enter(self, seeds: list[int]) -> None:
        for_python, for_torch, for_numpy, for_holders = seeds
        # Nine tenths of the time are the work of the three generators.
        random.seed(for_python)
        # An array of words takes five times as long as one number of 32 bits, all that this takes.
        np.random.seed(for_numpy & 0xFFFFFFFF)
        # torch.manual_seed looks at all devices, which costs more than loading a sample.
        torch.default_generator.manual_seed(for_torch)
        if self._holders is None:
            self._holders = holders_of_generators(self._original)
        for number, holder in enumerate(self._holders):
            # At most 63 bits, as torch.Generator takes; neighbours differ in all of them.
            holder.seed_sample((for_holders + number * 0x9E3779B97F4A7C15) % 2**63)


class SeededMap(_Seeded):
    """A dataset with indices; its batches come with the positions of their samples.

    Args:
        dataset: The dataset.
        seeds: Its seeds; None leaves random numbers alone.
        record: Where it is noted which sample is being loaded.
        bad: Where bad samples are noted, which others replace; None lets their errors pass.
        stream: Training, validation or test.
    """

    def __init__(
        self,
        dataset: Any,
        seeds: SampleSeeds | None,
        record: LoadingRecord | None = None,
        bad: BadSamples | None = None,
        stream: int = 0,
    ) -> None:
        super().__init__(dataset, seeds, record)
        self._bad = bad
        self._stream = stream

    def __getitem__(self, index: Any) -> Any:
        if not isinstance(index, NumberedIndex):
            return self._original[index]
        batch = NumberedBatch.of([index.index], index.number, index.position, 1)
        return self._loaded(batch, self._load)[0]

    def __getitems__(self, batch: Any) -> Any:
        if not isinstance(batch, NumberedBatch):
            return self._read(batch)
        at_once = _reads_batches(self._original)
        return self._loaded(batch, self._load_at_once if at_once else self._load)

    def _loaded(self, batch: NumberedBatch, load: Callable[[NumberedBatch], Any]) -> Any:
        self.set_aside()
        try:
            return load(batch)
        except BaseException:
            self.put_back()
            raise
        finally:
            self._record.end()

    def _load(self, batch: NumberedBatch, read: Callable[[Any], Any] | None = None) -> list[Any]:
        read = partial(getitem, self._original) if read is None else read
        if self._record.is_measured:
            read = timed_reading(read, self._original, self._record)
        enter, begin, number = self._enter_at, self._record.begin, batch.number
        samples, position = [], batch.position
        for place, index in enumerate(batch):
            begin(index)
            try:
                enter(number, position)
                samples.append(read(index))
            except Exception as error:
                if self._bad is None:
                    name_in(error, self._original, index)
                    raise
                samples.append(self._instead(batch, place, position, read, error))
            position += batch.stride
        return samples

    def _load_at_once(self, batch: NumberedBatch) -> Any:
        """One call loads all samples, in the state of the first one."""
        self._record.begin(', '.join(map(str, batch)) if len(batch) > 1 else batch[0])
        try:
            self._enter_at(batch.number, batch.position)
            return self._original.__getitems__(batch.original)
        except Exception as error:
            if self._bad is None:
                add_note(
                    error,
                    f'Raised by __getitems__ of {type(self._original).__name__} for the samples '
                    f'with the indices {list(batch)}.',
                )
                raise
        return self._load(batch, lambda index: self._original.__getitems__([index])[0])

    def _instead(
        self,
        batch: NumberedBatch,
        place: int,
        position: int,
        read: Callable[[Any], Any],
        error: Exception,
    ) -> Any:
        """A sample for the place of one that raised ``error``."""
        bad = self._bad
        assert bad is not None
        dataset, where = self._original, (self._stream, batch.number, position)
        failed = [(batch[place], error)]
        found: Any = None
        sample: Any = None
        seed = 0 if self._seeds is None else self._seeds.seed
        for index in bad.candidates(batch, place, len(dataset), where, seed):
            if len(failed) >= bad.give_up_after:
                break
            self._record.begin(index)
            try:
                self._enter_at(batch.number, position)
                sample = read(index)
            except Exception as further:
                failed.append((index, further))
            else:
                found = index
                break
        for index, reason in failed:
            bad.note(bad_sample(dataset, index, reason, where, found))
        if found is None:
            raise give_up(dataset, failed, bad.give_up_after, failed[-1][1]) from failed[-1][1]
        return sample

    def _enter_at(self, number: int, position: int) -> None:
        if self._seeds is not None:
            self._enter(self._seeds.of(number, position))

    def _read(self, batch: Any) -> Any:
        read = getattr(self._original, '__getitems__', None)
        return read(batch) if read else [self._original[index] for index in batch]


class SeededCollate:
    """Collates in the random state of the last sample, then restores the process's state."""

    def __init__(self, collate_fn: Callable[[Any], Any], dataset: _Seeded) -> None:
        self._collate_fn = collate_fn
        self._dataset = dataset

    def __call__(self, samples: Any) -> Any:
        self._dataset.set_aside()
        try:
            record = self._dataset._record
            if record.is_measured:
                return timed_collate(self._collate_fn, record, samples)
            return self._collate_fn(samples)
        finally:
            self._dataset.put_back()


class WorkerStart:
    """Prepares a worker, shows it the dataset itself, and calls the loader's ``worker_init_fn``.

    The worker leaves the process group of the run: a signal to the group, as for Ctrl-C or from a
    scheduler, asks the run to stop, which needs its workers for the batches until then. A worker
    whose parent has gone ends, also if it is loading a sample.
    """

    def __init__(self, worker_init_fn: Callable[[int], None] | None) -> None:
        self._worker_init_fn = worker_init_fn

    def __call__(self, worker_id: int) -> None:
        leave_process_group()
        end_with_parent()
        info = get_worker_info()
        if info is not None and '_original' in getattr(info.dataset, '__dict__', {}):
            stand_in: Any = info.dataset
            stand_in.use_slot_of(worker_id)
            # The entry is read by get_worker_info() alone; the samples come from the wrapper.
            original = vars(info.dataset)['_original']
            object.__setattr__(info, 'dataset', getattr(original, 'of_user', original))
        if self._worker_init_fn is not None:
            self._worker_init_fn(worker_id)


class NumberedIndex:
    """An index that is loaded without batching, and where its sample stands in the pass."""

    __slots__ = ('index', 'number', 'position')

    def __init__(self, index: Any, number: int, position: int) -> None:
        self.index = index
        self.number = number
        self.position = position

    def __index__(self) -> int:
        return int(self.index)


class NumberedBatch(list[Any]):
    """The indices of a batch, and where its samples stand in the pass: every ``stride``-th one."""

    number: int
    position: int
    stride: int
    original: Any

    @classmethod
    def of(cls, batch: Any, number: int, position: int, stride: int) -> NumberedBatch:
        """``batch`` with its place in pass ``number``."""
        numbered = cls(batch)
        numbered.number, numbered.position, numbered.stride = number, position, stride
        numbered.original = batch
        return numbered


def _rebuilt(cls: type[Any], attributes: dict[str, Any]) -> Any:
    seeded = object.__new__(cls)
    vars(seeded).update(attributes)
    return seeded


def _reads_batches(dataset: Any) -> bool:
    """Whether ``dataset`` reads a batch in one call; a Subset does so where its dataset does."""
    while isinstance(dataset, Subset):
        dataset = dataset.dataset
    return bool(getattr(dataset, '__getitems__', None))


def holders_of_generators(dataset: Any) -> list[Any]:
    """Whatever in ``dataset``, in the datasets it wraps and in its transforms has seed_sample."""
    found, pending, known = [], [dataset], set()
    for part in pending:
        if isinstance(part, (list, tuple)):
            pending.extend(part)
        elif id(part) not in known and hasattr(part, '__dict__'):
            known.add(id(part))
            if callable(getattr(type(part), 'seed_sample', None)):
                found.append(part)
            pending.extend(vars(part)[name] for name in _HOLDS_PARTS if name in vars(part))
    return found
