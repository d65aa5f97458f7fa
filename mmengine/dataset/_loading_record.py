"""What each worker of a dataloader loads at this moment, for whoever looks from outside."""

from __future__ import annotations

import faulthandler
import os
import signal
import time
import weakref
from array import array
from collections.abc import Mapping
from dataclasses import dataclass
from time import monotonic_ns
from typing import Any

from torch.utils.data import Subset

from mmengine.utils._shared_block import CAN_SHARE, SharedBlock, SharedJournal

_SLOT_BYTES = 512
_WORDS = _SLOT_BYTES // 8
# Words of a slot: since when a sample is loaded (0: none is), its index, how the index is written,
# the process if it writes its stacks on demand.
_SINCE, _INDEX, _KIND, _PROCESS, _TEXT = 0, 1, 2, 3, 4
_TEXT_BYTES = 256 - 8 * _TEXT
# After these: whether stages are measured, how often and how long in nanoseconds. See StageTimes.
_MEASURED, _STAGES = 32, 33
NUM_STAGES = _WORDS - _STAGES
_IS_NUMBER, _IS_TEXT = 0, 1

# How long a worker has to write its stacks.
_STACKS_S = 2.0

_alive: weakref.WeakSet[LoadingRecord] = weakref.WeakSet()


@dataclass(frozen=True)
class BeingLoaded:
    """A sample that is being loaded.

    Attributes:
        dataset: The dataset.
        worker: Number of the worker; None in the main process.
        index: Index of the sample; the text of an index that is not a number.
        seconds: How long it has been loaded.
        process: The process of the worker, if it writes its stacks on demand.
        record: Where this was read.
    """

    dataset: Any
    worker: int | None
    index: int | str
    seconds: float
    process: int | None
    record: LoadingRecord

    def __str__(self) -> str:
        who = 'this process' if self.worker is None else f'worker {self.worker}'
        return (
            f'{who} loads the sample with index {self.index} of {type(self.dataset).__name__} '
            f'since {self.seconds:.1f} s'
        )

    def path(self) -> str | None:
        """The file that it is read from, if the dataset tells it."""
        return path_of(self.dataset, self.index) if isinstance(self.index, int) else None

    def stacks(self) -> str:
        """The stacks of the worker, which it writes now; empty where it does not."""
        journal = self.record.journal
        if self.process is None or journal is None:
            return ''
        journal.new_lines()
        os.kill(self.process, signal.SIGUSR2)
        deadline, lines = time.monotonic() + _STACKS_S, journal.new_lines()
        while not lines and time.monotonic() < deadline:
            time.sleep(0.05)
            lines = journal.new_lines()
        time.sleep(0.05)
        return b'\n'.join([*lines, *journal.new_lines(), b'']).decode(errors='replace')


