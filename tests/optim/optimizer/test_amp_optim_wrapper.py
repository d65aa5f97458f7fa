"""AmpOptimWrapper: precision of the forward pass, scaling of the loss, state of the scaler."""

import pytest
import torch
from torch import nn

from mmengine.logging import MessageHub
from mmengine.optim import AmpOptimWrapper
from mmengine.utils.errors import ArgumentError


def make(**kwargs) -> tuple[nn.Linear, AmpOptimWrapper]:
    torch.manual_seed(0)
    net = nn.Linear(3, 2)
    wrapper = AmpOptimWrapper(optimizer=torch.optim.SGD(net.parameters(), lr=0.1), **kwargs)
    wrapper.message_hub = MessageHub('test_amp_optim_wrapper')
    return net, wrapper


@pytest.mark.parametrize(
    ('dtype', 'expected'),
    [
        ('float16', torch.float16),
        (torch.float16, torch.float16),
        ('bfloat16', torch.bfloat16),
        (torch.bfloat16, torch.bfloat16),
        (None, torch.bfloat16),  # what autocast takes on the CPU
        ('float32', torch.float32),
        (torch.float32, torch.float32),
    ],
    ids=str,
)
def test_forward_pass_runs_in_the_given_precision(dtype: object, expected: torch.dtype) -> None:
    net, wrapper = make(dtype=dtype)
    with wrapper.optim_context(net):
        assert net(torch.ones(1, 3)).dtype is expected
    assert net(torch.ones(1, 3)).dtype is torch.float32


@pytest.mark.parametrize(
    ('dtype', 'scales'), [('float16', True), ('bfloat16', False), (None, False)], ids=str
)
def test_only_float16_scales_its_loss(dtype: object, scales: bool) -> None:
    _, wrapper = make(dtype=dtype)
    assert wrapper.loss_scaler.is_enabled() is scales


@pytest.mark.parametrize('dtype', ['float8', 'int8', 'half', 16, torch.int8])
def test_dtype_that_is_no_precision_is_refused(dtype: object) -> None:
    with pytest.raises(ArgumentError, match='float16, bfloat16'):
        make(dtype=dtype)


@pytest.mark.parametrize('loss_scale', ['static', 3, None, [1.0]])
def test_unclear_loss_scale_is_refused(loss_scale: object) -> None:
    with pytest.raises(TypeError, match='loss_scale'):
        make(loss_scale=loss_scale)


def test_dynamic_scale_grows_by_torchs_rules() -> None:
    net, wrapper = make(dtype='float16', loss_scale=dict(init_scale=8.0, growth_interval=2))
    scales = []
    for _ in range(4):
        with wrapper.optim_context(net):
            loss = net(torch.ones(1, 3)).float().square().sum()
        wrapper.update_params(loss)
        scales.append(wrapper.loss_scaler.get_scale())
    assert scales == [8.0, 16.0, 16.0, 32.0]


def test_fixed_scale_stays_through_growth_and_overflow() -> None:
    net, wrapper = make(dtype='float16', loss_scale=512.0)
    for factor in (1.0, float('inf'), 1.0):
        wrapper.update_params(net(torch.ones(1, 3)).sum() * factor)
        assert wrapper.loss_scaler.get_scale() == 512.0


def test_step_whose_gradients_overflow_is_left_out_and_the_scale_halved() -> None:
    net, wrapper = make(dtype='float16', loss_scale=dict(init_scale=8.0))
    before = net.weight.detach().clone()
    wrapper.update_params(net(torch.ones(1, 3)).sum() * float('inf'))
    assert torch.equal(net.weight, before)
    assert wrapper.loss_scaler.get_scale() == 4.0


def test_recorded_norm_is_that_of_the_unscaled_gradients() -> None:
    net, wrapper = make(dtype='float16', loss_scale=1024.0, clip_grad=dict(max_norm=100.0))
    wrapper.update_params(net(torch.zeros(1, 3)).sum())
    # The gradient of each of the two biases is 1, that of the weights 0.
    norm = float(wrapper.message_hub.get_scalar('train/grad_norm').current())
    assert norm == pytest.approx(2**0.5)


def test_scaler_state_survives_a_round_trip() -> None:
    net, wrapper = make(dtype='float16', loss_scale=dict(init_scale=8.0, growth_interval=3))
    wrapper.update_params(net(torch.ones(1, 3)).sum())
    _, other = make(dtype='float16', loss_scale=dict(init_scale=2.0))
    other.load_state_dict(wrapper.state_dict())
    assert other.loss_scaler.get_scale() == 8.0
    assert other.loss_scaler.state_dict() == wrapper.loss_scaler.state_dict()


def test_state_saved_without_a_scale_keeps_the_present_one() -> None:
    _, bf16 = make(dtype='bfloat16')
    _, wrapper = make(dtype='float16', loss_scale=dict(init_scale=8.0))
    wrapper.load_state_dict(bf16.state_dict())
    assert wrapper.loss_scaler.get_scale() == 8.0


def test_non_finite_loss_is_left_out_before_the_scaler_sees_it() -> None:
    net, wrapper = make(dtype='float16', loss_scale=dict(init_scale=8.0))
    wrapper.skip_non_finite = True
    wrapper.update_params(net(torch.ones(1, 3)).sum() * float('nan'))
    assert wrapper.loss_scaler.get_scale() == 8.0
    wrapper.update_params(net(torch.ones(1, 3)).sum())
    assert wrapper.inner_count == 2
