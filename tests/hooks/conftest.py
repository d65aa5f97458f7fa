"""A run so small that all of its numbers can be worked out by hand."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from mmengine.evaluator import BaseMetric
from mmengine.model import BaseModel
from mmengine.runner import Runner


class Line(BaseModel):
    """loss = weight * 1: the gradient is 1, so SGD takes its rate off the weight in every step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([1.0]))
        self.register_buffer('seen', torch.tensor(0))
        self.register_buffer('scale', torch.tensor(0.0))
        self.weights_at_val: list[float] = []

    def forward(self, x: torch.Tensor, mode: str) -> Any:
        if mode == 'loss':
            self.seen += 1
            self.scale += 0.5
            return {'loss': (self.weight * x).mean()}
        self.weights_at_val.append(round(self.weight.item(), 6))
        return [self.weight]


class Scripted(BaseMetric):
    """Reports one given dict of metrics after the other, and then the last one again."""

    def __init__(self, scores: Sequence[dict[str, Any]]) -> None:
        super().__init__()
        self.scores: Iterator[dict[str, Any]] = iter(scores)
        self.latest: dict[str, Any] = {}

    def process(self, data_batch: Any, data_samples: Any) -> None:
        self.results.append(1)

    def compute_metrics(self, results: list[Any]) -> dict[str, Any]:
        self.latest = dict(next(self.scores, self.latest))
        return dict(self.latest)


@pytest.fixture
def make_run(tmp_path: Path) -> Callable[..., Runner]:
    """Builds runs with SGD at rate 0.1 over ``batches`` batches."""

    def make(
        hooks: Sequence[Any] = (),
        *,
        epochs: int = 2,
        iters: int | None = None,
        batches: int = 4,
        scores: Sequence[dict[str, Any]] | None = None,
        work_dir: str = 'run',
        default_hooks: dict[str, Any] | None = None,
        model: Any = None,
        val_interval: int | None = None,
        runner_type: type[Runner] = Runner,
        **kwargs: Any,
    ) -> Runner:
        data = [{'x': torch.ones(1)} for _ in range(batches)]
        train_cfg: dict[str, Any] = {'by_epoch': iters is None}
        train_cfg.update({'max_epochs': epochs} if iters is None else {'max_iters': iters})
        if val_interval is not None:
            train_cfg['val_interval'] = val_interval
        if scores is not None:
            kwargs['val_dataloader'] = DataLoader(data[:2])
            kwargs['val_cfg'] = {}
            kwargs['val_evaluator'] = [Scripted(scores)]
        return runner_type(
            Line() if model is None else model,
            str(tmp_path / work_dir),
            train_dataloader=kwargs.pop('train_dataloader', DataLoader(data)),
            train_cfg=train_cfg,
            optim_wrapper=kwargs.pop('optim_wrapper', {'optimizer': {'type': 'SGD', 'lr': 0.1}}),
            custom_hooks=list(hooks),
            default_hooks={'checkpoint': None, **(default_hooks or {})},
            log_processor=kwargs.pop('log_processor', {'by_epoch': iters is None}),
            log_level=kwargs.pop('log_level', 'ERROR'),
            **kwargs,
        )

    return make


@pytest.fixture
def accs() -> Callable[..., list[dict[str, float]]]:
    """Metrics with these accuracies."""
    return lambda *values: [{'acc': value} for value in values]
