"""A training that notes the numbers of its samples, and saves after every iteration."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn

from mmengine.model import BaseModel
from mmengine.runner import Runner

BATCH = 2


class Noting(BaseModel):
    """Keeps the numbers of its samples in their order."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.seen: list[float] = []

    def forward(self, number: torch.Tensor, mode: str = 'tensor') -> Any:  # type: ignore[override]
        self.seen += number.tolist()
        return {'loss': (self.weight * number).mean()}


def loader_of(dataset: Any, workers: int) -> dict[str, Any]:
    """The config of a dataloader with batches of ``BATCH`` samples."""
    return {
        'dataset': dataset, 'batch_size': BATCH, 'num_workers': workers,
        'collate_fn': 'default_collate',
    }  # fmt: skip


def train(folder: Path, loader: Any, loop: dict[str, Any], **more: Any) -> list[float]:
    """Run to the end; returns what the model saw."""
    model = Noting()
    Runner(
        model, str(folder), train_dataloader=loader, train_cfg=loop,
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.0}},
        default_hooks={
            'checkpoint': {'type': 'CheckpointHook', 'by_epoch': False, 'interval': 1},
            'logger': None,
        },
        **{'log_level': 'ERROR', **more},
    ).train()  # fmt: skip
    return model.seen
