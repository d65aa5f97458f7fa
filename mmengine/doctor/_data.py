"""The speed of the data of a config: the slowest stage, and the speed with more workers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from mmengine.config import Config
from mmengine.doctor._finding import FAIL, OK, WARN, Finding
from mmengine.doctor._stages import stages_of
from mmengine.runner._build import build_dataloader
from mmengine.runner._data_of_config import first_loader
from mmengine.runner._trained_model import scope_of
from mmengine.runner._unsuited import line_of
from mmengine.utils._cores import usable_cores

_AREA = 'data'
_STAGES_S = 2.0
_MAX_WORKERS = 16
# A speed below this part of the best one is worth a change.
_SLOW = 0.8


def check_data(cfg: Any, budget_s: float = _STAGES_S) -> Iterator[Finding]:
    """Measure the training data of a config, or the first other data that it has.

    Args:
        cfg: The config.
        budget_s: About how long to measure the stages; each number of workers takes half of it.

    A dataset that fails is a finding.
    """
    whole = cfg if isinstance(cfg, Config) else Config(cfg)
    found = first_loader(whole, ('train', 'val', 'test'))
    if found is None:
        yield Finding(_AREA, 'loader', WARN, 'the config has no dataloader')
        return
    name, described = found
    doing = 'Building the dataloader'
    try:
        with scope_of(whole):
            loader = build_dataloader(described, seed=0)
        doing = 'Loading the first samples in this process'
        yield stages_finding(name, stages_of(loader, budget_s))
        speeds = {}
        for number in numbers_of_workers(usable_cores(), loader.num_workers):
            doing = f'Loading samples with num_workers={number}'
            speeds[number] = samples_per_second(loader, number, budget_s / 2)
        yield workers_finding(name, speeds, loader.num_workers)
    except Exception as error:  # what a dataset, a transform or a collate function raises
        yield failure_finding(name, doing, error)


def failure_finding(name: str, doing: str, error: Exception) -> Finding:
    """What data that cannot be loaded raise, and where."""
    first = next(iter(str(error).strip().splitlines()), '')
    return Finding(_AREA, name, FAIL, f'{type(error).__name__}: {first} ({line_of(error)})',
                   f'{doing} fails there: mend that, or the arguments in the config.')  # fmt: skip


def stages_finding(name: str, stages: Mapping[str, float]) -> Finding:
    """The stages of a sample, the slowest first.

    Args:
        name: Name of the dataloader.
        stages: Seconds of a sample by stage.
    """
    total = sum(stages.values())
    ordered = sorted(stages, key=lambda stage: -stages[stage])
    parts = [f'{stage} {stages[stage] / total:.0%}' for stage in ordered
             if stages[stage] >= total / 100]  # fmt: skip
    slowest = stages[ordered[0]]
    return Finding(
        _AREA, name, OK, f'{_time(total)} a sample: {", ".join(parts)}',
        f'The slowest stage is "{ordered[0]}", {_time(slowest)} a sample.',
    )  # fmt: skip


def workers_finding(name: str, speeds: Mapping[int, float], chosen: int) -> Finding:
    """Samples a second by number of workers, compared with what the config has.

    Args:
        name: Name of the dataloader.
        speeds: Samples a second by number of workers.
        chosen: The number of workers in the config.
    """
    text = ', '.join(f'{number}: {speed:,.0f}' for number, speed in speeds.items())
    found = f'samples/s by workers {text}; the config has num_workers={chosen}'
    best = max(speeds.values())
    # As few workers as are about as fast: each takes memory.
    fewest = min(number for number, speed in speeds.items() if speed >= 0.9 * best)
    if speeds[chosen] < _SLOW * best:
        return Finding(_AREA, 'workers', WARN, found,
                       f'Set {name}.num_workers={fewest}, which is '
                       f'{speeds[fewest] / speeds[chosen]:.1f} times as fast here.')  # fmt: skip
    return Finding(_AREA, 'workers', OK, found)


def numbers_of_workers(cores: int, chosen: int) -> list[int]:
    """None, then twice as many each time up to the cores, and what the config has."""
    numbers, number = {0, chosen}, 1
    while number <= min(cores, _MAX_WORKERS):
        numbers.add(number)
        number *= 2
    return sorted(numbers)


def samples_per_second(loader: DataLoader[Any], num_workers: int, budget_s: float) -> float:
    """The speed of a dataloader with another number of workers, once they are at work.

    Its batches come again and again, so that few samples suffice. A stream is measured up to its
    end.
    """
    sizes: deque[int] = deque()
    batches = iter(_with_workers(loader, num_workers, sizes))
    # What workers load ahead while they start would be counted as speed.
    for _ in range(1 + 2 * num_workers):
        if next(batches, _END) is not _END and sizes:
            sizes.popleft()
    begun, number = time.perf_counter(), 0
    while time.perf_counter() - begun < budget_s and next(batches, _END) is not _END:
        number += sizes.popleft() if sizes else loader.batch_size or 1
    return number / (time.perf_counter() - begun)


_END = object()


def _with_workers(loader: DataLoader[Any], num_workers: int, sizes: deque[int]) -> DataLoader[Any]:
    options: dict[str, Any] = {
        'dataset': loader.dataset, 'num_workers': num_workers, 'collate_fn': loader.collate_fn,
        'worker_init_fn': loader.worker_init_fn,
    }  # fmt: skip
    if isinstance(loader.dataset, IterableDataset):
        options.update(batch_size=loader.batch_size, drop_last=loader.drop_last)
    elif loader.batch_sampler is not None:
        options['batch_sampler'] = _Again(loader.batch_sampler, sizes)
    else:
        options.update(batch_size=None, sampler=_Again(loader.sampler, sizes))
    if num_workers:
        options['multiprocessing_context'] = loader.multiprocessing_context
        options['prefetch_factor'] = loader.prefetch_factor
    return DataLoader(**options)


class _Again:
    """The batches of a sampler, again and again.

    Args:
        sampler: A batch sampler, or a sampler of single samples.
        sizes: Gets the size of each batch.
    """

    def __init__(self, sampler: Any, sizes: deque[int]) -> None:
        self._sampler = sampler
        self._sizes = sizes

    def __iter__(self) -> Iterator[Any]:
        while True:
            for indices in self._sampler:
                self._sizes.append(len(indices) if isinstance(indices, (list, tuple)) else 1)
                yield indices


def _time(seconds: float) -> str:
    return f'{seconds * 1e3:.3g} ms' if seconds >= 1e-3 else f'{seconds * 1e6:.3g} us'
