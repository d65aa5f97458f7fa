"""``fused='auto'``: chosen by what the optimizer can do with the parameters at hand."""

import logging
from typing import Any

import pytest
import torch
from torch import nn

from mmengine.optim import build_optim_wrapper
from mmengine.registry import OPTIMIZERS


@OPTIMIZERS.register_module()
class NoFusedForm(torch.optim.Optimizer):
    def __init__(self, params: Any, lr: float = 0.1) -> None:
        super().__init__(params, {'lr': lr})


@OPTIMIZERS.register_module()
class NoKernel(torch.optim.SGD):
    """Takes the argument, but has no kernel for this device."""

    def __init__(self, params: Any, lr: float, fused: bool | None = None) -> None:
        super().__init__(params, lr=lr)
        self.wants_fused = fused

    def step(self, closure: Any = None) -> Any:
        if self.wants_fused:
            raise RuntimeError('no kernel\nfor this device')
        return super().step(closure)


def _optimizer(model: nn.Module, **options: Any) -> Any:
    paramwise = options.pop('paramwise_cfg', None)
    cfg = {'optimizer': {'lr': 0.1, 'fused': 'auto', **options}}
    return build_optim_wrapper(model, {**cfg, 'paramwise_cfg': paramwise}).optimizer


@pytest.mark.parametrize('kind', ['SGD', 'Adam', 'AdamW', torch.optim.AdamW])
def test_optimizers_of_torch_are_fused_where_torch_can(kind, caplog):
    """What torch can do on this machine, tried by hand."""
    param = nn.Parameter(torch.zeros(1))
    cls = getattr(torch.optim, kind) if isinstance(kind, str) else kind
    cls([param], lr=0.1, fused=True)  # raises RuntimeError where it cannot
    with caplog.at_level(logging.INFO):
        optimizer = _optimizer(nn.Linear(2, 2), type=kind)
    assert optimizer.defaults['fused'] is True
    assert all(group['fused'] is True for group in optimizer.param_groups)


def test_parameter_groups_are_looked_into():
    model = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    optimizer = _optimizer(model, type='SGD', paramwise_cfg={'norm_decay_mult': 0.0})
    assert len(optimizer.param_groups) > 1
    assert optimizer.defaults['fused'] is True


@pytest.mark.parametrize('kind', ['NoFusedForm', 'NoKernel'])
def test_an_optimizer_that_cannot_is_built_without(kind):
    optimizer = _optimizer(nn.Linear(2, 2), type=kind)
    assert type(optimizer).__name__ == kind
    assert not getattr(optimizer, 'wants_fused', None)


def test_complex_parameters_are_not_fused():
    model = nn.ParameterList([torch.zeros(2, dtype=torch.complex64)])
    assert not _optimizer(model, type='SGD').defaults['fused']


def test_sparse_gradients_are_not_fused():
    model = nn.Embedding(4, 2, sparse=True)
    assert not _optimizer(model, type='SGD').defaults['fused']


def test_parameters_without_memory_are_not_fused():
    assert not _optimizer(nn.Linear(2, 2, device='meta'), type='SGD').defaults['fused']


def test_foreach_wins_over_auto():
    assert not _optimizer(nn.Linear(2, 2), type='SGD', foreach=True).defaults['fused']


def test_other_values_are_left_to_the_optimizer():
    assert _optimizer(nn.Linear(2, 2), type='SGD', fused=False).defaults['fused'] is False
    cfg = {'optimizer': {'type': 'SGD', 'lr': 0.1}}
    assert build_optim_wrapper(nn.Linear(2, 2), cfg).optimizer.defaults['fused'] is None


@pytest.mark.parametrize(
    ('kind', 'text'),
    [
        ('SGD', "fused='auto': SGD is fused for torch.float32 on cpu."),
        ('NoKernel', "fused='auto': NoKernel is not fused for torch.float32 on cpu: no kernel"),
    ],
)
def test_the_choice_is_told_in_the_log(kind, text, monkeypatch):
    told: list[str] = []
    monkeypatch.setattr(
        'mmengine.optim.optimizer._fused.print_log', lambda line, logger: told.append(line)
    )
    _optimizer(nn.Linear(2, 2), type=kind)
    assert told == [text]


def test_a_fused_step_is_that_of_torch():
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    twin = nn.Linear(3, 2)
    twin.load_state_dict(model.state_dict())
    ours = _optimizer(model, type='AdamW')
    theirs = torch.optim.AdamW(twin.parameters(), lr=0.1, fused=True)
    for _ in range(3):
        for net, optimizer in ((model, ours), (twin, theirs)):
            net(torch.ones(1, 3)).sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert torch.equal(model.weight, twin.weight)
