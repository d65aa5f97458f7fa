"""Stacking, merging, batch norm layers and parameters without gradient."""

import logging
import sys

import numpy as np
import pytest
import torch
from torch import nn

from mmengine.logging import MMLogger
from mmengine.model import (
    convert_sync_batchnorm,
    detect_anomalous_params,
    is_model_wrapper,
    merge_dict,
    revert_sync_batchnorm,
    stack_batch,
)
from mmengine.model.utils import _BatchNormXd
from mmengine.utils.errors import ArgumentError


@pytest.fixture
def messages(monkeypatch):
    """What the current logger is given."""
    records = []
    logger = MMLogger.get_current_instance()
    monkeypatch.setattr(logger, 'handle', records.append)
    return records


def test_images_are_padded_on_the_right_and_at_the_bottom():
    small, tall = torch.ones(1, 1, 3), 2 * torch.ones(1, 3, 1)
    batch = stack_batch([small, tall], pad_size_divisor=2, pad_value=5)
    expected = np.full((2, 1, 4, 4), 5.0)
    expected[0, :, :1, :3] = 1
    expected[1, :, :3, :1] = 2
    np.testing.assert_array_equal(batch.numpy(), expected)


def test_every_dim_but_the_first_is_padded():
    batch = stack_batch([torch.ones(2, 1, 2, 3), torch.ones(2, 3, 2, 1)], pad_size_divisor=2)
    assert batch.shape == (2, 2, 4, 2, 4)
    assert batch.sum().item() == 12 + 12


def test_stacking_keeps_the_dtype():
    batch = stack_batch([torch.ones(1, 2, dtype=torch.uint8), torch.ones(1, 3, dtype=torch.uint8)])
    assert batch.dtype == torch.uint8


def test_gradients_flow_through_the_padding():
    image = torch.ones(1, 2, 2, requires_grad=True)
    stack_batch([image, torch.ones(1, 3, 3)]).sum().backward()
    assert torch.equal(image.grad, torch.ones(1, 2, 2))


@pytest.mark.parametrize(
    ('tensors', 'message'),
    [
        ([], 'empty'),
        (torch.ones(2), 'got Tensor'),
        ((torch.ones(2),), 'got tuple'),
        ([1], 'element 0 is a int'),
        ([torch.ones(1), torch.ones(2, 2)], 'same number of dims'),
        ([torch.ones(1, 2), torch.ones(2, 2)], 'same first dim'),
    ],
    ids=['empty', 'tensor', 'tuple', 'number', 'dims', 'channels'],
)
def test_what_cannot_be_stacked_is_refused(tensors, message):
    with pytest.raises(ArgumentError, match=message):
        stack_batch(tensors)


def test_a_later_dict_wins():
    assert merge_dict(dict(a=1, b=1), dict(b=2), dict(c=3)) == dict(a=1, b=2, c=3)
    assert merge_dict() == {}


def test_only_dicts_merge():
    with pytest.raises(ArgumentError, match='argument 2 is a int'):
        merge_dict({}, 3)


def test_parameters_that_the_loss_does_not_reach_are_named(messages):
    model = nn.ModuleDict(
        {
            'used': nn.Linear(2, 1),
            'idle': nn.Linear(2, 1),
            'frozen': nn.Linear(2, 1).requires_grad_(False),
        }
    )
    detect_anomalous_params(model['used'](torch.ones(1, 2)).sum(), model)
    named = [record.getMessage() for record in messages]
    assert [text.split('parameter ')[1].split(' of')[0] for text in named] == [
        'idle.weight',
        'idle.bias',
    ]
    assert {record.levelno for record in messages} == {logging.ERROR}


def test_a_graph_deeper_than_the_stack_is_searched(messages):
    parameter = nn.Parameter(torch.ones(1))
    value = parameter
    for _ in range(3000):
        value = value + 1
    detect_anomalous_params(value, nn.ParameterList([parameter]))
    assert messages == []


# -- batch norm -----------------------------------------------------------------------------------


def net_with(layer):
    return nn.Sequential(nn.Conv2d(1, 3, 1), layer, nn.Sequential(layer))


