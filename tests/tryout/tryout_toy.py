"""A run for the tests of this folder: a line through points, and two networks in turn."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmengine.config import Config
from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel

POINTS = [{'x': torch.tensor([i / 8]), 'y': torch.tensor([2 * i / 8 + 1])} for i in range(8)]


class Line(BaseModel):
    """Begins with weight 0.5 and bias 0."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)
        nn.init.constant_(self.linear.weight, 0.5)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Any, y: Any = None, mode: str = 'tensor') -> Any:
        outputs = self.linear(x)
        if mode == 'loss':
            return {'loss': (outputs - y).square().mean()}
        return list(outputs) if mode == 'predict' else outputs


class Noisy(BaseModel):
    """Has all that a step may change: batch norm, dropout, a counter, and a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Dropout(0.5), nn.Linear(4, 1)
        )
        self.calls = 0
        self.frozen = nn.Linear(1, 1).requires_grad_(False)

    def forward(self, x: Any, y: Any = None, mode: str = 'tensor') -> Any:
        self.calls += 1
        outputs = self.net(x)
        return {'loss': (outputs - y).square().mean()} if mode == 'loss' else list(outputs)


class Pair(BaseModel):
    """Two networks with an optimizer each, in a custom train_step."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(1, 1), nn.Linear(1, 1)

    def forward(self, x: Any, y: Any = None, mode: str = 'tensor') -> Any:
        return list(self.first(x))

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, torch.Tensor]:
        data = self.data_preprocessor(data, True)
        loss_a = (self.first(data['x']) - data['y']).square().mean()
        optim_wrapper['first'].update_params(loss_a)
        loss_b = (self.second(data['x']) + data['y']).square().mean()
        optim_wrapper['second'].update_params(loss_b)
        return {'loss_a': loss_a.detach(), 'loss_b': loss_b.detach()}


class Error(BaseMetric):
    """Mean absolute error, and the number of samples."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += [
            abs(float(p) - float(y)) for p, y in zip(data_samples, data_batch['y'], strict=True)
        ]

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        return {'error': sum(results) / len(results), 'count': len(results)}


def tryout_config(work_dir: Path | str, **changes: Any) -> Config:
    """Four batches of two an epoch, for two epochs, with validation and test."""
    loader = {
        'dataset': POINTS,
        'batch_size': 2,
        'collate_fn': {'type': 'default_collate'},
        'sampler': {'type': 'DefaultSampler', 'shuffle': False},
    }
    config = {
        'model': {'type': Line},
        'work_dir': str(work_dir),
        'train_dataloader': {**loader, 'sampler': {'type': 'DefaultSampler', 'shuffle': True}},
        'train_cfg': {'by_epoch': True, 'max_epochs': 2},
        'optim_wrapper': {'optimizer': {'type': 'SGD', 'lr': 0.1}},
        'val_dataloader': dict(loader),
        'val_cfg': {},
        'val_evaluator': {'type': Error},
        'test_dataloader': dict(loader),
        'test_cfg': {},
        'test_evaluator': {'type': Error},
        'default_hooks': {'checkpoint': None},
        'log_level': 'ERROR',
        'randomness': {'seed': 3},
    }
    return Config({**config, **changes})


def pair_config(work_dir: Path | str, **changes: Any) -> Config:
    """The same of two networks with an optimizer each."""
    sgd = {'optimizer': {'type': 'SGD', 'lr': 0.1}}
    other = {'optimizer': {'type': 'SGD', 'lr': 0.01}}
    optimizers = {'first': sgd, 'second': other}
    return tryout_config(
        work_dir, **{'model': {'type': Pair}, 'optim_wrapper': optimizers, **changes}
    )


def order_of(epoch: int, seed: int = 3) -> list[int]:
    """The shuffled samples of an epoch: a permutation drawn from seed + epoch."""
    generator = torch.Generator().manual_seed(seed + epoch)
    return torch.randperm(len(POINTS), generator=generator).tolist()


def batch_of(indices: list[int]) -> dict[str, torch.Tensor]:
    """The batch of these samples."""
    return {key: torch.stack([POINTS[i][key] for i in indices]) for key in ('x', 'y')}


def files_in(folder: Path) -> list[str]:
    """Paths of all files below ``folder``, relative to it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob('*') if path.is_file())
