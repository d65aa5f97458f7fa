"""The backward pass by the short way: the same bits, and who gets the call of torch."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.optim.optimizer import _direct_backward
from mmengine.optim.optimizer._direct_backward import run_backward


class Case:
    """A parameter of 1.0 in a wrapper that never steps, and a note of torch's own calls."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.param = nn.Parameter(torch.ones(()))
        self.plain_calls = 0
        monkeypatch.setattr(torch.autograd, '_make_grads', self._note)

    def _note(self, *args: Any, **kwargs: Any) -> Any:
        self.plain_calls += 1
        return MAKE_GRADS(*args, **kwargs)

    def loss(self) -> Tensor:
        return self.param * 3


MAKE_GRADS = torch.autograd._make_grads


@pytest.fixture
def case(monkeypatch) -> Case:
    return Case(monkeypatch)


@pytest.mark.parametrize('wrapper_class', [OptimWrapper, AmpOptimWrapper])
@pytest.mark.parametrize('dtype', [torch.float32, torch.float64, torch.bfloat16])
def test_gradients_are_those_of_plain_torch(wrapper_class, dtype) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2)).to(dtype)
    by_hand = [param.detach().clone().requires_grad_() for param in model.parameters()]
    inputs = torch.randn(3, 4, dtype=dtype)
    kwargs = {'dtype': 'bfloat16'} if wrapper_class is AmpOptimWrapper else {}
    wrapper = wrapper_class(optimizer=torch.optim.SGD(model.parameters(), lr=0.0), **kwargs)

    def loss_of(params: list[Tensor]) -> Tensor:
        names = dict(zip((name for name, _ in model.named_parameters()), params, strict=True))
        return torch.func.functional_call(model, names, (inputs,)).square().mean()

    for _ in range(2):  # the second pass adds to the gradients of the first
        wrapper.backward(loss_of(list(model.parameters())))
        loss_of(by_hand).backward()
    for param, expected in zip(model.parameters(), by_hand, strict=True):
        torch.testing.assert_close(param.grad, expected.grad, rtol=0, atol=0)


def test_plain_loss_goes_the_short_way(case: Case) -> None:
    run_backward(case.loss(), {})
    assert case.param.grad == 3
    assert case.plain_calls == 0


def test_graph_is_freed_as_by_torch(case: Case) -> None:
    loss = case.param.exp()
    run_backward(loss, {})
    with pytest.raises(RuntimeError, match='second time'):
        run_backward(loss, {})


def test_hooks_see_the_gradients(case: Case) -> None:
    seen: list[float] = []
    loss = case.loss()
    loss.register_hook(lambda gradient: seen.append(gradient.item()))
    case.param.register_post_accumulate_grad_hook(lambda param: seen.append(param.grad.item()))
    run_backward(loss, {})
    assert seen == [1, 3]


def test_gradient_that_a_loss_retains_is_not_shared(case: Case) -> None:
    first, second = case.loss(), case.loss()
    for loss in (first, second):
        loss.retain_grad()
        run_backward(loss, {})
    first.grad.zero_()
    assert (first.grad, second.grad) == (0, 1)


@pytest.mark.parametrize('kwargs', [{'retain_graph': True}, {'create_graph': True}])
@pytest.mark.filterwarnings('ignore:Using backward')
def test_arguments_reach_torch(case: Case, kwargs) -> None:
    loss = case.param.exp()
    run_backward(loss, kwargs)
    loss.backward()  # the graph is still there
    assert case.plain_calls == 2


def test_switch_brings_the_call_of_torch_back(case: Case) -> None:
    wrapper = OptimWrapper(torch.optim.SGD([case.param], lr=0.0))
    wrapper.direct_step = False
    wrapper.backward(case.loss())
    assert case.plain_calls == 1


@pytest.mark.parametrize(
    ('loss_of', 'message'),
    [
        (lambda param: torch.stack([param, param]), 'scalar outputs'),
        (lambda param: param.detach(), 'does not require grad'),
        (lambda param: param * 1j, 'real scalar outputs'),
    ],
)
def test_errors_are_those_of_torch(case: Case, loss_of: Callable[..., Tensor], message) -> None:
    with pytest.raises(RuntimeError, match=message):
        run_backward(loss_of(case.param), {})


def test_loss_of_one_element_with_dimensions_is_accepted(case: Case) -> None:
    run_backward(case.loss().reshape(1, 1), {})
    assert case.param.grad == 3


def test_subclass_of_tensor_gets_its_own_call(case: Case) -> None:
    calls: list[str] = []

    class Mine(Tensor):
        def backward(self, *args: Any, **kwargs: Any) -> None:
            calls.append('backward')
            super().backward(*args, **kwargs)

    run_backward(case.loss().as_subclass(Mine), {})
    assert calls == ['backward']


@pytest.mark.parametrize('owner', [Tensor, torch.autograd])
def test_function_that_is_replaced_is_called(case: Case, monkeypatch, owner) -> None:
    calls: list[Any] = []
    monkeypatch.setattr(owner, 'backward', lambda *args, **kwargs: calls.append(args))
    run_backward(case.loss(), {})
    assert len(calls) == 1


def test_method_on_one_loss_is_called(case: Case) -> None:
    calls: list[str] = []
    loss = case.loss()
    loss.backward = lambda: calls.append('own')
    run_backward(loss, {})
    assert calls == ['own']


def test_function_mode_sees_the_call(case: Case) -> None:
    names: list[str] = []

    class Note(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            names.append(getattr(func, '__name__', ''))
            return func(*args, **kwargs or {})

    loss = case.loss()
    with Note():
        run_backward(loss, {})
    assert 'backward' in names


def test_functorch_transform_is_refused_as_by_torch(case: Case) -> None:
    def inner(value: Tensor) -> Tensor:
        run_backward(case.loss(), {})
        return value

    with pytest.raises(RuntimeError, match='functorch transform'):
        torch.func.vmap(inner)(torch.ones(2))


def test_function_of_torch_with_a_new_name_makes_the_call_plain(case: Case, monkeypatch) -> None:
    names = {'backward': _direct_backward._KNOWN_NAMES['backward'] - {'_make_grads'}}
    monkeypatch.setattr(_direct_backward, '_KNOWN_NAMES', names)
    _direct_backward._is_known_torch.cache_clear()
    try:
        run_backward(case.loss(), {})
    finally:
        _direct_backward._is_known_torch.cache_clear()
    assert (case.plain_calls, case.param.grad) == (1, 3)
