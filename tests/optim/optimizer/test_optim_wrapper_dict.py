"""OptimWrapperDict: a mapping, what goes to all wrappers, and what refuses to."""

import logging

import pytest
import torch
from torch import nn

from mmengine.optim import OptimWrapper, OptimWrapperDict
from mmengine.utils.errors import ArgumentError


def wrapper(*rates: float, **kwargs) -> OptimWrapper:
    groups = [{'params': [nn.Parameter(torch.ones(2))], 'lr': rate} for rate in rates]
    return OptimWrapper(torch.optim.SGD(groups, lr=0.5, momentum=0.9), **kwargs)


@pytest.fixture
def gan() -> OptimWrapperDict:
    return OptimWrapperDict(generator=wrapper(0.1), discriminator=wrapper(0.2, 0.3))


def test_it_reads_as_a_mapping(gan: OptimWrapperDict) -> None:
    assert len(gan) == 2
    assert list(gan) == list(gan.keys()) == ['generator', 'discriminator']
    assert [value for _, value in gan.items()] == list(gan.values())
    assert 'generator' in gan
    assert 'encoder' not in gan
    assert gan['generator'] is gan.optim_wrappers['generator']


def test_unknown_name_is_answered_with_the_near_one(gan: OptimWrapperDict) -> None:
    with pytest.raises(AssertionError, match="Did you mean 'generator'"):
        gan['genrator']


def test_value_that_is_no_wrapper_is_refused() -> None:
    with pytest.raises(AssertionError, match="SGD for 'generator'"):
        OptimWrapperDict(generator=wrapper(0.1).optimizer)


@pytest.mark.parametrize(
    ('member', 'args'),
    [
        ('update_params', (torch.tensor(1.0),)),
        ('backward', (torch.tensor(1.0),)),
        ('scale_loss', (torch.tensor(1.0),)),
        ('step', ()),
        ('should_update', ()),
        ('should_sync', ()),
        ('optim_context', (nn.Identity(),)),
    ],
)
def test_what_needs_one_optimizer_says_how_to_take_one(
    gan: OptimWrapperDict, member: str, args: tuple
) -> None:
    with pytest.raises(NotImplementedError, match=rf"optim_wrapper\['generator'\]\.{member}"):
        getattr(gan, member)(*args)


def test_the_leading_rates_are_the_first_of_each_entry(gan: OptimWrapperDict) -> None:
    assert gan.leading_lr() == {name: rates[0] for name, rates in gan.get_lr().items()}


def test_a_wrapper_with_rates_of_its_own_leads_with_these() -> None:
    class Doubled(OptimWrapper):
        def get_lr(self) -> dict[str, list[float]]:
            return {'doubled': [2 * rate for rate in super().get_lr()['lr']]}

    assert wrapper(0.25, 0.125).leading_lr() == {'base_lr': 0.5, 'lr': 0.25}
    assert Doubled(wrapper(0.25, 0.125).optimizer).leading_lr() == {'doubled': 0.5}


def test_rates_and_momenta_are_named_after_their_wrapper(gan: OptimWrapperDict) -> None:
    assert gan.get_lr() == {
        'generator.lr': [0.1],
        'discriminator.base_lr': [0.5],
        'discriminator.lr': [0.2, 0.3],
    }
    assert gan.get_momentum() == {'generator.momentum': [0.9], 'discriminator.momentum': [0.9, 0.9]}


def test_groups_and_defaults_are_kept_by_name(gan: OptimWrapperDict) -> None:
    assert gan.param_groups.keys() == {'generator', 'discriminator'}
    assert gan.param_groups['generator'] == gan['generator'].param_groups
    assert gan.defaults['discriminator']['lr'] == 0.5


def test_zero_grad_reaches_all(gan: OptimWrapperDict) -> None:
    params = [group['params'][0] for name in gan for group in gan[name].optimizer.param_groups]
    sum(param.sum() for param in params).backward()
    gan.zero_grad()
    assert [param.grad for param in params] == [None, None, None]


def test_skip_non_finite_is_set_in_all(gan: OptimWrapperDict) -> None:
    assert gan.skip_non_finite is False
    gan.skip_non_finite = True
    assert [value.skip_non_finite for value in gan.values()] == [True, True]


def test_state_survives_a_round_trip_in_the_middle_of_a_window() -> None:
    gan = OptimWrapperDict(
        generator=wrapper(0.1, accumulative_counts=2), discriminator=wrapper(0.2)
    )
    param = gan['generator'].optimizer.param_groups[0]['params'][0]
    gan['generator'].update_params(param.sum() * 3)
    other = OptimWrapperDict(
        generator=wrapper(1.0, accumulative_counts=2), discriminator=wrapper(1.0)
    )
    other.load_state_dict(gan.state_dict())
    assert other.get_lr() == {'generator.lr': [0.1], 'discriminator.lr': [0.2]}
    assert other['generator'].inner_count == 1
    other_param = other['generator'].optimizer.param_groups[0]['params'][0]
    assert other_param.grad.tolist() == [1.5, 1.5]


def test_state_of_a_wrapper_that_does_not_exist_is_refused(gan: OptimWrapperDict) -> None:
    state = gan.state_dict()
    state['generater'] = state.pop('generator')
    with pytest.raises(ArgumentError, match="Did you mean 'generator'"):
        gan.load_state_dict(state)


def test_wrapper_without_a_state_is_warned_of(gan: OptimWrapperDict, monkeypatch) -> None:
    messages = []
    monkeypatch.setattr(
        'mmengine.optim.optimizer.optimizer_wrapper_dict.print_log',
        lambda msg, logger, level: messages.append((level, msg)),
    )
    state = gan.state_dict()
    del state['generator']
    gan.load_state_dict(state)
    assert len(messages) == 1
    assert messages[0][0] == logging.WARNING
    assert "'generator'" in messages[0][1]


def test_leading_rates_are_those_of_a_replaced_get_lr(gan: OptimWrapperDict) -> None:
    class Own(OptimWrapperDict):
        def get_lr(self) -> dict[str, list[float]]:
            return {'lr': [0.25]}

    assert Own(**dict(gan.items())).leading_lr() == {'lr': 0.25}
    gan.get_lr = lambda: {'lr': [0.5]}  # type: ignore[method-assign]  # as a user may
    assert gan.leading_lr() == {'lr': 0.5}
    one = wrapper(0.25)
    one.get_lr = lambda: {'lr': [0.125]}  # type: ignore[method-assign]  # as a user may
    assert one.leading_lr() == {'lr': 0.125}
