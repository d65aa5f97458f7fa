"""find_batch_size: which batch sizes fit into memory, and how fast they are."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import torch
from torch.utils.data import IterableDataset

from mmengine.dist import get_world_size
from mmengine.runner._batch_position import batch_size_of
from mmengine.runner.utils import as_positive
from mmengine.tryout._memory import Memory, forget_frames, is_out_of_memory
from mmengine.tryout._untouched import TrialSteps, prepare, untouched
from mmengine.utils._quantities import bytes_text, count_text, parse_quantity, time_text
from mmengine.utils.errors import ArgumentError

_TIMED_STEPS = 3
_SMALLER = 3  # how many halves of the configured size come first


@dataclass
class BatchSizeTrial:
    """What training steps with one batch size did.

    Attributes:
        size: Samples of a batch.
        samples_per_s: Throughput of the training step; loading is not part of it. None if the
            size does not fit.
        step_s: Seconds of a step.
        peak_bytes: The highest use of memory.
        outcome: 'fits', or why it does not.
    """

    size: int
    samples_per_s: float | None = None
    step_s: float | None = None
    peak_bytes: int | None = None
    outcome: str = 'fits'

    @property
    def fits(self) -> bool:
        """Whether steps with it ran."""
        return self.samples_per_s is not None


@dataclass
class BatchSizes:
    """The sizes that were tried, in order.

    Attributes:
        trials: One for each size.
        limit_bytes: The memory in which a step must fit.
        reason: Why no larger size was tried.
    """

    trials: list[BatchSizeTrial]
    limit_bytes: int
    reason: str

    @property
    def largest(self) -> int | None:
        """The largest size that fits."""
        return max((trial.size for trial in self.trials if trial.fits), default=None)

    @property
    def fastest(self) -> int | None:
        """The size with the most samples in a second."""
        fitting = [trial for trial in self.trials if trial.fits]
        best = max(fitting, key=lambda trial: trial.samples_per_s or 0.0, default=None)
        return None if best is None else best.size

    def __str__(self) -> str:
        lines = [f'{"batch size":>10}  {"samples/s":>10}  {"step":>9}  {"peak memory":>11}']
        for trial in self.trials:
            cells = (
                '-' if trial.samples_per_s is None else count_text(trial.samples_per_s),
                '-' if trial.step_s is None else time_text(trial.step_s),
                '-' if trial.peak_bytes is None else bytes_text(trial.peak_bytes),
            )
            widths = zip(cells, (10, 9, 11), strict=True)
            line = '  '.join([f'{trial.size:>10}', *(f'{text:>{wide}}' for text, wide in widths)])
            lines.append(line if trial.fits else f'{line}  {trial.outcome}')
        lines.append(f'Stopped: {self.reason}')
        if self.largest is None:
            lines.append('None of these sizes fits.')
        else:
            lines.append(f'Largest that fits: {self.largest}; fastest: {self.fastest}.')
            lines.append(
                'Learning rates were chosen for a batch size: see auto_scale_lr, or try --lr-find.'
            )
        return '\n'.join(lines)


def find_batch_size(
    runner: Any, *, memory: float | int | str | None = None, limit: int | None = None
) -> BatchSizes:
    """Double the batch size until a training step does not fit into memory, or fails.

    A batch of each size is collated from the first samples, and trained on a few times. Afterwards
    weights, buffers, optimizer state, messages and random state are what they were, to the bit.

    Args:
        runner: A runner that is to train, in one process. It is prepared, and loads its checkpoint
            if it has one.
        memory: The memory to fit into, in bytes or as '8GB'; by default what the device has, or
            on the CPU what the machine or its container has left.
        limit: The largest size to try; the length of the dataset by default.

    Raises:
        ArgumentError: If there are several ranks, a value is wrong, the data is not batched by a
            batch size, or the memory is full before the first step.
    """
    if (ranks := get_world_size()) > 1:
        raise ArgumentError(
            f'find_batch_size measures one process, but {ranks} ranks run. Start it without a '
            'launcher: batch_size counts the samples of a rank, so that the result holds for each '
            'of them, besides the gradient buckets of DDP. For a sharded model, see '
            f'mmengine plan CONFIG --world-size {ranks}.'
        )
    given = None if memory is None else int(parse_quantity('memory', memory))
    prepare(runner, 'find_batch_size')
    loader = runner.train_loop.dataloader
    sizes = _sizes(loader, limit)
    device = next((each.device for each in runner.model.parameters()), torch.device('cpu'))
    memory_of_run = Memory(device, given)
    if memory_of_run.used() >= memory_of_run.limit:
        raise ArgumentError(
            f'The model and its process use {bytes_text(memory_of_run.used())} before the first '
            f'step, and memory is {bytes_text(memory_of_run.limit)}.'
        )
    with untouched(runner) as steps:
        trials = _Trials(loader, steps, memory_of_run)
        reason = trials.run(sizes)
    return BatchSizes(trials.done, trials.memory.limit, reason)


class _Trials:
    """The trials of growing sizes."""

    def __init__(self, loader: Any, steps: TrialSteps, memory: Memory) -> None:
        self.memory = memory
        self.done: list[BatchSizeTrial] = []
        self._loader = loader
        self._steps = steps

    def run(self, sizes: Iterator[int]) -> str:
        """Try ``sizes`` until one does not fit; returns why they end."""
        for size in sizes:
            needed = self._predicted(size)
            if needed is not None and needed > self.memory.limit:
                outcome = f'would need about {bytes_text(needed)}'
                self.done.append(BatchSizeTrial(size, outcome=outcome))
                return self._too_large(size)
            trial = self._try(size)
            self.done.append(trial)
            if not trial.fits:
                return trial.outcome if 'memory' not in trial.outcome else self._too_large(size)
        return 'a larger size is more than the limit or than the dataset has.'

    def _too_large(self, size: int) -> str:
        return f'{size} does not fit into {bytes_text(self.memory.limit)}.'

    def _predicted(self, size: int) -> int | None:
        """The peak of ``size``, if memory grows by as much for each sample as it did last."""
        known = [trial for trial in self.done[-2:] if trial.peak_bytes is not None]
        if len(known) < 2:
            return None
        (low, small), (high, large) = ((each.size, each.peak_bytes or 0) for each in known)
        return large + max(large - small, 0) * (size - high) // (high - low)

    def _try(self, size: int) -> BatchSizeTrial:
        memory = self.memory
        memory.begin()
        try:
            with memory.limited():
                seconds = self._step_seconds(size)
        except Exception as error:
            if not is_out_of_memory(error):
                if not any(trial.fits for trial in self.done):
                    raise  # a mistake that no size would change
                words = str(error).strip().splitlines() or ['']
                outcome = f'{type(error).__name__}: {words[0][:120]}'
                return BatchSizeTrial(size, outcome=outcome)
            forget_frames(error)
            memory.free()
            return BatchSizeTrial(size, outcome='out of memory')
        peak = memory.peak()
        own = None if peak is None else max(peak - self._steps.model_bytes, 0)
        return BatchSizeTrial(size, size / seconds, seconds, own)

    def _step_seconds(self, size: int) -> float:
        """Seconds of a step after the first one, without loading and copying the batch."""
        steps = self._steps
        batch = _batch_of(self._loader, size)
        steps.begin((_TIMED_STEPS + 1) * steps.window)
        seconds = 0.0
        for index in range((_TIMED_STEPS + 1) * steps.window):
            own = copy.deepcopy(batch)  # a model may change its batch
            _wait_for_device()
            begun = perf_counter()
            steps.take(own)
            _wait_for_device()
            if index >= steps.window:
                seconds += perf_counter() - begun
        return seconds / (_TIMED_STEPS * steps.window)


def _wait_for_device() -> None:
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def _sizes(loader: Any, limit: int | None) -> Iterator[int]:
    configured = batch_size_of(loader)
    if configured is None or getattr(loader, 'collate_fn', None) is None:
        raise ArgumentError(
            'find_batch_size changes batch_size of the train_dataloader, but its batches come '
            f'from a {type(getattr(loader, "batch_sampler", loader)).__name__}.'
        )
    dataset = loader.dataset
    if limit is not None:
        most = as_positive('limit', limit)
    else:
        most = len(dataset) if hasattr(dataset, '__len__') else 2**30
    start = configured
    for _ in range(_SMALLER):
        if start % 2 == 0 and start > 4:
            start //= 2
    start = min(start, most)
    return itertools.takewhile(lambda size: size <= most, (start * 2**i for i in itertools.count()))


def _batch_of(loader: Any, size: int) -> Any:
    dataset = loader.dataset
    if isinstance(dataset, IterableDataset):
        samples = list(itertools.islice(itertools.cycle(dataset), size))
    else:
        samples = [dataset[index % len(dataset)] for index in range(size)]
    return loader.collate_fn(samples)
