"""Warns, once in a training, if most of the time waits for data, and says which stage is slow.

It looks at times that are measured anyway, whenever a line is logged. Only after several seconds of
waiting are the stages of loading measured, until the next line.
"""

from __future__ import annotations

import logging
import math
from time import perf_counter
from typing import TYPE_CHECKING, Any

from torch.utils.data import IterableDataset

from mmengine.dataset._sample_order import loading_record_of
from mmengine.dataset._stage_times import StageTimes
from mmengine.dist import is_main_process
from mmengine.logging import print_log
from mmengine.utils._cores import usable_cores
from mmengine.utils._quantities import counted

if TYPE_CHECKING:
    from mmengine.hooks.run import Run

_SHARE = 0.5
_MIN_SAMPLES = 8


class DataWait:
    """The wait for data in one training.

    Attributes:
        after_s: Seconds of waiting in a row of lines before the stages are measured.
    """

    after_s = 5.0

    def __init__(self) -> None:
        self._waited_s = 0.0
        self._record: Any = None
        self._is_told = False

    def look(self, runner: Run, iterations: int) -> None:
        """Called at a log line, ``iterations`` after the one before."""
        if self._is_told or iterations < 1 or not is_main_process():
            return
        hub = runner.message_hub
        moved = hub.engine_keys  # where a user has values of these names
        time, wait = (
            hub.log_scalars.get(moved.get(name, name)) for name in ('train/time', 'train/data_time')
        )
        if time is None or wait is None:
            return
        time_s, wait_s = float(time.mean(iterations)), float(wait.mean(iterations))
        if not time_s or wait_s < _SHARE * time_s:
            self._waited_s = 0.0
            self._stop()
            return
        self._waited_s += wait_s * iterations
        if self._waited_s < self.after_s:
            return
        loader = runner.train_loop.dataloader
        times = self._measured(loader)
        if times is None:
            return
        self._is_told = True
        self._stop()
        print_log(
            bottleneck_text(times, loader, wait_s, time_s), logger='current', level=logging.WARNING
        )

    def _measured(self, loader: Any) -> StageTimes | None:
        """The times of the stages; None if they have yet to be measured."""
        record = loading_record_of(loader)
        if record is None or record.dataset is not getattr(loader, 'dataset', None):
            return _times_of_look_ups(loader)
        if self._record is not record:
            self._stop()
            self._record = record
            record.measure(True)
            return None
        times = StageTimes.of(record)
        return times if times is not None and times.num_samples >= _MIN_SAMPLES else None

    def _stop(self) -> None:
        if self._record is not None:
            self._record.measure(False)
            self._record = None


def bottleneck_text(times: StageTimes, loader: Any, wait_s: float, time_s: float) -> str:
    """What is slow in the loading of data, and what helps."""
    size = getattr(loader, 'batch_size', None) or 1
    workers = getattr(loader, 'num_workers', 0)
    batch_s = times.sample_s * size + times.collate_s
    stages = sorted(times.stages.items(), key=lambda stage: -stage[1] * size)
    slowest = max(
        [(name, spent * size) for name, spent in stages] + [('collate', times.collate_s)],
        key=lambda stage: stage[1],
    )
    shown = ', '.join(f'{name} {spent * 1e3:.3g} ms' for name, spent in stages[:4])
    shown = f' ({shown})' if len(stages) > 1 else ''
    reader = counted(workers, 'worker') if workers else 'the main process'
    # What a step takes without data is the time in which the workers have to give a batch.
    step_s = max(time_s - wait_s, 1e-6)
    needed = math.ceil(batch_s / step_s)
    cpus = usable_cores()
    lines = [
        f'Training waits for data in {wait_s / time_s:.0%} of the time. A sample takes '
        f'{times.sample_s * 1e3:.3g} ms{shown}, joining a batch {times.collate_s * 1e3:.3g} ms; '
        f'{reader} {"load" if workers > 1 else "loads"} batches of {size}. The slowest stage is '
        f'{slowest[0]}.'
    ]
    if needed > max(workers, 1) and workers < cpus:
        advice = f'{needed} workers would keep up.'
        if needed > cpus:
            advice = (
                f'even the {cpus} CPUs would not keep up: make {slowest[0]} faster, or keep its '
                'results.'
            )
        lines.append(
            f'There are too few workers: train_dataloader.num_workers is {workers}, and {advice}'
        )
    elif needed > max(workers, 1):
        lines.append(
            f'More workers do not help, because there are {cpus} CPUs: make {slowest[0]} faster, '
            'or keep its results.'
        )
    elif not workers:
        lines.append(
            'One worker would load while the model trains: train_dataloader.num_workers=1.'
        )
    return ' '.join(lines)


def _times_of_look_ups(loader: Any) -> StageTimes | None:
    """The times of a dataset that only looks samples up, measured here: nobody notices."""
    dataset: Any = getattr(loader, 'dataset', None)
    size = getattr(loader, 'batch_size', None)
    collate = getattr(loader, 'collate_fn', None)
    if size is None or collate is None or isinstance(dataset, IterableDataset):
        return StageTimes(0, 0.0, 0.0, {'the dataloader': 0.0})
    count = min(size, len(dataset))
    begun = perf_counter()
    samples = [dataset[index] for index in range(count)]
    loaded = perf_counter()
    collate(samples)
    sample_s = (loaded - begun) / count
    name = f'reading in {type(dataset).__name__}'
    return StageTimes(count, sample_s, perf_counter() - loaded, {name: sample_s})
