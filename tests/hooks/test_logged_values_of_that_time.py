"""Logged values are the values at the time of the step, even if their memory changes later."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from mmengine.hooks import Hook
from mmengine.model import BaseModel


class LogsLiveMemory(BaseModel):
    """Logs a value that shares memory with something that changes; remembers what it was."""

    def __init__(self, value: Callable[['LogsLiveMemory'], Any]) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.row = nn.Parameter(torch.zeros(3))
        self.register_buffer('seen', torch.zeros(()))
        self.array = np.zeros(1, dtype=np.float32)
        self.kept = torch.zeros(())
        self.value = value
        self.expected: list[float] = []

    def forward(self, x: torch.Tensor, mode: str) -> Any:
        self.seen.data.add_(1)
        self.array += 1
        torch.add(self.kept.detach(), 1, out=self.kept)
        value = self.value(self)
        one = value[0] if isinstance(value, list) else value
        self.expected.append(one.detach().item())
        return {'loss_scale': self.scale * x.sum(), 'loss_row': self.row.sum(), 'value': value}


@pytest.mark.parametrize(
    'value',
    [
        pytest.param(lambda m: m.scale, id='parameter'),
        pytest.param(lambda m: m.scale.detach(), id='parameter.detach()'),
        pytest.param(lambda m: m.scale.data, id='parameter.data'),
        pytest.param(lambda m: [m.scale.data], id='list of parameter.data'),
        pytest.param(lambda m: m.row[0], id='row[0]'),
        pytest.param(lambda m: m.row.data[0], id='row.data[0]'),
        pytest.param(lambda m: m.row[:1].squeeze(), id='row[:1].squeeze()'),
        pytest.param(lambda m: m.row[:1], id='row[:1]'),
        pytest.param(lambda m: m.seen, id='buffer changed through .data'),
        pytest.param(lambda m: torch.from_numpy(m.array), id='memory of an array'),
        pytest.param(lambda m: torch.from_numpy(m.array)[0], id='element of an array'),
        pytest.param(lambda m: m.kept, id='out= of torch.add'),
        pytest.param(lambda m: m.scale.detach() + 0, id='a fresh value'),
        pytest.param(lambda m: m.scale * 1, id='a fresh value with a graph'),
    ],
)
def test_a_value_is_logged_as_it_was_in_its_step(make_run, value):
    model = LogsLiveMemory(value)
    runner = make_run(model=model, iters=6, batches=6)
    runner.train()
    assert runner.message_hub.get_scalar('train/value').data[0].tolist() == model.expected
    assert len(set(model.expected)) == 6  # it changes in every step


class LogsState(BaseModel):
    """A custom step that logs the momentum of its parameter, after the step."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(()))

    def forward(self, x: torch.Tensor, mode: str) -> Any:
        return {'loss': self.weight * x.sum()}

    def train_step(self, data: Any, optim_wrapper: Any) -> Any:
        values = super().train_step(data, optim_wrapper)
        momentum = optim_wrapper.optimizer.state[self.weight]['momentum_buffer']
        return {**values, 'momentum': momentum}


def test_a_state_of_the_optimizer_is_logged_as_it_was(make_run):
    optimizer = {'type': 'SGD', 'lr': 0.1, 'momentum': 0.5}
    runner = make_run(model=LogsState(), iters=4, batches=4, optim_wrapper={'optimizer': optimizer})
    runner.train()
    # The gradient is 1: 1, then 0.5 x 1 + 1, and so on.
    logged = runner.message_hub.get_scalar('train/momentum').data[0]
    assert logged.tolist() == [1, 1.5, 1.75, 1.875]


def test_a_parameter_can_be_the_only_loss(make_run):
    class Bare(BaseModel):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.tensor(1.0))

        def forward(self, x: torch.Tensor, mode: str) -> Any:
            return {'loss': self.weight}

    runner = make_run(model=Bare(), iters=3, batches=3)
    runner.train()
    # The gradient is 1 and the learning rate 0.1.
    assert runner.message_hub.get_scalar('train/loss').data[0] == pytest.approx([1, 0.9, 0.8])
    assert 'train/engine_loss' not in runner.message_hub.log_scalars


class _Used(Hook):
    """The learning rates that the steps use."""

    def __init__(self) -> None:
        self.rates: list[float] = []

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        self.rates.append(float(runner.optim_wrapper.param_groups[0]['lr']))


def test_a_learning_rate_in_a_tensor_is_logged_as_it_was(make_run):
    model, used = LogsState(), _Used()
    runner = make_run(
        [used], model=model, batches=8,
        optim_wrapper={
            'optimizer': torch.optim.SGD(model.parameters(), lr=torch.tensor(0.1), momentum=0.5)
        },
        param_scheduler=[{'type': 'ExponentialLR', 'gamma': 0.5, 'by_epoch': False}],
    )  # fmt: skip
    runner.train()
    assert used.rates[:3] == pytest.approx([0.1, 0.05, 0.025])
    assert runner.message_hub.get_scalar('train/lr').data[0].tolist() == used.rates
