"""A run that hangs at its fourth iteration: python hung_run.py WORK_DIR SETTINGS(JSON).

``how`` is one of the functions below; ``rank`` is the rank that does so. With ``release`` the run
goes on once a file of that name is in the work dir.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.distributed.distributed_c10d import _get_default_store
from torch.utils.data import Dataset

from mmengine.dist import all_reduce, barrier, get_rank
from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.strategy import FileCheckpointIO

AT = 4
BAD_INDEX = 9


def spin_for_ever(is_released: Callable[[], bool]) -> None:
    while not is_released():
        pass


def sleep_for_ever(is_released: Callable[[], bool]) -> None:
    while not is_released():
        time.sleep(0.05)


def match_for_ever(is_released: Callable[[], bool]) -> None:
    """The regular expression keeps Python's lock for longer than anybody lives."""
    time.sleep(1)  # the watchdog sees the first batches, else it waits for longer
    re.match('(a|a)*b', 'a' * 200)


def stop_by_a_signal(is_released: Callable[[], bool]) -> None:
    # Until the watchdogs of both ranks are at work.
    keys = [f'mmengine/watchdog/1/seen/{rank}' for rank in range(2)]
    while not _get_default_store().check(keys):
        time.sleep(0.02)
    os.kill(os.getpid(), signal.SIGSTOP)


def wait_in_another_collective(is_released: Callable[[], bool]) -> None:
    barrier()
    time.sleep(10_000)


class Photos(Dataset):
    """The sample at ``BAD_INDEX`` hangs, if it is to."""

    def __init__(self, hangs: bool, is_released: Callable[[], bool]) -> None:
        self.hangs = hangs
        self.is_released = is_released

    def __len__(self) -> int:
        return 24

    def get_data_info(self, index: int) -> dict[str, Any]:
        return {'img_path': f'photos/{index}.jpg'}

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        if self.hangs and index == BAD_INDEX:
            read_from_a_dead_disk(self.is_released)
        return {'x': torch.tensor([float(index)])}


def read_from_a_dead_disk(is_released: Callable[[], bool]) -> None:
    sleep_for_ever(is_released)


class Net(BaseModel):
    """One weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x: torch.Tensor, mode: str = 'tensor') -> Any:
        loss = (self.weight * x).mean()
        return {'loss': loss} if mode == 'loss' else list(x * self.weight)


class Mean(BaseMetric):
    """Mean prediction."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.extend(float(sample) for sample in data_samples)

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        return {'mean': sum(results) / len(results)}


class HangAt(Hook):
    """Hangs on one rank; the others meet in a collective."""

    def __init__(self, how: str, stage: str, rank: int, is_released: Callable[[], bool]) -> None:
        self.how = globals()[how]
        self.stage = stage
        self.rank = rank
        self.is_released = is_released

    def _hang(self) -> None:
        if get_rank() == self.rank:
            self.how(self.is_released)
        meet_the_other_ranks()

    def before_train(self, runner: Any) -> None:
        if self.stage == 'save':
            runner.strategy.io = DeadDisk(self)

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if self.stage == 'train' and runner.iter == AT:
            self._hang()

    def before_val_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if self.stage == 'val' and batch_idx == AT:
            self._hang()


class DeadDisk(FileCheckpointIO):
    """Does not end writing."""

    def __init__(self, hook: HangAt) -> None:
        self.hook = hook

    def write(self, *args: Any, **kwargs: Any) -> None:
        self.hook.how(self.hook.is_released)


def meet_the_other_ranks() -> None:
    all_reduce(torch.ones(1))


class Released:
    """Whether the file is there."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __call__(self) -> bool:
        return self.path.exists()


def make(work_dir: str, settings: dict[str, Any]) -> Runner:
    """The runner of ``settings``."""
    how, stage = settings.get('how'), settings.get('stage', 'train')
    is_released = Released(Path(work_dir, 'release'))
    loader: dict[str, Any] = {
        'dataset': Photos(how == 'dataset', is_released),
        'batch_size': 2,
        'sampler': {'type': 'DefaultSampler', 'shuffle': False},
        'collate_fn': {'type': 'default_collate'},
        'num_workers': settings.get('workers', 0),
    }
    if settings.get('method'):
        loader['multiprocessing_context'] = settings['method']
    hooks = []
    if how not in (None, 'dataset'):
        hooks = [HangAt(how, stage, settings.get('rank', 0), is_released)]
    evaluation: dict[str, Any] = {}
    if stage == 'val':
        evaluation = {'val_dataloader': loader, 'val_cfg': {}, 'val_evaluator': Mean()}
    saving = {'type': 'CheckpointHook', 'by_epoch': False, 'interval': AT}
    return Runner(
        Net(),
        work_dir,
        train_dataloader=loader,
        train_cfg={'by_epoch': True, 'max_epochs': 1},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.0}},
        default_hooks={
            'checkpoint': saving if stage == 'save' else None,
            'logger': {'type': 'LoggerHook', 'interval': 100},
        },
        custom_hooks=hooks,
        launcher=settings.get('launcher', 'none'),
        env_cfg={'dist_cfg': {'backend': 'gloo'}},
        randomness={'seed': 3},
        watchdog=settings.get('watchdog'),
        **evaluation,
    )


def main(work_dir: str, settings: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    make(work_dir, settings).train()
    print('ENDED', flush=True)


if __name__ == '__main__':
    main(sys.argv[1], json.loads(sys.argv[2]))
