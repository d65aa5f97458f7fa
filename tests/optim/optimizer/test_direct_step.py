"""The optimizer's step without torch's decorators: the same bits, and who brings them back."""

import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import optimizer as torch_optimizer
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from mmengine.optim import AmpOptimWrapper, OptimWrapper
from mmengine.optim.optimizer import _direct_step
from mmengine.utils import _recorded

OPTIMIZERS: dict[str, tuple[Callable[..., torch.optim.Optimizer], dict[str, Any]]] = {
    'sgd': (torch.optim.SGD, {'lr': 0.1}),
    'sgd momentum': (torch.optim.SGD, {'lr': 0.1, 'momentum': 0.9, 'weight_decay': 0.01}),
    'sgd nesterov': (torch.optim.SGD, {'lr': 0.1, 'momentum': 0.9, 'nesterov': True}),
    'sgd foreach': (torch.optim.SGD, {'lr': 0.1, 'momentum': 0.9, 'foreach': True}),
    'sgd fused': (torch.optim.SGD, {'lr': 0.1, 'momentum': 0.9, 'fused': True}),
    'adam': (torch.optim.Adam, {'lr': 0.01}),
    'adam amsgrad': (torch.optim.Adam, {'lr': 0.01, 'amsgrad': True, 'weight_decay': 0.01}),
    'adamw': (torch.optim.AdamW, {'lr': 0.01}),
    'adamw fused': (torch.optim.AdamW, {'lr': 0.01, 'fused': True}),
    'rmsprop': (torch.optim.RMSprop, {'lr': 0.01, 'centered': True, 'momentum': 0.9}),
    'adagrad': (torch.optim.Adagrad, {'lr': 0.01}),
    'adadelta': (torch.optim.Adadelta, {}),
    'nadam': (torch.optim.NAdam, {'lr': 0.01}),
    'radam': (torch.optim.RAdam, {'lr': 0.01}),
}


def make_model() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.Tanh(), nn.Linear(8, 2))


def batches(count: int = 10) -> list[torch.Tensor]:
    return list(torch.randn(count, 3, 4, generator=torch.Generator().manual_seed(1)))


class Case:
    """A wrapper around an SGD with one parameter of 1.0, whose gradient is 1.0."""

    def __init__(self, **defaults: Any) -> None:
        self.param = nn.Parameter(torch.ones(1))
        self.optimizer = torch.optim.SGD([self.param], lr=0.25, **defaults)
        self.wrapper = OptimWrapper(self.optimizer)

    @property
    def is_direct(self) -> bool:
        return _direct_step.undecorated_step(self.optimizer) is not None

    def update(self) -> None:
        self.wrapper.update_params(self.param.sum())


@pytest.fixture
def case() -> Case:
    """A case after one direct step."""
    case = Case()
    case.update()
    assert case.is_direct
    return case


# Bits


@pytest.mark.parametrize('name', OPTIMIZERS)
@pytest.mark.parametrize('wrapper_class', [OptimWrapper, AmpOptimWrapper])
@pytest.mark.parametrize('calls', ['update_params', 'one by one'])
def test_weights_and_state_are_those_of_plain_torch(name, wrapper_class, calls) -> None:
    build, kwargs = OPTIMIZERS[name]
    by_hand, model = make_model(), make_model()
    optimizer = build(by_hand.parameters(), **kwargs)
    kwargs_of_class = {'dtype': 'bfloat16'} if wrapper_class is AmpOptimWrapper else {}
    wrapper = wrapper_class(optimizer=build(model.parameters(), **kwargs), **kwargs_of_class)
    assert _direct_step.undecorated_step(wrapper.optimizer) is not None
    for batch in batches():
        by_hand(batch).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        loss = model(batch).square().mean()
        if calls == 'update_params':
            wrapper.update_params(loss)
        else:
            wrapper.backward(loss)
            wrapper.step()
            wrapper.zero_grad()
    assert all(param.grad is None for param in model.parameters())
    torch.testing.assert_close(model.state_dict(), by_hand.state_dict(), rtol=0, atol=0)
    torch.testing.assert_close(
        wrapper.optimizer.state_dict()['state'], optimizer.state_dict()['state'], rtol=0, atol=0
    )


