"""The face of OptimWrapper: arguments, rates, clipping, state, and losses that are not finite."""

import logging
import os
import sys
from collections.abc import Callable
from contextlib import contextmanager

import pytest
import torch
from torch import nn

from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.optim.optimizer._run import Standalone
from mmengine.utils.errors import ArgumentError


def sgd(*rates: float, **kwargs) -> torch.optim.SGD:
    """An optimizer with a group of one parameter for each rate."""
    groups = [{'params': [nn.Parameter(torch.ones(2))], 'lr': rate} for rate in rates]
    return torch.optim.SGD(groups, lr=0.5, **kwargs)


@pytest.fixture
def hub() -> MessageHub:
    return MessageHub('test_optim_wrapper')


class Run(Standalone):
    """A run with a hub and a position."""

    finished_iters = None

    def __init__(self, hub: MessageHub) -> None:
        self.hub = hub
        self.clipped: list[str] = []

    @property
    def message_hub(self) -> MessageHub:
        return self.hub

    def clip_grad(self, params, clip_type, **kwargs):
        self.clipped.append(clip_type)
        return super().clip_grad(params, clip_type, **kwargs)


def test_optimizer_without_groups_is_refused() -> None:
    with pytest.raises(TypeError, match='got str'):
        OptimWrapper('SGD')


@pytest.mark.parametrize('counts', [0, -1, 1.5, '2', None])
def test_accumulation_over_less_than_one_whole_batch_is_refused(counts: object) -> None:
    with pytest.raises(ArgumentError, match='accumulative_counts'):
        OptimWrapper(sgd(0.1), accumulative_counts=counts)


@pytest.mark.parametrize(
    ('clip_grad', 'says'),
    [
        (1.0, 'max_norm'),
        ({}, 'max_norm'),
        (dict(type='norn', max_norm=1), "Did you mean 'norm'"),
        (dict(type='value', max_norm=1), "needs 'clip_value'"),
        (dict(norm_type=2), "needs 'max_norm'"),
    ],
)
def test_unclear_clipping_is_refused(clip_grad: object, says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        OptimWrapper(sgd(0.1), clip_grad=clip_grad)


def test_clip_grad_is_not_changed() -> None:
    clip_grad = dict(type='value', clip_value=0.1)
    OptimWrapper(sgd(0.1), clip_grad=clip_grad)
    assert clip_grad == dict(type='value', clip_value=0.1)


def test_one_group_has_one_rate_and_no_base_rate() -> None:
    assert OptimWrapper(sgd(0.1)).get_lr() == {'lr': [0.1]}


def test_several_groups_have_a_base_rate_beside_their_own() -> None:
    wrapper = OptimWrapper(sgd(0.1, 0.2))
    assert wrapper.get_lr() == {'base_lr': [0.5], 'lr': [0.1, 0.2]}


def test_base_rate_follows_what_schedulers_do_to_the_groups() -> None:
    wrapper = OptimWrapper(sgd(0.1, 0.2))
    for group in wrapper.param_groups:
        group['lr'] *= 2
    assert wrapper.get_lr() == {'base_lr': [1.0], 'lr': [0.2, 0.4]}


def test_base_group_is_not_one_of_the_optimizer() -> None:
    wrapper = OptimWrapper(sgd(0.1, 0.2))
    assert len(wrapper.param_groups) == 3
    assert len(wrapper.optimizer.param_groups) == 2


@pytest.mark.parametrize(
    ('make', 'momentum'),
    [
        (lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.7), 0.7),
        (lambda p: torch.optim.Adam(p, betas=(0.8, 0.99)), 0.8),
        (lambda p: torch.optim.Adagrad(p), 0),
    ],
    ids=['momentum', 'betas', 'neither'],
)
def test_momentum_is_read_where_the_optimizer_keeps_it(make, momentum: float) -> None:
    wrapper = OptimWrapper(make([nn.Parameter(torch.ones(1))]))
    assert wrapper.get_momentum() == {'momentum': [momentum]}


def test_defaults_are_those_of_the_optimizer() -> None:
    assert OptimWrapper(sgd(0.1)).defaults['lr'] == 0.5


def test_state_of_the_base_group_survives_a_round_trip() -> None:
    wrapper = OptimWrapper(sgd(0.1, 0.2))
    wrapper.param_groups[-1].update(lr=0.03, initial_lr=0.5)
    other = OptimWrapper(sgd(1.0, 1.0))
    other.load_state_dict(wrapper.state_dict())
    assert other.get_lr() == {'base_lr': [0.03], 'lr': [0.1, 0.2]}
    assert other.base_param_settings['initial_lr'] == 0.5


