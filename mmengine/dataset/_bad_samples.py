"""Samples that raise: named in the error, or replaced by others, counted and listed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from numbers import Integral
from typing import Any

import numpy as np
from torch.utils.data import (
    BatchSampler,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    get_worker_info,
)

from mmengine.dataset._loading_record import name_of_sample, path_of
from mmengine.dataset._notes import add_note
from mmengine.dataset.sampler import DefaultSampler, InfiniteSampler
from mmengine.logging import print_log
from mmengine.utils._settings import check_keys
from mmengine.utils._shared_block import CAN_SHARE, SharedJournal
from mmengine.utils.errors import ArgumentError, did_you_mean

POLICIES = ('raise', 'skip')
_MAX_ERROR_CHARACTERS = 500
# Samplers whose samples are all samples of the dataset.
_OF_ALL = (
    DefaultSampler, InfiniteSampler, SequentialSampler, RandomSampler, DistributedSampler,
)  # fmt: skip


class BadSamplesError(RuntimeError):
    """Too many samples in a row could not be loaded."""


@dataclass(frozen=True)
class BadSample:
    """A sample that could not be loaded.

    Attributes:
        stream: Training (0), validation (1) or test (2).
        number: The pass over the data.
        position: Its place in the order of that pass, over all ranks.
        index: Its index in the dataset; the text of an index that is not a number.
        path: The file that it is read from, if known.
        error: What was raised.
        replaced_by: Index of the sample that took its place; None if none could.
    """

    stream: int
    number: int
    position: int
    index: int | str
    path: str | None
    error: str
    replaced_by: int | str | None

    def __str__(self) -> str:
        path = '' if self.path is None else f' ({self.path})'
        return f'index {self.index}{path}: {self.error}'


@dataclass(frozen=True)
class BadSamplePolicy:
    """``on_bad_sample`` of a dataloader.

    Attributes:
        policy: 'raise' or 'skip'.
        give_up_after: With 'skip', how many samples in a row may fail.
    """

    policy: str = 'raise'
    give_up_after: int = 10

    @classmethod
    def of(cls, settings: Any) -> BadSamplePolicy:
        """From the name of a policy, or a dict of the attributes.

        Raises:
            ArgumentError: If a key or a value is wrong.
        """
        given = {'policy': settings} if isinstance(settings, str) else settings
        if not isinstance(given, Mapping):
            raise ArgumentError(
                "on_bad_sample is 'raise', 'skip' or dict(policy='skip', give_up_after=10), got "
                f'{type(settings).__name__}.'
            )
        check_keys('on_bad_sample', given, cls.__dataclass_fields__)
        chosen = cls(**given)
        if chosen.policy not in POLICIES:
            raise ArgumentError(
                f"on_bad_sample is 'raise' or 'skip', got {chosen.policy!r}."
                f'{did_you_mean(str(chosen.policy), POLICIES)}'
            )
        limit = chosen.give_up_after
        if isinstance(limit, bool) or not isinstance(limit, int) or limit < 1:
            raise ArgumentError(
                f'on_bad_sample.give_up_after must be a positive integer, got {limit!r}.'
            )
        return chosen


class BadSamples:
    """What is known of the bad samples of one dataloader with ``on_bad_sample='skip'``.

    The place of a sample that raises is taken by another one, so that the batch keeps its size,
    the ranks have equal numbers of batches, and every position of the order stays what it is. Which
    one is a function of run seed, pass and position: it does not depend on workers, ranks or stops.

    Args:
        policy: The policy.
        dataloader: The dataloader.

    Raises:
        ArgumentError: If the data is a stream, or the system cannot collect what workers note.
    """

    def __init__(self, policy: BadSamplePolicy, dataloader: Any) -> None:
        name = type(dataloader.dataset).__name__
        if isinstance(dataloader.dataset, IterableDataset):
            raise ArgumentError(
                f"on_bad_sample='skip' loads another sample by its index, but {name} is a stream. "
                'Catch the error in its __iter__ and go on with the next sample there.'
            )
        if dataloader.num_workers and not CAN_SHARE:
            raise ArgumentError(
                "on_bad_sample='skip' with workers needs a POSIX system; use num_workers=0."
            )
        self.give_up_after = policy.give_up_after
        self._draws = _draws_from_all(dataloader)
        self._journal = SharedJournal() if dataloader.num_workers else None
        self._own: list[bytes] = []

    def note(self, entry: BadSample) -> None:
        """Keep ``entry`` for the main process."""
        line = json.dumps(asdict(entry)).encode() + b'\n'
        if self._journal is not None and get_worker_info() is not None:
            self._journal.append(line)
        else:
            self._own.append(line)

    def take(self) -> list[BadSample]:
        """What was noted since the last call."""
        lines, self._own = self._own, []
        if self._journal is not None:
            lines += self._journal.new_lines()
        return [BadSample(**json.loads(line)) for line in lines]

    def candidates(
        self, batch: Any, place: int, size: int, key: tuple[int, ...], seed: int
    ) -> Iterator[Any]:
        """Indices of samples to load instead of entry ``place`` of ``batch``, one after another.

        Drawn from the dataset, if its sampler goes over all of it. Otherwise (the sampler may be
        limited to a part of it) the next ones of the batch.
        """
        if self._draws and isinstance(batch[place], Integral):
            for attempt in range(self.give_up_after):
                sequence = np.random.SeedSequence(seed % 2**64, spawn_key=(*key, attempt))
                yield int(sequence.generate_state(1, np.uint64)[0] % size)
        else:
            for step in range(1, len(batch)):
                yield batch[(place + step) % len(batch)]


def _draws_from_all(dataloader: Any) -> bool:
    sampler, batch_sampler = dataloader.sampler, dataloader.batch_sampler
    is_plain = batch_sampler is None or isinstance(batch_sampler, BatchSampler)
    sampler = getattr(batch_sampler, 'sampler', sampler)
    return is_plain and isinstance(sampler, _OF_ALL)


def bad_sample(
    dataset: Any, index: Any, error: Exception, place: tuple[int, int, int], substitute: Any
) -> BadSample:
    """The entry for a sample that raised ``error``.

    Args:
        dataset: The dataset.
        index: Of the sample.
        error: What it raised.
        place: Stream, pass and position.
        substitute: Index of the sample that took its place.
    """
    try:
        path = path_of(dataset, index)
    except Exception:  # the record of the sample may be what is bad
        path = None
    text = f'{type(error).__name__}: {error}'[:_MAX_ERROR_CHARACTERS]
    instead = None if substitute is None else _plain(substitute)
    return BadSample(*place, _plain(index), path, text, instead)


def give_up(
    dataset: Any, failed: list[tuple[Any, Exception]], limit: int, last: Exception
) -> BadSamplesError:
    """The error for a place that no sample could take."""
    rows = '\n'.join(
        f'  {name_of_sample(dataset, index)}: {type(error).__name__}: {error}'
        for index, error in failed
    )
    reason = (
        f'give_up_after={limit}'
        if len(failed) >= limit
        else 'its batch has no other sample, and the sampler may be limited to a part of the data'
    )
    return BadSamplesError(
        f'{len(failed)} samples in a row could not be loaded ({reason}):\n{rows}\n'
        f'The last one raised {type(last).__name__}.'
    )


def name_in(error: BaseException, dataset: Any, index: Any) -> None:
    """Let ``error`` say which sample it was raised for."""
    name = name_of_sample(dataset, index)
    add_note(error, f'Raised while loading the {name}.')
    if not hasattr(error, 'add_note'):  # Python 3.10
        print_log(f'Loading the {name} raised {type(error).__name__}.', 'current', level=40)


def _plain(index: Any) -> int | str:
    return int(index) if isinstance(index, Integral) else str(index)