def test_gradients_are_clipped_before_a_direct_step() -> None:
    case = Case()
    case.wrapper = OptimWrapper(case.optimizer, clip_grad={'max_norm': 0.5})
    case.update()
    # The gradient of 1 becomes 0.5 (up to clip_grad_norm_'s 1e-6): 1 - 0.25 * 0.5.
    assert case.param.item() == pytest.approx(0.875, abs=1e-5)


@pytest.mark.parametrize('is_enabled', [True, False])
def test_grad_mode_is_put_back(case: Case, is_enabled: bool) -> None:
    case.param.grad = torch.ones(1)
    with torch.set_grad_enabled(is_enabled):
        case.wrapper.step()
        assert torch.is_grad_enabled() is is_enabled


def test_grad_mode_is_put_back_after_an_error(case: Case) -> None:
    case.param.grad = torch.ones(1)
    case.optimizer.param_groups[0]['lr'] = 'fast'
    with pytest.raises(TypeError):
        case.wrapper.step()
    assert torch.is_grad_enabled()


def test_direct_step_leaves_profiler_labels_out(case: Case, monkeypatch) -> None:
    labels = []
    init = torch.autograd.profiler.record_function.__init__

    def note(self, name: str) -> None:
        labels.append(name)
        init(self, name)

    monkeypatch.setattr(torch.autograd.profiler.record_function, '__init__', note)
    case.update()
    assert labels == []
    OptimWrapper.direct_step, kept = False, OptimWrapper.direct_step
    try:
        case.update()
    finally:
        OptimWrapper.direct_step = kept
    assert labels == ['Optimizer.step#SGD.step', 'Optimizer.zero_grad#SGD.zero_grad']


# Parameters that change


def test_group_added_later_is_stepped_and_zeroed(case: Case) -> None:
    other = nn.Parameter(torch.ones(1))
    case.optimizer.add_param_group({'params': [other], 'lr': 0.5})
    case.wrapper.update_params((case.param + other).sum())
    assert (case.param.item(), other.item()) == (0.5, 0.5)  # 1 - 2 * 0.25, and 1 - 0.5
    assert case.param.grad is None
    assert other.grad is None


def test_parameter_replaced_in_its_group_is_stepped_and_zeroed(case: Case) -> None:
    other = nn.Parameter(torch.ones(1))
    case.optimizer.param_groups[0]['params'][0] = other
    case.param.grad = torch.ones(1)
    case.wrapper.update_params(other.sum())
    assert other.item() == 0.75
    assert other.grad is None
    assert case.param.item() == 0.75  # of the first step
    assert case.param.grad is not None


def test_unfrozen_parameter_appended_to_its_group_is_stepped(case: Case) -> None:
    other = nn.Parameter(torch.ones(1))
    case.optimizer.param_groups[0]['params'].append(other)
    case.wrapper.update_params(other.sum())
    assert (other.item(), other.grad) == (0.75, None)


# Hooks and patches of the optimizer


@pytest.mark.parametrize('register', ['register_step_pre_hook', 'register_step_post_hook'])
def test_hook_of_the_optimizer_is_called_in_the_very_step(case: Case, register: str) -> None:
    calls = []
    handle = getattr(case.optimizer, register)(lambda *args: calls.append(args))
    case.update()
    assert len(calls) == 1
    handle.remove()
    assert case.is_direct


@pytest.mark.parametrize('moment', ['pre', 'post'])
def test_global_hook_is_called_in_the_very_step(case: Case, moment: str) -> None:
    calls = []
    register = getattr(torch_optimizer, f'register_optimizer_step_{moment}_hook')
    handle = register(lambda *args: calls.append(args))
    try:
        case.update()
    finally:
        handle.remove()
    assert len(calls) == 1
    assert case.is_direct


@pytest.mark.parametrize('name', ['step', 'zero_grad', '_optimizer_step_code'])
@pytest.mark.parametrize('place', ['instance', 'class'])
def test_patched_method_is_called_in_the_very_step(case: Case, monkeypatch, name, place) -> None:
    calls = []
    if place == 'instance':
        monkeypatch.setattr(case.optimizer, name, lambda: calls.append(name))
    else:
        monkeypatch.setattr(torch.optim.SGD, name, lambda self: calls.append(name))
    case.update()
    assert calls == [name]


def test_patched_zero_grad_of_the_base_class_is_called(case: Case, monkeypatch) -> None:
    calls = []
    monkeypatch.setattr(torch.optim.Optimizer, 'zero_grad', lambda self: calls.append(1))
    case.update()
    assert calls == [1]