class LoadingRecord:
    """Which sample each worker of one dataloader is loading, in memory that they share.

    Args:
        dataset: The dataset that is read.
        num_workers: 0 if the main process reads it.

    Attributes:
        takes_stacks: Whether the workers of records that are made from now on write their stacks
            for SIGUSR2.
        journal: Where they write them.
    """

    takes_stacks = False

    def __init__(self, dataset: Any, num_workers: int) -> None:
        self.dataset = dataset
        self.num_workers = num_workers
        self._block: SharedBlock | None = None
        self.journal: SharedJournal | None = None
        if num_workers and CAN_SHARE:
            self._block = SharedBlock(num_workers * _SLOT_BYTES)
            if self.takes_stacks:
                self.journal = SharedJournal()
        self._map()
        self._at = 0
        _alive.add(self)

    def __getstate__(self) -> dict[str, Any]:
        # The dataset is in the same pickle already: a worker reads its own.
        kept = ('num_workers', '_block', 'journal')
        return {'dataset': None, **{name: getattr(self, name) for name in kept}}

    def __setstate__(self, state: dict[str, Any]) -> None:
        vars(self).update(state)
        self._map()
        self._at = 0

    def _map(self) -> None:
        if self._block is None:
            self._words: Any = array('q', bytes(max(self.num_workers, 1) * _SLOT_BYTES))
        else:
            self._words = memoryview(self._block.memory).cast('q')

    def use_slot_of(self, worker: int) -> None:
        """Called in a worker: write what it loads."""
        self._at = worker * _WORDS
        if self.journal is not None:
            faulthandler.register(signal.SIGUSR2, file=self.journal.descriptor, all_threads=True)
            self._words[self._at + _PROCESS] = os.getpid()

    def begin(self, index: Any) -> None:
        """The sample with ``index`` is being loaded from now on."""
        words, at = self._words, self._at
        try:
            words[at + _INDEX] = index
            words[at + _KIND] = _IS_NUMBER
        except (TypeError, ValueError, OverflowError):
            text = str(index).encode()[:_TEXT_BYTES].ljust(_TEXT_BYTES, b'\0')
            numbers = array('q', text)
            for place, number in enumerate(numbers, at + _TEXT):
                words[place] = number
            words[at + _KIND] = _IS_TEXT
        words[at + _SINCE] = monotonic_ns()

    def end(self) -> None:
        """No sample is being loaded."""
        self._words[self._at + _SINCE] = 0

    @property
    def is_measured(self) -> bool:
        """Whether the stages of loading are measured at present."""
        return bool(self._words[self._at + _MEASURED])

    def measure(self, is_measured: bool) -> None:
        """Let all workers begin or end to measure."""
        for slot in range(max(self.num_workers, 1)):
            self._words[slot * _WORDS + _MEASURED] = int(is_measured)

    def add_time(self, stage: int, count: int) -> None:
        """Add to the number ``stage`` of what the present worker has measured."""
        self._words[self._at + _STAGES + stage] += count

    def stage_times(self) -> list[int]:
        """The numbers of all workers, added up."""
        slots = range(max(self.num_workers, 1))
        return [
            sum(self._words[slot * _WORDS + _STAGES + stage] for slot in slots)
            for stage in range(NUM_STAGES)
        ]

    def being_loaded(self) -> list[BeingLoaded]:
        """The samples that are being loaded now."""
        found, now = [], monotonic_ns()
        for slot in range(max(self.num_workers, 1)):
            at = slot * _WORDS
            since, index = self._words[at + _SINCE], self._words[at + _INDEX]
            if not since:
                continue
            if self._words[at + _KIND] == _IS_TEXT:
                numbers = array('q', [self._words[at + _TEXT + word] for word in range(28)])
                index = numbers.tobytes().rstrip(b'\0').decode(errors='replace')
            worker = slot if self.num_workers else None
            seconds, process = (now - since) / 1e9, self._words[at + _PROCESS] or None
            found.append(BeingLoaded(self.dataset, worker, index, seconds, process, self))
        return found


def samples_being_loaded() -> list[BeingLoaded]:
    """The samples that dataloaders of this process are loading now."""
    return [sample for record in list(_alive) for sample in record.being_loaded()]


def path_of(dataset: Any, index: Any) -> str | None:
    """The path of the file that a sample is read from, if the dataset tells it.

    It is looked for in the record of the sample (``get_data_info``), under a key that ends in
    ``path`` or ``filename``; or in ``samples``, as datasets of folders have them.
    """
    while type(dataset) is Subset:
        dataset, index = dataset.dataset, dataset.indices[index]
    if hasattr(dataset, 'get_data_info'):
        record = dataset.get_data_info(index)
        if isinstance(record, Mapping):
            for key, value in record.items():
                is_path = str(key).endswith(('path', 'filename', 'file_name'))
                if is_path and isinstance(value, str):
                    return value
        return None
    samples = getattr(dataset, 'samples', None)
    if isinstance(samples, (list, tuple)):
        entry = samples[index]
        if isinstance(entry, (list, tuple)) and entry and isinstance(entry[0], str):
            return entry[0]
    return None


def name_of_sample(dataset: Any, index: Any) -> str:
    """A sample in words: index, class of the dataset, and path if it has one."""
    try:
        path = path_of(dataset, index)
    except Exception as error:  # whatever a dataset raises must not hide the error
        place = f', path unknown ({type(error).__name__} in get_data_info)'
    else:
        place = '' if path is None else f', path {path!r}'
    return f'sample with index {index} of {type(dataset).__name__}{place}'