def test_a_synchronised_layer_becomes_a_plain_one_that_computes_the_same_as_batch_norm():
    torch.manual_seed(0)
    sync, plain = nn.SyncBatchNorm(3), nn.BatchNorm2d(3)
    with torch.no_grad():
        for tensor in [*sync.parameters(), sync.running_mean]:
            tensor.normal_()
    plain.load_state_dict(sync.state_dict())
    reverted = revert_sync_batchnorm(sync)
    x = torch.randn(4, 3, 2, 2)
    for training in (True, False):
        assert torch.equal(reverted.train(training)(x), plain.train(training)(x))
    assert torch.equal(reverted.running_var, plain.running_var)


def test_a_reverted_layer_keeps_its_parameters_flags_and_hooks():
    calls = []
    sync = nn.SyncBatchNorm(3, eps=0.1, momentum=0.2).double().eval()
    sync.weight.requires_grad_(False)
    sync.register_forward_hook(lambda *args: calls.append('hook'))
    weight, mean = sync.weight, sync.running_mean
    reverted = revert_sync_batchnorm(net_with(sync).eval())[1]
    assert type(reverted) is _BatchNormXd
    assert reverted.weight is weight
    assert reverted.running_mean is mean
    assert not reverted.weight.requires_grad
    assert reverted.bias.requires_grad
    assert (reverted.training, reverted.eps, reverted.momentum) == (False, 0.1, 0.2)
    assert reverted(torch.ones(1, 3, 1, 1, dtype=torch.float64)).dtype == torch.float64
    assert calls == ['hook']


def test_a_layer_used_twice_stays_one_layer():
    reverted = revert_sync_batchnorm(net_with(nn.SyncBatchNorm(3)))
    assert reverted[1] is reverted[2][0]


def test_a_model_without_such_layers_is_left_alone():
    model = net_with(nn.BatchNorm2d(3))
    layers = list(model.modules())
    assert revert_sync_batchnorm(model) is model
    assert list(model.modules()) == layers


def test_batch_norm_becomes_synchronised_and_back():
    model = net_with(nn.BatchNorm2d(3))
    weight = model[1].weight
    converted = convert_sync_batchnorm(model)
    assert isinstance(converted[1], nn.SyncBatchNorm)
    assert revert_sync_batchnorm(converted)[1].weight is weight


def test_the_layers_of_mmcv_are_made_and_found(monkeypatch):
    class SyncBatchNorm(nn.Module):
        def __init__(
            self, num_features, eps=1e-5, momentum=0.1, affine=True, track_running_stats=True
        ):
            super().__init__()
            self.num_features, self.eps, self.momentum = num_features, eps, momentum
            self.affine, self.track_running_stats = affine, track_running_stats
            self.weight = nn.Parameter(torch.zeros(num_features))

    ops = type(sys)('mmcv.ops')
    ops.SyncBatchNorm = SyncBatchNorm
    monkeypatch.setitem(sys.modules, 'mmcv', type(sys)('mmcv'))
    monkeypatch.setitem(sys.modules, 'mmcv.ops', ops)
    model = net_with(nn.BatchNorm2d(3, eps=0.5).eval())
    weight = model[1].weight
    converted = convert_sync_batchnorm(model, 'mmcv')[1]
    assert type(converted) is SyncBatchNorm
    assert converted.weight is weight
    assert (converted.eps, converted.training) == (0.5, False)
    reverted = revert_sync_batchnorm(model)[1]
    assert type(reverted) is _BatchNormXd
    assert reverted.weight is weight


def test_another_implementation_is_refused():
    with pytest.raises(ArgumentError, match="'torch' or 'mmcv', got 'apex'"):
        convert_sync_batchnorm(nn.BatchNorm2d(1), 'apex')


def test_missing_mmcv_is_named_with_its_pip_line(monkeypatch):
    monkeypatch.setitem(sys.modules, 'mmcv', None)
    with pytest.raises(ImportError, match='pip install mmcv'):
        convert_sync_batchnorm(nn.BatchNorm2d(1), 'mmcv')


def test_wrappers_are_told_from_models():
    assert is_model_wrapper(nn.DataParallel(nn.Linear(1, 1)))
    assert not is_model_wrapper(nn.Linear(1, 1))