def test_methods_that_a_subclass_overrides_are_called() -> None:
    calls = []

    class Mine(torch.optim.SGD):
        def step(self, closure=None):
            calls.append('step')
            return super().step(closure)

        def zero_grad(self, set_to_none=True):
            calls.append('zero_grad')
            super().zero_grad(set_to_none)

    param = nn.Parameter(torch.ones(1))
    OptimWrapper(Mine([param], lr=0.25)).update_params(param.sum())
    assert (calls, param.item(), param.grad) == (['step', 'zero_grad'], 0.75, None)


def test_subclass_that_overrides_neither_is_stepped_directly() -> None:
    class Mine(torch.optim.SGD):
        pass

    optimizer = Mine([nn.Parameter(torch.ones(1))], lr=0.25)
    assert _direct_step.undecorated_step(optimizer) is not None


def test_attribute_access_that_a_subclass_replaces_is_kept() -> None:
    names = []

    class Mine(torch.optim.SGD):
        def __getattribute__(self, name):
            names.append(name)
            return super().__getattribute__(name)

    param = nn.Parameter(torch.ones(1))
    wrapper = OptimWrapper(Mine([param], lr=0.25))
    names.clear()
    wrapper.update_params(param.sum())
    assert 'step' in names
    assert 'zero_grad' in names


def test_optimizer_with_another_decorator_is_called_plainly() -> None:
    class Lamb(torch.optim.Optimizer):
        @torch.no_grad()
        def step(self, closure=None):
            for group in self.param_groups:
                for param in group['params']:
                    param.sub_(param.grad, alpha=group['lr'])

    param = nn.Parameter(torch.ones(1))
    optimizer = Lamb([param], {'lr': 0.25})
    assert _direct_step.undecorated_step(optimizer) is None
    OptimWrapper(optimizer).update_params(param.sum())
    assert param.item() == 0.75


def test_object_that_is_no_torch_optimizer_is_called_plainly() -> None:
    class Engine:
        param_groups: list[dict[str, Any]] = []  # read only
        calls: list[str] = []

        def step(self) -> None:
            self.calls.append('step')

        def zero_grad(self) -> None:
            self.calls.append('zero_grad')

    param = nn.Parameter(torch.ones(1))
    OptimWrapper(Engine()).update_params(param.sum())
    assert Engine.calls == ['step', 'zero_grad']


def test_differentiable_step_is_plain() -> None:
    case = Case(differentiable=True)
    assert not case.is_direct
    case.optimizer.defaults['differentiable'] = False
    assert case.is_direct


# torch's schedulers


@pytest.mark.parametrize('is_direct', [True, False], ids=['direct', 'plain'])
@pytest.mark.parametrize('steps_first', [True, False], ids=['step first', 'schedule first'])
def test_scheduler_of_torch_warns_as_with_plain_calls(is_direct, steps_first) -> None:
    case = Case()
    case.wrapper.direct_step = is_direct
    case.update()  # before there is a scheduler
    scheduler = torch.optim.lr_scheduler.StepLR(case.optimizer, 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter('always')
        if steps_first:
            case.update()
        scheduler.step()
    messages = [str(warning.message) for warning in caught]
    if steps_first:
        assert messages == []
    else:
        assert len(messages) == 1
        assert 'before `optimizer.step()`' in messages[0]
    assert getattr(case.optimizer, '_opt_called', False) is steps_first


# Profilers, modes, the compiler


def labels_of(profile: Any) -> set[str]:
    return {event.key for event in profile.key_averages() if event.key.startswith('Optimizer.')}


LABELS = {'Optimizer.step#SGD.step', 'Optimizer.zero_grad#SGD.zero_grad'}


@pytest.mark.parametrize(
    'profiler',
    [
        lambda: torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]),
        lambda: torch.autograd.profiler.profile(use_kineto=True),
        lambda: torch.autograd.profiler.profile(use_kineto=False),
    ],
    ids=['torch.profiler', 'autograd kineto', 'autograd'],
)
def test_profiler_sees_both_calls_of_the_very_step(case: Case, profiler) -> None:
    with profiler() as profile:
        case.update()
    assert labels_of(profile) == LABELS
    assert case.is_direct


