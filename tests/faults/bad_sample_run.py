"""A training with samples that raise: python bad_sample_run.py WORK_DIR SETTINGS(JSON).

The last line of the output has the indices of the samples of each batch, and what was drawn for
them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import warnings
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner


class Photos(Dataset):
    """Samples with a path and a draw; those in ``bad`` raise."""

    def __init__(self, length: int, bad: list[int]) -> None:
        self.length = length
        self.bad = set(bad)

    def __len__(self) -> int:
        return self.length

    def get_data_info(self, index: int) -> dict[str, Any]:
        return {'img_path': f'photos/{index}.jpg'}

    def __getitem__(self, index: int) -> torch.Tensor:
        draw = int(torch.randint(1000, ()))
        if index in self.bad:
            raise OSError(f'truncated image {index}')
        return torch.tensor([float(index), float(draw)])


class Seeing(BaseModel):
    """Keeps what it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))
        self.seen: list[list[list[int]]] = []

    def forward(self, x: torch.Tensor, mode: str = 'tensor') -> Any:
        self.seen.append(x.int().tolist())
        return {'loss': self.weight * x.mean() * 1e-6}

    def train_step(self, data: Any, optim_wrapper: Any) -> Any:
        loss = self(data, mode='loss')['loss']
        optim_wrapper.update_params(loss)
        return {'loss': loss.detach()}


class StopAfter(Hook):
    """Stops the run, as a signal would, after some iterations."""

    def __init__(self, iterations: int) -> None:
        self.iterations = iterations

    def after_train_iter(self, runner: Runner, batch_idx: int, **kwargs: Any) -> None:
        if runner.iter + 1 == self.iterations:
            os.kill(os.getpid(), signal.SIGTERM)


def make(work_dir: str, settings: dict[str, Any]) -> Runner:
    """The runner of ``settings``."""
    hooks = [StopAfter(settings['stop_after'])] if 'stop_after' in settings else []
    dataset = Photos(settings.get('length', 12), settings.get('bad', []))
    length = {'max_epochs': settings.get('epochs', 2)}
    if 'iters' in settings:
        length = {'max_iters': settings['iters']}
    loader: dict[str, Any] = {
        'dataset': dataset,
        'batch_size': settings.get('batch_size', 3),
        'sampler': {'type': 'DefaultSampler', 'shuffle': True},
        'collate_fn': {'type': 'default_collate'},
        'num_workers': settings.get('workers', 0),
        'persistent_workers': settings.get('persistent', False),
    }
    if settings.get('method'):
        loader['multiprocessing_context'] = settings['method']
    if 'on_bad_sample' in settings:
        loader['on_bad_sample'] = settings['on_bad_sample']
    return Runner(
        Seeing(),
        work_dir,
        train_dataloader=loader,
        train_cfg={'by_epoch': 'iters' not in settings, **length},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.0}},
        default_hooks={
            'checkpoint': {'type': 'CheckpointHook', 'interval': 1000},
            'logger': {'type': 'LoggerHook', 'interval': 100},
        },
        custom_hooks=hooks,
        launcher=settings.get('launcher', 'none'),
        env_cfg={'dist_cfg': {'backend': 'gloo'}},
        resume=settings.get('resume', False),
        randomness={'seed': 3, **settings.get('randomness', {})},
    )


def main(work_dir: str, settings: dict[str, Any]) -> None:
    torch.set_num_threads(1)
    warnings.simplefilter('ignore')
    runner = make(work_dir, settings)
    try:
        runner.train()
    finally:
        model = getattr(runner.model, 'module', runner.model)
        print('SEEN', json.dumps(model.seen), flush=True)


if __name__ == '__main__':
    main(sys.argv[1], json.loads(sys.argv[2]))
