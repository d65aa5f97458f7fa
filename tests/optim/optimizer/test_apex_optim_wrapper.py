"""ApexOptimWrapper, without Apex and over a small stand-in for its interface."""

import sys
import types
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from mmengine.optim import ApexOptimWrapper


def test_missing_apex_is_named_with_the_way_to_install_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, 'apex', None)
    with pytest.raises(ImportError, match='pip install'):
        ApexOptimWrapper(optimizer=torch.optim.SGD(nn.Linear(1, 1).parameters(), lr=0.1))


class FakeAmp(types.ModuleType):
    """Scales losses by four, as Apex does with its own number, and unscales after backward."""

    def __init__(self) -> None:
        super().__init__('apex.amp')
        self.calls: list[tuple] = []

    def initialize(self, model, optimizer, **kwargs):
        self.calls.append(('initialize', kwargs['opt_level'], kwargs['loss_scale']))
        optimizer._amp_stash = object()
        return model, optimizer

    @contextmanager
    def scale_loss(self, loss, optimizer):
        yield loss * 4
        for group in optimizer.param_groups:
            for param in group['params']:
                param.grad /= 4

    def state_dict(self):
        return {'loss_scaler0': {'loss_scale': 4}}

    def load_state_dict(self, state):
        self.calls.append(('load', state))


@pytest.fixture
def amp(monkeypatch: pytest.MonkeyPatch) -> FakeAmp:
    package, amp = types.ModuleType('apex'), FakeAmp()
    package.amp = amp
    monkeypatch.setitem(sys.modules, 'apex', package)
    monkeypatch.setitem(sys.modules, 'apex.amp', amp)
    return amp


def make() -> tuple[nn.Parameter, ApexOptimWrapper]:
    param = nn.Parameter(torch.tensor(1.0))
    optimizer = torch.optim.SGD([param], lr=0.1)
    return param, ApexOptimWrapper(optimizer=optimizer, opt_level='O2', loss_scale=4.0)


def test_model_is_handed_to_apex_once_and_losses_are_scaled(amp: FakeAmp) -> None:
    param, wrapper = make()
    for _ in range(2):
        with wrapper.optim_context(nn.Identity()):
            loss = param * 3
        wrapper.update_params(loss)
    assert amp.calls == [('initialize', 'O2', 4.0)]
    assert param.item() == pytest.approx(1 - 0.3 - 0.3)
    assert wrapper.inner_count == 2


def test_scaler_state_that_was_loaded_early_waits_for_the_model(amp: FakeAmp) -> None:
    _, wrapper = make()
    with wrapper.optim_context(nn.Identity()):
        pass
    state = wrapper.state_dict()
    assert state['apex_amp'] == {'loss_scaler0': {'loss_scale': 4}}
    amp.calls.clear()
    _, other = make()
    other.load_state_dict(state)
    assert amp.calls == []
    with other.optim_context(nn.Identity()):
        pass
    assert amp.calls == [
        ('initialize', 'O2', 4.0),
        ('load', {'loss_scaler0': {'loss_scale': 4}}),
    ]
