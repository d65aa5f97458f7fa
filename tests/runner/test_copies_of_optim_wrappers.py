"""A copy of an optimizer wrapper that is made during a run belongs to no run."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import pytest
import torch
from runner_toy import NO_VALIDATION, Net, toy_runner

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper, OptimWrapperDict

KINDS = {'deepcopy': copy.deepcopy, 'pickle': lambda given: pickle.loads(pickle.dumps(given))}
SETTINGS = {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}


class Copies(Hook):
    """Copies the model and its wrapper together, so that the copy has the copied parameters."""

    def __init__(self, point: str, make: Callable[[Any], Any]) -> None:
        self.copied: Any = None
        self.make = make
        setattr(self, point, self._copy)

    def _copy(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        if self.copied is None and runner.iter in (0, 2):
            self.copied = self.make((runner.model, runner.optim_wrapper))


def _copied(tmp_path: Any, point: str, kind: str, **changes: Any) -> tuple[Net, OptimWrapper]:
    hook = Copies(point, KINDS[kind])
    runner = toy_runner(
        tmp_path, train_cfg={'by_epoch': True, 'max_epochs': 1}, **NO_VALIDATION,
        custom_hooks=[hook], **{'optim_wrapper': {'optimizer': SETTINGS}, **changes},
    )  # fmt: skip
    runner.train()
    return hook.copied


@pytest.mark.parametrize('kind', KINDS)
@pytest.mark.parametrize('point', ['before_train', 'after_train_iter'])
def test_a_copy_trains_its_own_parameters_as_torch_does(tmp_path, point, kind):
    model, wrapper = _copied(tmp_path, point, kind)
    parameters = [torch.nn.Parameter(one.detach().clone()) for one in model.parameters()]
    plain = torch.optim.SGD(parameters, lr=0.1, momentum=0.9)
    plain.load_state_dict(copy.deepcopy(wrapper.optimizer.state_dict()))
    weight, bias = parameters
    x, y = torch.tensor([[1.0]]), torch.tensor([[3.0]])
    for _ in range(3):
        plain.zero_grad()
        (x @ weight.T + bias - y).square().mean().backward()
        plain.step()
        wrapper.update_params(model(x, y, mode='loss')['loss'])
    assert torch.equal(model.linear.weight, weight)
    assert torch.equal(model.linear.bias, bias)


@pytest.mark.parametrize('kind', KINDS)
def test_a_copy_does_not_hold_the_run(tmp_path, kind):
    _, wrapper = _copied(tmp_path, 'after_train_iter', kind)
    fresh = OptimWrapper(torch.optim.SGD(Net().parameters(), lr=0.1))
    assert wrapper._run is fresh._run


def test_several_wrappers_are_copied_too(tmp_path):
    class Several(Net):
        def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, Any]:
            losses = self(**self.data_preprocessor(data, True), mode='loss')
            optim_wrapper['line'].update_params(losses['loss'])
            return losses

    model = Several()
    wrapper = OptimWrapperDict(line=OptimWrapper(torch.optim.SGD(model.parameters(), lr=0.1)))
    _, copied = _copied(
        tmp_path, 'after_train_iter', 'deepcopy', model=model, optim_wrapper=wrapper
    )
    fresh = OptimWrapper(torch.optim.SGD(Net().parameters(), lr=0.1))
    assert copied._run is copied['line']._run is fresh._run
