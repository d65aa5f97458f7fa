"""Optimizers that find their steps without a learning rate train, and have none to schedule."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from mmengine.model import BaseModel
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner
from mmengine.utils.errors import ArgumentError


class WithoutLr(torch.optim.Optimizer):
    """Each step moves a parameter by a hundredth of its gradient."""

    def __init__(self, params: Any) -> None:
        super().__init__(params, {})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        for group in self.param_groups:
            for param in group['params']:
                if param.grad is not None:
                    param -= param.grad / 100


class WithLrNone(WithoutLr):
    """As Adafactor of transformers with ``relative_step``."""

    def __init__(self, params: Any) -> None:
        torch.optim.Optimizer.__init__(self, params, {'lr': None})


KINDS = [WithoutLr, WithLrNone]


class Slope(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.slope = nn.Parameter(torch.tensor([1.0]))

    def forward(self, x: Tensor, mode: str = 'tensor') -> Any:  # type: ignore[override]
        return {'loss': (self.slope * x).sum()} if mode == 'loss' else x


def runner_of(kind: type[WithoutLr], work_dir: Path, **settings: Any) -> Runner:
    model = Slope()
    return Runner(
        model=model, work_dir=str(work_dir), train_cfg={'by_epoch': False, 'max_iters': 4},
        train_dataloader={'dataset': [{'x': torch.ones(1)}] * 4, 'batch_size': 1,
                          'collate_fn': 'default_collate'},
        optim_wrapper=OptimWrapper(kind(model.parameters())),
        default_hooks={'logger': {'type': 'LoggerHook', 'interval': 1}}, **settings,
    )  # fmt: skip


@pytest.mark.parametrize('kind', KINDS)
def test_they_train_and_log_no_learning_rate(kind: type[WithoutLr], tmp_path: Path) -> None:
    runner = runner_of(kind, tmp_path)
    runner.train()
    # The gradient is 1 in each of 4 steps: 1 - 4 / 100.
    torch.testing.assert_close(runner.model.slope.detach(), torch.tensor([0.96]))
    assert runner.optim_wrapper.get_lr() == {}
    [path] = tmp_path.glob('*/vis_data/scalars.json')
    records = [json.loads(line) for line in path.read_text().splitlines()]
    # The losses are 1, 0.99, 0.98 and 0.97; the log has their mean so far.
    assert [round(record['loss'], 3) for record in records] == [1.0, 0.995, 0.99, 0.985]
    assert not any('lr' in record for record in records)


@pytest.mark.parametrize('kind', KINDS)
def test_a_schedule_of_the_learning_rate_is_refused(kind: type[WithoutLr], tmp_path: Path) -> None:
    schedule = {'type': 'StepLR', 'step_size': 1, 'by_epoch': False}
    with pytest.raises(KeyError, match=r"Parameter group 0 has no 'lr' to schedule"):
        runner_of(kind, tmp_path, param_scheduler=schedule).train()


@pytest.mark.parametrize('kind', KINDS)
def test_scaling_the_learning_rate_is_refused(kind: type[WithoutLr], tmp_path: Path) -> None:
    scaling = {'enable': True, 'base_batch_size': 8}
    with pytest.raises(ArgumentError, match='a group without a learning rate'):
        runner_of(kind, tmp_path, auto_scale_lr=scaling).train()
