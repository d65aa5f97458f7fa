"""The losses of a validation are logged as they are, not averaged with those of earlier ones."""

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from mmengine.evaluator import BaseMetric
from mmengine.hooks import Hook
from mmengine.model import BaseModel
from mmengine.runner import Runner


class Line(BaseModel):
    """y = w x."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([0.5]))

    def forward(self, x: Tensor, y: Tensor, mode: str = 'tensor') -> Any:
        predicted = x * self.weight
        return {'loss': mse_loss(predicted, y)} if mode == 'loss' else list(predicted)


class Count(BaseMetric):
    """How many samples there were."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results += list(data_samples)

    def compute_metrics(self, results: list[Any]) -> dict[str, float]:
        return {'count': len(results)}


class Losses(Hook):
    """The validation losses in the order of the validations."""

    def __init__(self) -> None:
        self.seen: list[float] = []

    def after_val_epoch(self, runner: Runner, metrics: dict[str, float] | None = None) -> None:
        assert metrics is not None
        self.seen.append(metrics['val_loss'])


def test_scalars_hold_the_loss_of_each_validation(tmp_path: Path) -> None:
    xs = torch.arange(1.0, 9.0).unsqueeze(1) / 8
    loader = {
        'dataset': [{'x': x, 'y': 2 * x} for x in xs],
        'batch_size': 2,
        'collate_fn': {'type': 'default_collate'},
    }
    losses = Losses()
    runner = Runner(
        model=Line(),
        work_dir=str(tmp_path),
        train_dataloader=loader,
        train_cfg={'by_epoch': True, 'max_epochs': 3},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}},
        val_dataloader=loader,
        val_cfg={'compute_loss': True},
        val_evaluator=Count(),
        custom_hooks=[losses],
    )
    runner.train()
    (scalars,) = tmp_path.glob('*/vis_data/scalars.json')
    records = map(json.loads, scalars.read_text().splitlines())
    logged = [record['val_loss'] for record in records if 'val_loss' in record]
    assert logged == losses.seen
    assert len(set(logged)) == 3