def test_saved_state_does_not_follow_later_changes_of_the_base_group() -> None:
    wrapper = OptimWrapper(sgd(0.1, 0.2))
    state = wrapper.state_dict()
    wrapper.param_groups[-1]['lr'] = 7.0
    assert state['base_param_settings']['lr'] == 0.5


def test_state_of_a_plain_optimizer_loads() -> None:
    wrapper = OptimWrapper(sgd(1.0, 1.0))
    wrapper.load_state_dict(sgd(0.1, 0.2).state_dict())
    assert wrapper.get_lr()['lr'] == [0.1, 0.2]


def test_norm_before_clipping_is_recorded(hub: MessageHub) -> None:
    param = nn.Parameter(torch.tensor([1.0, 1.0]))
    wrapper = OptimWrapper(torch.optim.SGD([param], lr=1.0), clip_grad=dict(max_norm=1.0))
    wrapper.message_hub = hub
    wrapper.update_params((param * torch.tensor([3.0, 4.0])).sum())
    # |(3, 4)| = 5, so that the step is (0.6, 0.8)
    assert float(hub.get_scalar('train/grad_norm').current()) == pytest.approx(5.0)
    torch.testing.assert_close(param.detach(), torch.tensor([0.4, 0.2]), rtol=1e-5, atol=1e-6)


def test_norm_is_not_read_back_when_recorded(hub: MessageHub, monkeypatch) -> None:
    param = nn.Parameter(torch.ones(2))
    wrapper = OptimWrapper(torch.optim.SGD([param], lr=1.0), clip_grad=dict(max_norm=1.0))
    wrapper.message_hub = hub
    loss = (param * 2).sum()

    def refuse(*args, **kwargs):
        raise AssertionError('a value was read back')

    for reader in ('item', '__float__', '__bool__', 'tolist', 'cpu', 'numpy'):
        monkeypatch.setattr(torch.Tensor, reader, refuse)
    wrapper.update_params(loss)


def test_clipping_by_value_records_no_norm(hub: MessageHub) -> None:
    param = nn.Parameter(torch.tensor([1.0, 1.0]))
    clip_grad = dict(type='value', clip_value=0.5)
    wrapper = OptimWrapper(torch.optim.SGD([param], lr=1.0), clip_grad=clip_grad)
    wrapper.message_hub = hub
    wrapper.update_params((param * torch.tensor([3.0, 0.25])).sum())
    assert param.tolist() == [0.5, 0.75]
    assert not hub.log_scalars


def test_clipping_spans_all_groups(hub: MessageHub) -> None:
    optimizer = sgd(1.0, 1.0)
    wrapper = OptimWrapper(optimizer, clip_grad=dict(max_norm=1.0))
    wrapper.message_hub = hub
    a, b = (group['params'][0] for group in optimizer.param_groups)
    wrapper.update_params(a[0] * 3 + b[0] * 4)
    assert a[0].item() == pytest.approx(1 - 0.6)
    assert b[0].item() == pytest.approx(1 - 0.8)


def test_step_and_zero_arguments_reach_the_optimizer() -> None:
    optimizer = sgd(0.1)
    wrapper = OptimWrapper(optimizer)
    param = optimizer.param_groups[0]['params'][0]
    calls = []
    wrapper.update_params(
        param.sum(),
        step_kwargs=dict(closure=lambda: calls.append('closure')),
        zero_kwargs=dict(set_to_none=False),
    )
    assert calls == ['closure']
    assert param.grad.tolist() == [0.0, 0.0]


def test_subclass_that_overrides_the_parts_sees_them_called_in_order() -> None:
    calls = []

    class Spy(OptimWrapper):
        def scale_loss(self, loss):
            calls.append('scale_loss')
            return super().scale_loss(loss)

        def backward(self, loss, **kwargs):
            calls.append('backward')
            super().backward(loss, **kwargs)

        def should_update(self):
            calls.append('should_update')
            return super().should_update()

        def step(self, **kwargs):
            calls.append('step')
            super().step(**kwargs)

        def zero_grad(self, **kwargs):
            calls.append('zero_grad')
            super().zero_grad(**kwargs)

    optimizer = sgd(0.1)
    Spy(optimizer).update_params(optimizer.param_groups[0]['params'][0].sum())
    assert calls == ['scale_loss', 'backward', 'should_update', 'step', 'zero_grad']


