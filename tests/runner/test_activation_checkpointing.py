"""Recomputing activations changes memory, not results."""

from collections import OrderedDict

import pytest
import torch
from runner_toy import Net, parameters, toy_runner
from torch import nn

from mmengine.runner import turn_on_activation_checkpointing


class Counting(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.calls = 0

    def forward(self, x: torch.Tensor, *, scale: float = 1.0) -> torch.Tensor:
        self.calls += 1
        return torch.dropout(torch.tanh(self.linear(x)) * scale, 0.5, self.training)


def _net() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(OrderedDict(a=Counting(), b=nn.Sequential(Counting(), Counting())))


def _gradients(net: nn.Module) -> list[torch.Tensor]:
    torch.manual_seed(5)
    net(torch.randn(3, 4)).sum().backward()
    return [parameter.grad for parameter in net.parameters()]


@pytest.mark.parametrize(
    ('names', 'calls'), [('a', [2, 1, 1]), (['b'], [1, 2, 2]), (['a', 'b.1'], [2, 1, 2])]
)
def test_gradients_are_the_same_and_only_the_named_parts_run_twice(names, calls):
    net = _net()
    turn_on_activation_checkpointing(net, names)
    for ours, plain in zip(_gradients(net), _gradients(_net()), strict=True):
        assert torch.equal(ours, plain)
    assert [net.a.calls, net.b[0].calls, net.b[1].calls] == calls


def test_arguments_by_name_are_passed_on():
    net = _net()
    turn_on_activation_checkpointing(net, 'a')
    assert torch.equal(net.a.eval()(torch.ones(1, 4), scale=0.0), torch.zeros(1, 4))


def test_an_unknown_name_changes_nothing_and_names_the_near_one():
    net = _net()
    with pytest.raises(KeyError, match=r"no sub-module 'b\.l'.*b\.1"):
        turn_on_activation_checkpointing(net, ['a', 'b.l'])
    assert 'forward' not in vars(net.a)


def test_a_config_turns_it_on(tmp_path):
    class Two(Net):
        def __init__(self) -> None:
            super().__init__()
            self.inner = Counting()

        def forward(self, x, y, mode):
            if mode == 'loss':
                self.inner(torch.ones(1, 4, requires_grad=True)).sum().backward()
            return super().forward(x, y, mode)

    plain = toy_runner(tmp_path, model=Two())
    plain.train()
    runner = toy_runner(tmp_path, model=Two(), cfg={'activation_checkpointing': ['inner']})
    runner.train()
    assert runner.model.inner.calls == 2 * plain.model.inner.calls
    assert parameters(runner.model) == parameters(plain.model)
