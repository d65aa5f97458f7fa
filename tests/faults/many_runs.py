"""Many runs in one process, and what they leave behind: python many_runs.py FOLDER NUM_RUNS.

Prints, as JSON, what the process holds before and after: threads, children, shared memory,
descriptors, signal handlers, loggers, named instances and entries of registries. Runs with workers
of all kinds take turns with runs that fail and runs that are stopped. One of each kind comes before
the first count, as imports and caches are filled then.
"""

from __future__ import annotations

import gc
import json
import logging
import multiprocessing
import os
import shutil
import signal
import sys
import threading
import time
import warnings
from collections import Counter
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).parents[2]))

from stoppable_run import make

import mmengine.registry
from mmengine.hooks import Hook
from mmengine.registry import DefaultScope, Registry
from mmengine.utils import ManagerMixin

LIMIT_S = 60.0


class FailAt(Hook):
    """Raises, or asks the run to stop, at an iteration."""

    def __init__(self, iteration: int, stops: bool = False) -> None:
        self.iteration = iteration
        self.stops = stops

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == self.iteration:
            if not self.stops:
                raise ValueError('meant to fail')
            os.kill(os.getpid(), signal.SIGTERM)


class FailInSample:
    """A dataset whose eleventh sample raises."""

    def __len__(self) -> int:
        return 20

    def __getitem__(self, index: int) -> Any:
        if index == 10:
            raise ValueError('meant to fail')
        return {'x': torch.tensor([float(index)])}


PLAIN: dict[str, Any] = {'epochs': 1, 'more': {'watchdog': {'timeout_s': 600}}}
WORKERS: dict[str, Any] = {**PLAIN, 'workers': 2}


def plain(folder: str) -> None:
    make(folder, PLAIN).train()


def workers(folder: str) -> None:
    make(folder, WORKERS).train()


def persistent(folder: str) -> None:
    runner = make(folder, WORKERS)
    runner._train_dataloader['persistent_workers'] = True
    runner.train()


def spawned(folder: str) -> None:
    runner = make(folder, {**WORKERS, 'workers': 1, 'val': False})
    runner._train_dataloader['multiprocessing_context'] = 'spawn'
    runner.train()


def testing(folder: str) -> None:
    make(folder, WORKERS).test()


def failing(folder: str) -> None:
    runner = make(folder, WORKERS)
    runner.register_hook(FailAt(3))
    _expect(ValueError, runner)


def failing_in_a_worker(folder: str) -> None:
    runner = make(folder, WORKERS)
    runner._train_dataloader['dataset'] = FailInSample()
    _expect(ValueError, runner)


def skipping(folder: str) -> None:
    runner = make(folder, WORKERS)
    loader = {**runner._train_dataloader, 'dataset': FailInSample(), 'on_bad_sample': 'skip'}
    runner._train_dataloader = loader
    runner.train()


def stopped(folder: str) -> None:
    runner = make(folder, WORKERS)
    runner.register_hook(FailAt(3, stops=True))
    _expect(SystemExit, runner)


KINDS = [
    plain, workers, persistent, failing, testing, failing_in_a_worker, skipping, stopped, spawned,
]  # fmt: skip


def _expect(kind: type[BaseException], runner: Any) -> None:
    try:
        runner.train()
    except kind:
        return
    raise AssertionError(f'{kind.__name__} was to be raised')


def _shared_memory() -> list[str]:
    """Files of shared memory that this process maps, or that carry its number.

    Other files there are of other processes of the machine.
    """
    mapped = {
        line.split(maxsplit=5)[5].strip()
        for line in Path('/proc/self/maps').read_text().splitlines()
        if '/dev/shm/' in line
    }
    folder = Path('/dev/shm')
    named = folder.glob(f'*_{os.getpid()}_*') if folder.is_dir() else []
    return sorted(mapped | {str(path) for path in named})


def held() -> dict[str, Any]:
    """What this process holds."""
    gc.collect()
    registries = [one for one in vars(mmengine.registry).values() if isinstance(one, Registry)]
    return {
        'threads': sorted(thread.name.rstrip('0123456789') for thread in threading.enumerate()),
        'children': len(multiprocessing.active_children()) + len(_children()),
        'shared memory': _shared_memory(),
        'descriptors': sorted(Counter(_descriptors()).items()),
        'signal handlers': [str(signal.getsignal(number)) for number in (2, 15, 10, 1, 12)],
        'loggers': len(logging.Logger.manager.loggerDict),
        'handlers': len(logging._handlerList),  # type: ignore[attr-defined]  # no public count
        'named instances': sum(
            len(cls.__dict__.get('_instance_dict', ())) for cls in _manager_classes()
        ),
        'registry entries': sum(len(registry.module_dict) for registry in registries),
    }


def _children() -> list[str]:
    path = Path(f'/proc/self/task/{os.getpid()}/children')
    known = {str(child.pid) for child in multiprocessing.active_children()}
    return [pid for pid in path.read_text().split() if pid not in known] if path.exists() else []


def _descriptors() -> list[str]:
    found = []
    for name in os.listdir('/proc/self/fd'):
        try:
            target = os.readlink(f'/proc/self/fd/{name}')
        except FileNotFoundError:  # of the listing
            continue
        found.append(target.partition(':')[0].split(' ')[0])
    return found


def _manager_classes() -> list[type]:
    found: list[type] = [DefaultScope]
    pending: list[type] = [ManagerMixin]
    while pending:
        for subclass in pending.pop().__subclasses__():
            found.append(subclass)
            pending.append(subclass)
    return list(dict.fromkeys(found))


def run(folder: Path, number: int) -> None:
    """One run, of the kind whose turn it is; its files are removed."""
    work_dir = folder / str(number)
    KINDS[number % len(KINDS)](str(work_dir))
    shutil.rmtree(work_dir)


def settled(before: dict[str, Any]) -> dict[str, Any]:
    """What is held once threads and children that are ending have ended."""
    deadline = time.monotonic() + LIMIT_S
    after = held()
    while after != before and time.monotonic() < deadline:
        time.sleep(0.2)
        after = held()
    return after


def main(folder: Path, num_runs: int) -> None:
    """Run, count and print."""
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    for number in range(len(KINDS)):
        run(folder, number)
    plain(str(folder / 'last'))  # the newest instance of each name is kept
    time.sleep(1)  # threads and children that are ending
    before = held()
    for number in range(num_runs):
        run(folder, number)
    plain(str(folder / 'last'))
    after = settled(before)
    left = [name for name in before if before[name] != after[name]]
    print('HELD', json.dumps({'before': before, 'after': after, 'left': left}), flush=True)
    if left:
        raise SystemExit(1)


if __name__ == '__main__':
    main(Path(sys.argv[1]), int(sys.argv[2]))