# The run


def clipped_step(wrapper: OptimWrapper) -> None:
    param = wrapper.optimizer.param_groups[0]['params'][0]
    wrapper.update_params((param * torch.tensor([3.0, 4.0])).sum())


def clipping_wrapper() -> OptimWrapper:
    return OptimWrapper(sgd(1.0), clip_grad=dict(max_norm=1.0))


def test_norm_is_recorded_in_the_hub_of_the_run_that_was_attached(hub: MessageHub) -> None:
    wrapper = clipping_wrapper()
    newest = MessageHub.get_instance('newest')
    run = Run(hub)
    wrapper.attach_run(run)
    clipped_step(wrapper)
    assert 'train/grad_norm' in hub.log_scalars
    assert not newest.log_scalars
    assert run.clipped == ['norm']


def test_wrapper_without_a_run_writes_to_the_hub_that_is_current_at_the_step() -> None:
    wrapper = clipping_wrapper()
    first = MessageHub.get_instance('first')
    clipped_step(wrapper)
    second = MessageHub.get_instance('second')
    clipped_step(wrapper)
    assert wrapper.message_hub is second
    assert len(first.get_scalar('train/grad_norm').data[0]) == 1
    assert len(second.get_scalar('train/grad_norm').data[0]) == 1


def test_making_a_wrapper_makes_no_hub() -> None:
    OptimWrapper(sgd(0.1))
    assert not MessageHub._instance_dict


def test_hub_that_was_assigned_is_used_in_any_run(hub: MessageHub) -> None:
    wrapper = clipping_wrapper()
    wrapper.message_hub = hub
    other = MessageHub('other')
    wrapper.attach_run(Run(other))
    clipped_step(wrapper)
    assert wrapper.message_hub is hub
    assert 'train/grad_norm' in hub.log_scalars
    assert not other.log_scalars


def test_run_of_a_dict_is_the_run_of_its_wrappers(hub: MessageHub) -> None:
    wrappers = OptimWrapperDict(a=clipping_wrapper(), b=clipping_wrapper())
    wrappers.attach_run(Run(hub))
    assert {id(w.message_hub) for w in [wrappers, *wrappers.values()]} == {id(hub)}
    other = MessageHub('other')
    wrappers.message_hub = other
    assert {id(w.message_hub) for w in [wrappers, *wrappers.values()]} == {id(other)}


