"""A run small enough to work out by hand: one weight and one bias fitted to y = 2 x + 1."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.registry import DATASETS, HOOKS, METRICS, MODELS
from mmengine.runner import Runner


@DATASETS.register_module(name='ToyLine')
class Line(Dataset):
    """``length`` points (x, 2 x + 1) for x = 0, 0.1, 0.2 ..."""

    metainfo = {'classes': ('line',)}

    def __init__(self, length: int = 8) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        x = torch.tensor([index / 10])
        return {'x': x, 'y': 2 * x + 1}


@MODELS.register_module(name='ToyNet')
class Net(BaseModel):
    """Starts at weight 0.5 and bias 0; predicts one number a sample."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.linear = nn.Linear(1, 1)
        nn.init.constant_(self.linear.weight, 0.5)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Any, y: Any, mode: str = 'tensor') -> Any:
        x, y = _stacked(x), _stacked(y)
        prediction = self.linear(x)
        if mode == 'loss':
            return {'loss': (prediction - y).square().mean()}
        return list(prediction)


@METRICS.register_module(name='ToyError')
class Error(BaseMetric):
    """Mean absolute error, and all predictions in the order in which they count."""

    default_prefix = 'toy'

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        targets = _stacked(data_batch['y'])
        self.results.extend(
            (float(sample), float(target))
            for sample, target in zip(data_samples, targets, strict=True)
        )

    def compute_metrics(self, results: list[tuple[float, float]]) -> dict[str, Any]:
        self.last_results = results
        errors = [abs(prediction - target) for prediction, target in results]
        return {'error': sum(errors) / len(errors)}


@HOOKS.register_module(name='ToyRecorder')
class Recorder(Hook):
    """Notes when validation begins, in (finished epochs, finished iterations)."""

    def __init__(self) -> None:
        self.validations: list[tuple[int, int]] = []

    def before_val(self, runner: Runner) -> None:
        self.validations.append((runner.epoch, runner.iter))


def toy_config(work_dir: Path | str, **changes: Any) -> dict[str, Any]:
    """All arguments of a Runner as configs: 8 samples, 4 batches an epoch, 2 epochs, no files."""
    sampler = {'type': 'DefaultSampler', 'shuffle': False}
    loader = {'dataset': {'type': 'ToyLine'}, 'batch_size': 2, 'sampler': sampler}
    config: dict[str, Any] = {
        'model': {'type': 'ToyNet'},
        'work_dir': str(work_dir),
        'train_dataloader': loader,
        'train_cfg': {'by_epoch': True, 'max_epochs': 2},
        'optim_wrapper': {'optimizer': {'type': 'SGD', 'lr': 0.1}},
        'val_dataloader': loader,
        'val_cfg': {},
        'val_evaluator': {'type': 'ToyError'},
        'test_dataloader': loader,
        'test_cfg': {},
        'test_evaluator': [{'type': 'ToyError'}],
        'default_hooks': {'checkpoint': None, 'logger': None},
        'log_level': 'ERROR',
        'randomness': {'seed': 0},
    }
    # Shared parts are written once above, and no run may change those of another.
    return {**copy.deepcopy(config), **changes}


def toy_runner(work_dir: Path | str, **changes: Any) -> Runner:
    """A Runner of :func:`toy_config`."""
    return Runner(**toy_config(work_dir, **changes))


NO_TRAINING: dict[str, Any] = dict(train_dataloader=None, train_cfg=None, optim_wrapper=None)
NO_VALIDATION: dict[str, Any] = dict(val_dataloader=None, val_cfg=None, val_evaluator=None)
NO_TEST: dict[str, Any] = dict(test_dataloader=None, test_cfg=None, test_evaluator=None)


def trained_by_hand(batches: Sequence[Sequence[int]], lr: float = 0.1) -> tuple[float, float]:
    """Weight and bias after plain gradient steps on the samples of each batch, in float64."""
    weight, bias = 0.5, 0.0
    for batch in batches:
        points = [(index / 10, 2 * index / 10 + 1) for index in batch]
        errors = [(weight * x + bias - y, x) for x, y in points]
        grad_weight = sum(2 * error * x for error, x in errors) / len(points)
        grad_bias = sum(2 * error for error, _ in errors) / len(points)
        weight, bias = weight - lr * grad_weight, bias - lr * grad_bias
    return weight, bias


def parameters(model: nn.Module) -> tuple[float, float]:
    """Weight and bias of a :class:`Net`."""
    return model.linear.weight.item(), model.linear.bias.item()


def _stacked(values: Any) -> torch.Tensor:
    return torch.stack(list(values)) if isinstance(values, (list, tuple)) else values
