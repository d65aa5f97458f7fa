"""Folded batch norm against the plain evaluation."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mmengine.model.efficient_conv_bn_eval import (
    efficient_conv_bn_eval_control,
    efficient_conv_bn_eval_forward,
    turn_on_efficient_conv_bn_eval,
    turn_on_efficient_conv_bn_eval_for_single_model,
)
from mmengine.utils.errors import ArgumentError


def randomised(module):
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in [*module.named_parameters(), *module.named_buffers()]:
            if tensor.is_floating_point():
                tensor.uniform_(0.5, 1.5) if 'var' in name else tensor.normal_()
    return module


LAYERS = {
    'conv1d': (nn.Conv1d(4, 6, 3, stride=2, padding=1), nn.BatchNorm1d(6), (2, 4, 9)),
    'conv2d': (nn.Conv2d(4, 6, 3, bias=False, dilation=2), nn.BatchNorm2d(6), (2, 4, 9, 9)),
    'grouped': (
        nn.Conv2d(4, 6, 3, groups=2, padding_mode='circular', padding=1),
        nn.BatchNorm2d(6),
        (2, 4, 5, 5),
    ),
    'conv3d': (nn.Conv3d(4, 6, 2), nn.BatchNorm3d(6), (2, 4, 3, 3, 3)),
    'transposed': (
        nn.ConvTranspose2d(4, 6, 3, stride=2, output_padding=1),
        nn.BatchNorm2d(6),
        (2, 4, 5, 5),
    ),
    'transposed-grouped': (nn.ConvTranspose1d(4, 6, 3, groups=2), nn.BatchNorm1d(6), (2, 4, 5)),
    'not-affine': (nn.Conv2d(4, 6, 1), nn.BatchNorm2d(6, affine=False), (2, 4, 5, 5)),
}


@pytest.mark.parametrize('name', LAYERS)
def test_folding_equals_batch_norm_after_convolution(name):
    conv, bn, shape = LAYERS[name]
    conv, bn = randomised(conv.double()), randomised(bn.double()).eval()
    x = torch.randn(shape, dtype=torch.float64, requires_grad=True)
    folded, plain = efficient_conv_bn_eval_forward(bn, conv, x), bn(conv(x))
    torch.testing.assert_close(folded, plain)
    weights = [x, conv.weight, *bn.parameters()]
    weighting = torch.randn_like(plain)
    for ours, theirs in zip(
        torch.autograd.grad((folded * weighting).sum(), weights),
        torch.autograd.grad((plain * weighting).sum(), weights),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs)


def test_in_training_mode_the_running_statistics_move_on():
    conv, bn = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1)
    twin = copy.deepcopy(bn)
    x = torch.randn(4, 1, 2, 2)
    assert torch.equal(efficient_conv_bn_eval_control(bn, conv, x), twin(conv(x)))
    assert torch.equal(bn.running_mean, twin.running_mean)


def test_a_hooked_convolution_is_not_folded():
    outputs = []
    conv, bn = nn.Conv2d(1, 1, 1), nn.BatchNorm2d(1).eval()
    conv.register_forward_hook(lambda module, args, output: outputs.append(output))
    efficient_conv_bn_eval_control(bn, conv, torch.ones(1, 1, 2, 2))
    assert len(outputs) == 1


def test_a_batch_norm_without_statistics_cannot_be_folded():
    with pytest.raises(ArgumentError, match='track_running_stats'):
        efficient_conv_bn_eval_forward(
            nn.BatchNorm2d(1, track_running_stats=False), nn.Conv2d(1, 1, 1), torch.ones(1, 1, 2, 2)
        )


class Backbone(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)
        self.stage = nn.Sequential(nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4), nn.ReLU())
        self.shared = nn.Conv2d(4, 4, 1)
        self.bn2 = nn.BatchNorm2d(4)

    def forward(self, x, scale=1.0):
        x = self.stage(self.bn1(self.conv1(x)))
        shared = self.shared(x)
        # Used twice, so the batch norm after it cannot swallow it.
        return F.dropout(self.bn2(shared) + shared, 0.5, self.training) * scale


class Detector(nn.Module):
    def __init__(self):
        super().__init__()
        self.backbone = Backbone()

    def forward(self, x):
        return self.backbone(x)


def test_a_model_predicts_the_same_with_folding_on(monkeypatch):
    model = randomised(Detector()).eval()
    x = torch.randn(2, 3, 6, 6)
    expected = model(x)
    turn_on_efficient_conv_bn_eval(model, 'backbone')
    calls = []
    monkeypatch.setattr(nn.BatchNorm2d, 'forward', _counting(nn.BatchNorm2d.forward, calls))
    torch.testing.assert_close(model(x), expected)
    assert calls == [model.backbone.bn2]


def _counting(forward, calls):
    def counted(self, *args):
        calls.append(self)
        return forward(self, *args)

    return counted


def test_the_mode_is_that_of_the_call_not_that_of_the_trace():
    model = randomised(Backbone()).eval()
    twin = copy.deepcopy(model)
    turn_on_efficient_conv_bn_eval_for_single_model(model)
    x = torch.randn(2, 3, 6, 6)
    for training in (True, False, True):
        torch.manual_seed(1)
        ours = model.train(training)(x, scale=2.0)
        torch.manual_seed(1)
        torch.testing.assert_close(ours, twin.train(training)(x, scale=2.0))
    torch.testing.assert_close(model.bn1.running_mean, twin.bn1.running_mean)


def test_frozen_norm_in_training_is_folded(monkeypatch):
    model = randomised(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)))
    model[1].eval()
    turn_on_efficient_conv_bn_eval_for_single_model(model)
    calls = []
    monkeypatch.setattr(nn.BatchNorm2d, 'forward', _counting(nn.BatchNorm2d.forward, calls))
    model(torch.randn(1, 3, 4, 4)).sum().backward()
    assert calls == []
    assert model[0].weight.grad.abs().sum() > 0


def test_a_deep_copy_computes_with_its_own_weights():
    model = randomised(Backbone()).eval()
    turn_on_efficient_conv_bn_eval_for_single_model(model)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in twin.parameters():
            parameter.zero_()
    assert torch.equal(twin(torch.ones(1, 3, 4, 4)), torch.zeros(1, 4, 2, 2))
    assert model(torch.ones(1, 3, 4, 4)).abs().sum() > 0


def test_the_state_dict_stays_the_same():
    model = Detector()
    keys = list(model.state_dict())
    turn_on_efficient_conv_bn_eval(model, ['backbone'])
    assert list(model.state_dict()) == keys


def test_an_unknown_part_is_refused_with_the_nearest_name():
    with pytest.raises(ArgumentError, match=r"'backbon'.*Did you mean 'backbone'"):
        turn_on_efficient_conv_bn_eval(Detector(), 'backbon')


def test_a_model_that_cannot_be_traced_is_told_so():
    class Branching(nn.Module):
        def forward(self, x):
            return x if x.sum() > 0 else -x

    with pytest.raises(RuntimeError, match='Branching cannot be traced'):
        turn_on_efficient_conv_bn_eval_for_single_model(Branching())