class Keep(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


def test_warnings_of_a_wrapper_go_to_the_logger_of_its_run() -> None:
    ours, newest = Keep(), Keep()
    MMLogger.get_instance('ours').addHandler(ours)
    MMLogger.get_instance('newest').addHandler(newest)
    wrapper = OptimWrapper(sgd(0.1), accumulative_counts=4)
    wrapper.attach_run(Run(MessageHub.get_instance('ours')))
    wrapper.initialize_count_status(nn.Identity(), 6, 20)
    assert newest.messages == []
    assert len(ours.messages) == 1
    assert 'were restored. Its remaining batches' in ours.messages[0]


def test_subclass_without_the_base_constructor_can_be_attached(hub: MessageHub) -> None:
    class Bare(OptimWrapper):
        def __init__(self) -> None:
            pass

    wrapper = Bare()
    wrapper.attach_run(Run(hub))
    assert wrapper.message_hub is hub


# Clipping by the user's function


def clip_all_to_one(params, **kwargs):
    for param in params:
        param.grad.fill_(1.0)
    return torch.tensor(7.0)


def test_clip_func_that_was_replaced_is_used(hub: MessageHub) -> None:
    wrapper = clipping_wrapper()
    run = Run(hub)
    wrapper.attach_run(run)
    wrapper.clip_func = clip_all_to_one
    clipped_step(wrapper)
    param = wrapper.optimizer.param_groups[0]['params'][0]
    assert param.tolist() == [0.0, 0.0]  # 1 - 1
    assert float(hub.get_scalar('train/grad_norm').current()) == 7.0
    assert run.clipped == []


def test_clip_func_of_a_subclass_is_used(hub: MessageHub) -> None:
    class Own(OptimWrapper):
        def clip_func(self, params, max_norm):
            return clip_all_to_one(params) * max_norm

    wrapper = Own(sgd(1.0), clip_grad=dict(max_norm=2.0))
    wrapper.attach_run(Run(hub))
    clipped_step(wrapper)
    assert float(hub.get_scalar('train/grad_norm').current()) == 14.0


def test_subclass_can_call_the_clip_func_itself(hub: MessageHub) -> None:
    class Own(OptimWrapper):
        def _clip_grad(self) -> None:
            params = [p for group in self.param_groups for p in group['params']]
            self.norm = self.clip_func(params, **self.clip_grad_kwargs)

    wrapper = Own(sgd(1.0), clip_grad=dict(max_norm=1.0))
    clipped_step(wrapper)
    assert float(wrapper.norm) == pytest.approx(5.0)  # |(3, 4)|
    assert wrapper.grad_name == 'grad_norm'


# State of the wrapper alone


def test_state_is_that_of_the_optimizer_and_that_of_the_wrapper() -> None:
    wrapper = OptimWrapper(sgd(0.1, 0.2, momentum=0.9), accumulative_counts=2)
    wrapper.update_params(wrapper.optimizer.param_groups[0]['params'][0].sum())
    state, own = wrapper.state_dict(), wrapper.own_state_dict()
    assert list(state) == ['state', 'param_groups', 'base_param_settings', 'accumulation']
    assert list(own) == ['base_param_settings', 'accumulation']
    assert wrapper.optimizer.state_dict() == {k: state[k] for k in ('state', 'param_groups')}


def test_own_state_can_be_loaded_apart_from_the_optimizers() -> None:
    wrapper = OptimWrapper(sgd(0.1, 0.2), accumulative_counts=2)
    wrapper.base_param_settings['lr'] = 0.03
    wrapper.update_params(wrapper.optimizer.param_groups[0]['params'][0].sum())
    other = OptimWrapper(sgd(1.0, 1.0), accumulative_counts=2)
    other.load_own_state_dict(wrapper.own_state_dict())
    assert other.get_lr() == {'base_lr': [0.03], 'lr': [1.0, 1.0]}
    assert other.inner_count == 1
    # The gradient 1 over two batches
    assert other.optimizer.param_groups[0]['params'][0].grad.tolist() == [0.5, 0.5]


def test_optimizer_gets_its_state_without_the_wrappers() -> None:
    loaded = []

    class Picky(torch.optim.SGD):
        def load_state_dict(self, state_dict) -> None:
            loaded.append(sorted(state_dict))
            super().load_state_dict(state_dict)

    optimizer = Picky([nn.Parameter(torch.ones(1))], lr=0.1)
    wrapper = OptimWrapper(optimizer, accumulative_counts=2)
    wrapper.load_state_dict(wrapper.state_dict())
    assert loaded == [['param_groups', 'state']]


def test_subclass_that_adds_to_the_state_dict_keeps_working() -> None:
    class Adds(OptimWrapper):
        extra = 1

        def state_dict(self):
            return {**super().state_dict(), 'extra': self.extra}

        def load_state_dict(self, state_dict) -> None:
            state = dict(state_dict)
            self.extra = state.pop('extra')
            super().load_state_dict(state)

    wrapper = Adds(sgd(0.1))
    wrapper.extra = 5
    other = Adds(sgd(1.0))
    other.load_state_dict(wrapper.state_dict())
    assert other.extra == 5
    assert other.get_lr() == {'lr': [0.1]}


def test_subclass_that_adds_to_its_own_state_is_given_it_back() -> None:
    class Adds(OptimWrapper):
        own_state_names = (*OptimWrapper.own_state_names, 'extra')
        extra = 1

        def own_state_dict(self):
            return {**super().own_state_dict(), 'extra': self.extra}

        def load_own_state_dict(self, state) -> None:
            super().load_own_state_dict(state)
            self.extra = state.get('extra', self.extra)

    wrapper = Adds(sgd(0.1))
    wrapper.extra = 5
    other = Adds(sgd(1.0))
    other.load_state_dict(wrapper.state_dict())
    assert other.extra == 5
    other.load_state_dict(sgd(0.3).state_dict())
    assert (other.extra, other.get_lr()) == (5, {'lr': [0.3]})


def frames_of(call: Callable[[], object]) -> list[str]:
    names = []

    def note(frame, event, arg) -> None:
        if event == 'call' and f'mmengine{os.sep}' in frame.f_code.co_filename:
            names.append(frame.f_code.co_name)

    sys.setprofile(note)
    try:
        call()
    finally:
        sys.setprofile(None)
    return names


def test_plain_step_costs_nine_frames() -> None:
    wrapper = OptimWrapper(sgd(0.1))
    param = wrapper.optimizer.param_groups[0]['params'][0]
    wrapper.update_params(param.sum())  # the first step of a class looks at its decorators
    loss = param.sum()
    assert frames_of(lambda: wrapper.update_params(loss)) == [
        'update_params',
        'scale_loss',
        'backward',
        'run_backward',
        'should_update',
        '_close_window',
        'take_step',
        'undecorated_step',
        'is_recorded',
    ]


# optim_context


class NoSyncModel(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.contexts: list[str] = []

    @contextmanager
    def no_sync(self):
        self.contexts.append('enter')
        yield
        self.contexts.append('exit')


def test_ranks_do_not_sync_while_a_window_fills() -> None:
    optimizer = sgd(0.1)
    param = optimizer.param_groups[0]['params'][0]
    model = NoSyncModel()
    wrapper = OptimWrapper(optimizer, accumulative_counts=3)
    entered = []
    for _ in range(6):
        model.contexts.clear()
        with wrapper.optim_context(model):
            wrapper.update_params(param.sum())
        entered.append(list(model.contexts))
    inside, outside = ['enter', 'exit'], []
    assert entered == [inside, inside, outside, inside, inside, outside]


def test_context_costs_no_generator_without_accumulation() -> None:
    wrapper = OptimWrapper(sgd(0.1))
    model = NoSyncModel()
    assert wrapper.optim_context(model) is wrapper.optim_context(model)
    assert model.contexts == []


# Losses that are not finite


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    messages: list[str] = []
    monkeypatch.setattr(
        'mmengine.optim.optimizer.optimizer_wrapper.print_log',
        lambda msg, **kwargs: messages.append(msg),
    )
    return messages


@pytest.mark.parametrize('bad', [float('nan'), float('inf')])
def test_non_finite_loss_moves_nothing(bad: float, logged: list[str], hub: MessageHub) -> None:
    optimizer = sgd(1.0, momentum=0.9)
    param = optimizer.param_groups[0]['params'][0]
    wrapper = OptimWrapper(optimizer)
    wrapper.message_hub = hub
    wrapper.skip_non_finite = True
    wrapper.update_params(param.sum())
    after_good = param.detach().clone()
    run = Run(hub)
    run.finished_iters = 41
    wrapper.attach_run(run)
    wrapper.update_params(param.sum() * bad)
    assert torch.equal(param, after_good)
    assert param.grad is None
    assert wrapper.inner_count == 2
    assert len(logged) == 1
    assert 'iteration 41' in logged[0]


def test_non_finite_loss_is_taken_as_it_is_by_default() -> None:
    optimizer = sgd(1.0)
    param = optimizer.param_groups[0]['params'][0]
    OptimWrapper(optimizer).update_params(param.sum() * float('nan'))
    assert param.isnan().all()


@pytest.mark.parametrize('bad_at', [0, 1, 2])
def test_non_finite_batch_counts_as_a_zero_gradient_of_its_window(
    bad_at: int, logged: list[str], hub: MessageHub
) -> None:
    optimizer = sgd(1.0)
    param = optimizer.param_groups[0]['params'][0]
    wrapper = OptimWrapper(optimizer, accumulative_counts=3)
    wrapper.message_hub = hub
    wrapper.skip_non_finite = True
    for index in range(6):
        factor = float('nan') if index == bad_at else 0.3
        wrapper.update_params(param.sum() * factor)
    # 1 - (0.3 + 0.3 + 0) / 3 - (0.3 + 0.3 + 0.3) / 3
    assert param.tolist() == pytest.approx([0.5, 0.5])


def test_window_of_non_finite_batches_only_makes_no_step(logged: list[str], hub) -> None:
    optimizer = sgd(1.0, weight_decay=0.5)
    param = optimizer.param_groups[0]['params'][0]
    wrapper = OptimWrapper(optimizer, accumulative_counts=2)
    wrapper.message_hub = hub
    wrapper.skip_non_finite = True
    for _ in range(2):
        wrapper.update_params(param.sum() * float('nan'))
    assert param.tolist() == [1.0, 1.0]
    for _ in range(2):
        wrapper.update_params(param.sum() * 0.1)
    assert param.tolist() == pytest.approx([0.4, 0.4])  # 1 - (0.1 + 0.5 * 1)