def test_profiler_sees_calls_one_by_one(case: Case) -> None:
    case.param.grad = torch.ones(1)
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU]) as profile:
        case.wrapper.step()
        case.wrapper.zero_grad()
    assert labels_of(profile) == LABELS


@pytest.mark.parametrize('emit', ['emit_nvtx', 'emit_itt'])
def test_marks_for_other_profilers_end_direct_steps(case: Case, monkeypatch, emit: str) -> None:
    # Neither library is there on every machine; all that is left out is its start.
    for name in ('_enable_profiler', '_disable_profiler'):
        monkeypatch.setattr(torch.autograd.profiler, name, lambda *args: None)
    monkeypatch.setattr(torch.cuda, 'synchronize', lambda: None)
    with getattr(torch.autograd.profiler, emit)():
        assert not case.is_direct
    assert case.is_direct


def test_profiler_of_another_thread_ends_direct_steps(case: Case) -> None:
    is_started, may_stop = threading.Event(), threading.Event()

    def profile() -> None:
        with torch.autograd.profiler.profile(use_kineto=True):
            is_started.set()
            may_stop.wait(30)

    thread = threading.Thread(target=profile)
    thread.start()
    try:
        assert is_started.wait(30)
        assert not case.is_direct
    finally:
        may_stop.set()
        thread.join()
    assert case.is_direct


def test_replaced_record_function_is_called(case: Case, monkeypatch) -> None:
    labels = []

    class Note(torch.autograd.profiler.record_function):
        def __init__(self, name: str) -> None:
            labels.append(name)
            super().__init__(name)

    monkeypatch.setattr(torch.autograd.profiler, 'record_function', Note)
    case.update()
    assert set(labels) == LABELS


@pytest.mark.parametrize('name', ['__enter__', '__exit__'])
def test_method_of_record_function_that_is_replaced_later_is_called(
    case: Case, monkeypatch, name: str
) -> None:
    assert case.is_direct
    labels = []
    original = getattr(torch.autograd.profiler.record_function, name)

    def note(self, *args: Any) -> Any:
        labels.append(self.name)
        return original(self, *args)

    monkeypatch.setattr(torch.autograd.profiler.record_function, name, note)
    case.update()
    assert set(labels) == LABELS


def test_profiler_daemon_ends_direct_steps(case: Case, monkeypatch) -> None:
    monkeypatch.setattr(_recorded, '_HAS_PROFILER_DAEMON', True)
    assert not case.is_direct


def test_monitor_of_the_gpu_ends_direct_steps(case: Case, monkeypatch) -> None:
    class Module:
        _monitor_singleton: object = None

    monkeypatch.setitem(sys.modules, 'torch.profiler._cupti_monitor', Module())
    assert case.is_direct
    monkeypatch.setattr(Module, '_monitor_singleton', object())
    assert not case.is_direct


