"""Fit a line to noisy points: the smallest whole run, with training, validation and checkpoints.

    python examples/toy_regression.py [--work-dir work_dirs/toy_regression]

A model says only what its ``forward`` computes in each mode; the Runner does the rest. The points
are made here, 3 x - 1 with noise, so the parameters that should come out are known.
"""

import argparse
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner

SLOPE, OFFSET = 3.0, -1.0


def points(count: int, seed: int) -> list[tuple[Tensor, Tensor]]:
    """Pairs (x, y), each of shape (1,)."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.rand(count, 1, generator=generator) * 2 - 1
    y = SLOPE * x + OFFSET + 0.1 * torch.randn(count, 1, generator=generator)
    return list(zip(x, y, strict=True))


class ToyModel(BaseModel):
    """One linear layer. A batch is a pair, so it comes as ``forward(*batch, mode=...)``."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)

    def forward(self, img: Tensor, label: Tensor, mode: str) -> Any:  # type: ignore[override]  # takes a batch of its own form
        """Two losses to train with, a list of predictions to evaluate, or the plain output."""
        feat = self.linear(img)
        if mode == 'loss':
            loss1 = (feat - label).pow(2)
            loss2 = (feat - label).abs()
            return dict(loss1=loss1, loss2=loss2)
        if mode == 'predict':
            return list(feat)
        return feat


class MeanAbsoluteError(BaseMetric):
    """How far predictions are from the labels, on average."""

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Keep the error of each sample of a batch."""
        for prediction, label in zip(data_samples, data_batch[1], strict=True):
            self.results.append(float((prediction - label).abs()))

    def compute_metrics(self, results: list[float]) -> dict[str, float]:
        """Average what all batches, on all ranks, gave."""
        return {'mae': sum(results) / len(results)}


def build_runner(work_dir: str, num_samples: int = 200, max_epochs: int = 5) -> Runner:
    """The run, ready for ``train()``."""
    return Runner(
        model=dict(type=ToyModel),
        work_dir=work_dir,
        train_dataloader=DataLoader(points(num_samples, seed=1), batch_size=2),  # type: ignore[arg-type]  # a list serves as dataset
        train_cfg=dict(by_epoch=True, max_epochs=max_epochs),
        optim_wrapper=dict(optimizer=dict(type='SGD', lr=0.05)),
        param_scheduler=dict(type='MultiStepLR', milestones=[4], by_epoch=True),
        val_dataloader=DataLoader(points(50, seed=2), batch_size=10),  # type: ignore[arg-type]  # a list serves as dataset
        val_cfg=dict(),
        val_evaluator=[MeanAbsoluteError()],
        default_hooks=dict(checkpoint=dict(type='CheckpointHook', save_best='mae', rule='less')),
        randomness=dict(seed=0),
    )


def main() -> None:
    """Train, and show what was learned."""
    parser = argparse.ArgumentParser()
    parser.add_argument('--work-dir', default='work_dirs/toy_regression')
    runner = build_runner(parser.parse_args().work_dir)
    runner.train()
    slope, offset = (float(value) for value in runner.model.state_dict().values())
    print(f'learned y = {slope:.2f} x {offset:+.2f}, the truth is {SLOPE:.2f} x {OFFSET:+.2f}')


if __name__ == '__main__':
    main()
