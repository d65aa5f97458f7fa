"""A run in a process, to be stopped: python stoppable_run.py WORK_DIR SETTINGS(JSON).

The file ``ready`` in the work dir says that the place was reached at which the test stops it; the
test answers with the file ``go``, so that it does not matter which process is faster. The last
line of the output is the state at the end, if the run gets there.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from mmengine.dist._dtensor import full_tensor
from mmengine.evaluator import BaseMetric
from mmengine.hooks import EMAHook, Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner


class Points(Dataset):
    """``length`` numbers between 0 and 1.

    With ``waits_at`` the first worker that comes to that sample of a pass says ``ready``, and waits
    until the file ``go_on`` is there.
    """

    def __init__(self, length: int, folder: str = '', waits_at: int | None = None) -> None:
        self.length = length
        self.folder = folder
        self.waits_at = waits_at
        self.loaded = 0

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        self.loaded += 1
        if self.waits_at == self.loaded and not Path(self.folder, 'go_on').exists():
            print('WORKER', os.getpid(), flush=True)
            Path(self.folder, 'ready').touch()
            while not Path(self.folder, 'go_on').exists():
                time.sleep(0.02)
        return {'x': torch.tensor([(index * 7 % 11) / 11])}


class Net(BaseModel):
    """One weight and one bias, fitted to y = 2 x + 1."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)
        nn.init.constant_(self.linear.weight, 0.5)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: torch.Tensor, mode: str = 'tensor') -> Any:
        prediction = self.linear(x)
        if mode == 'loss':
            return {'loss': (prediction - 2 * x - 1).square().mean()}
        return list(prediction)


class Mean(BaseMetric):
    """Mean prediction."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.extend(float(sample) for sample in data_samples)

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        return {'mean': sum(results) / len(results)}


class Pace(Hook):
    """Says ``ready`` at a place and waits there for the file ``go``.

    From there on each batch takes ``pace_s``. With ``slow_rank`` that rank does not wait, and the
    others do not take their time.
    """

    def __init__(self, stage: str, at: int, pace_s: float, slow_rank: int | None) -> None:
        self.stage, self.at, self.pace_s, self.slow_rank = stage, at, pace_s, slow_rank

    def _batch(self, runner: Runner, stage: str, finished: int) -> None:
        if self.at < 0 or stage != self.stage or finished < self.at:
            return
        Path(runner.work_dir, f'pid_{runner.rank}').write_text(str(os.getpid()))
        if runner.rank == 0:
            Path(runner.work_dir, 'ready').touch()
        if self.slow_rank != runner.rank:
            while not Path(runner.work_dir, 'go').exists():
                time.sleep(0.02)
        if self.slow_rank in (None, runner.rank):
            time.sleep(self.pace_s)

    def after_train_iter(self, runner: Runner, batch_idx: int, **kwargs: Any) -> None:
        self._batch(runner, 'train', runner.iter + 1)

    def after_val_iter(self, runner: Runner, batch_idx: int, **kwargs: Any) -> None:
        self._batch(runner, 'val', batch_idx + 1)

    def after_test_iter(self, runner: Runner, batch_idx: int, **kwargs: Any) -> None:
        self._batch(runner, 'test', batch_idx + 1)

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        if self.at >= 0 and self.stage == 'save':
            Path(runner.work_dir, 'ready').touch()
            time.sleep(self.pace_s)


class Calls(Hook):
    """Says which hooks of the end were called."""

    priority = 'LOWEST'

    def after_train(self, runner: Runner) -> None:
        print('CALL after_train', flush=True)

    def after_run(self, runner: Runner) -> None:
        print('CALL after_run', flush=True)

    def on_exception(self, runner: Runner, error: BaseException) -> None:
        print('CALL on_exception', flush=True)


def make(work_dir: str, settings: dict[str, Any]) -> Runner:
    """The runner of ``settings``."""
    length = settings.get('batches', 10) * 2
    loader = {
        'dataset': Points(length, work_dir, settings.get('slow_sample')),
        'batch_size': 2,
        'sampler': {'type': 'DefaultSampler', 'shuffle': True},
        'collate_fn': {'type': 'default_collate'},
        'num_workers': settings.get('workers', 0),
    }
    train_cfg: dict[str, Any] = {'by_epoch': True, 'max_epochs': settings.get('epochs', 4)}
    if 'iters' in settings:
        train_cfg = {'by_epoch': False, 'max_iters': settings['iters'], 'val_interval': 10}
    hooks: list[Any] = [Calls(), EMAHook()]
    if settings.get('progress'):
        hooks.append({'type': 'ProgressHook'})
    if 'at' in settings:
        stage = settings.get('stage', 'train')
        pace = settings.get('pace_s', 0)
        hooks.append(Pace(stage, settings['at'], pace, settings.get('slow_rank')))
    evaluation = {} if settings.get('val', True) else None
    return Runner(
        Net(),
        work_dir,
        train_dataloader=loader,
        train_cfg=train_cfg,
        val_dataloader=None if evaluation is None else loader,
        val_cfg=evaluation,
        val_evaluator=None if evaluation is None else Mean(),
        test_dataloader=loader,
        test_cfg={},
        test_evaluator=Mean(),
        optim_wrapper={
            'optimizer': {'type': 'SGD', 'lr': 0.05, 'momentum': 0.9},
            'accumulative_counts': settings.get('counts', 1),
        },
        param_scheduler=settings.get(
            'scheduler', {'type': 'CosineAnnealingLR', 'T_max': 40, 'by_epoch': False}
        ),
        default_hooks={
            'checkpoint': {
                'type': 'CheckpointHook',
                'interval': settings.get('interval', 1000),
                'by_epoch': settings.get('saves_by_epoch', 'iters' not in settings),
                'max_keep_ckpts': settings.get('max_keep', -1),
                **settings.get('hook', {}),
            },
            'logger': {'type': 'LoggerHook', 'interval': 100},
        },
        custom_hooks=hooks,
        launcher=settings.get('launcher', 'none'),
        env_cfg={'dist_cfg': {'backend': 'gloo'}},
        resume=settings.get('resume', False),
        randomness={'seed': 3},
        **settings.get('more', {}),
    )


def state_of(runner: Runner) -> dict[str, Any]:
    """All that training changes, as numbers. All ranks must call it."""
    states = runner.optim_wrapper.optimizer.state.values()
    momenta = [full_tensor(state['momentum_buffer']).tolist() for state in states]
    return {
        'iter': runner.iter,
        'epoch': runner.epoch,
        'weights': [full_tensor(param).tolist() for param in runner.model.parameters()],
        'momenta': momenta,
        'lr': runner.optim_wrapper.get_lr()['lr'],
    }


def fail_saves(numbers: list[int]) -> None:
    """Let the disk be broken for the checkpoints with these numbers, from 1."""
    save, done = torch.save, 0

    def broken(checkpoint: Any, file: Any) -> None:
        nonlocal done
        done += 1
        if done in numbers:
            raise OSError(5, 'a broken disk')
        save(checkpoint, file)

    torch.save = broken


def main(work_dir: str, settings: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    fail_saves(settings.get('failing_saves', []))
    runner = make(work_dir, settings)
    getattr(runner, settings.get('call', 'train'))()
    if settings.get('call', 'train') == 'train':
        # One string is written at once, so that lines of other ranks cannot come into it.
        print(f'STATE {json.dumps(state_of(runner))}\n', end='', flush=True)
    print('AFTER', os.getpid(), flush=True)


if __name__ == '__main__':
    main(sys.argv[1], json.loads(sys.argv[2]))