def test_dispatch_mode_sees_the_labels(case: Case) -> None:
    operators = []

    class Note(TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            operators.append(str(func))
            return func(*args, **kwargs or {})

    case.param.grad = torch.ones(1)
    with Note():
        case.wrapper.step()
    assert any('_record_function_enter' in name for name in operators)
    assert case.is_direct


def test_function_mode_gets_plain_calls(case: Case) -> None:
    class Note(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            return func(*args, **kwargs or {})

    with Note():
        assert not case.is_direct
    assert case.is_direct


def test_compiler_gets_plain_calls(case: Case, monkeypatch) -> None:
    monkeypatch.setattr(torch.compiler, 'is_compiling', lambda: True)
    assert not case.is_direct


# Another torch


@pytest.fixture
def forgets() -> Iterator[Callable[[], None]]:
    """Forget what was found out about classes and torch, now and after the test."""

    def forget() -> None:
        _direct_step._beneath_both_decorators.cache_clear()
        _recorded.knows_announcements.cache_clear()

    yield forget
    forget()


@pytest.mark.parametrize(
    ('module', 'function'),
    [(module, name) for module in (_direct_step, _recorded) for name in module._KNOWN_NAMES],
)
def test_function_of_torch_with_a_new_name_makes_all_calls_plain(
    case: Case, monkeypatch, forgets, module, function: str
) -> None:
    names = module._KNOWN_NAMES[function]
    fewer = set(sorted(names)[1:])  # as if torch had begun to use the first
    known = {**module._KNOWN_NAMES, function: fewer}
    if not names:
        known.pop(function)
    monkeypatch.setattr(module, '_KNOWN_NAMES', known)
    forgets()
    assert not case.is_direct
    case.update()
    assert case.param.item() == 0.5  # the second step of 0.25


@pytest.mark.parametrize(
    ('module', 'name'),
    [(module, name) for module in (_direct_step, _recorded) for name in module._USED],
)
def test_torch_without_something_used_makes_all_calls_plain(
    case: Case, monkeypatch, forgets, module, name: str
) -> None:
    monkeypatch.setattr(module, '_USED', (*module._USED, f'{name}_gone'))
    forgets()
    assert not case.is_direct


@pytest.mark.parametrize(
    ('owner', 'name'),
    [
        (torch.optim.Optimizer, 'profile_hook_step'),
        (torch_optimizer, '_use_grad_for_differentiable'),
        (torch._compile, '_disable_dynamo'),
    ],
)
def test_torch_without_a_decorator_makes_all_calls_plain(
    case: Case, monkeypatch, forgets, owner, name: str
) -> None:
    monkeypatch.delattr(owner, name)
    forgets()
    assert not case.is_direct


# The wrapper


def test_keywords_reach_the_optimizer(case: Case) -> None:
    seen = []

    def closure() -> float:
        seen.append(1)
        return 0.0

    case.wrapper.update_params(
        case.param.sum(), step_kwargs={'closure': closure}, zero_kwargs={'set_to_none': False}
    )
    assert seen == [1]
    torch.testing.assert_close(case.param.grad, torch.zeros(1))


@pytest.mark.parametrize('name', ['step', 'zero_grad'])
def test_method_that_a_wrapper_overrides_is_called(name: str) -> None:
    calls = []

    def method(self, **kwargs) -> None:
        calls.append(name)
        getattr(OptimWrapper, name)(self, **kwargs)

    case = Case()
    case.wrapper = type('Mine', (OptimWrapper,), {name: method})(case.optimizer)
    case.update()
    assert (calls, case.param.item(), case.param.grad) == ([name], 0.75, None)


@pytest.mark.parametrize('name', ['step', 'zero_grad'])
@pytest.mark.parametrize('place', ['instance', 'class'])
def test_method_patched_on_a_wrapper_is_called(case: Case, monkeypatch, name, place) -> None:
    calls = []
    target = case.wrapper if place == 'instance' else OptimWrapper
    monkeypatch.setattr(target, name, lambda *args: calls.append(name))
    case.update()
    assert calls == [name]


@pytest.mark.parametrize('clips', [True, False])
def test_switch_on_one_wrapper_brings_plain_calls_back(case: Case, monkeypatch, clips) -> None:
    if clips:
        case.wrapper = OptimWrapper(case.optimizer, clip_grad={'max_norm': 5.0})
    case.wrapper.direct_step = False

    def fail(optimizer: Any) -> None:
        raise AssertionError('looked for the undecorated step')

    monkeypatch.setattr(_direct_step, 'undecorated_step', fail)
    case.update()
    case.wrapper.step()
    case.wrapper.zero_grad()
    assert case.param.item() == 0.5


def test_scaler_in_use_steps_the_optimizer_itself() -> None:
    param = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([param], lr=0.25)
    wrapper = AmpOptimWrapper(optimizer=optimizer, dtype='float16', loss_scale=4.0)
    calls, step = [], wrapper.loss_scaler.step
    wrapper.loss_scaler.step = lambda *args: (calls.append(1), step(*args))
    wrapper.update_params(param.sum())
    assert (calls, param.item()) == ([1], 0.75)


def test_step_of_a_custom_scaler_is_called_though_it_is_disabled() -> None:
    calls = []

    class Scaler(torch.amp.GradScaler):
        def step(self, optimizer, *args, **kwargs):
            calls.append(1)
            return super().step(optimizer, *args, **kwargs)

    param = nn.Parameter(torch.ones(1))
    optimizer = torch.optim.SGD([param], lr=0.25)
    wrapper = AmpOptimWrapper(optimizer=optimizer, dtype='bfloat16')
    wrapper.loss_scaler = Scaler('cpu', enabled=False)
    wrapper.update_params(param.sum())
    assert (calls, param.item()) == ([1], 0.75)
