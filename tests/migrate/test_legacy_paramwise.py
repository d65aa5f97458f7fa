"""Optimizer options by regular expressions, against groups made by hand."""

import re

import pytest
import torch
from torch import nn

from mmengine.migrate._config import convert_config
from mmengine.optim import build_optim_wrapper
from mmengine.utils.errors import ArgumentError

OPTIMIZER = dict(type='SGD', lr=0.2, momentum=0.9, weight_decay=0.01)


def network():
    """Named parameters: backbone.conv.weight, backbone.bn.weight, ... head.weight, head.bias."""
    backbone = nn.Module()
    backbone.conv = nn.Conv2d(3, 4, 1)
    backbone.bn = nn.BatchNorm2d(4)
    model = nn.Module()
    model.backbone = backbone
    model.head = nn.Linear(4, 2)
    return model


def built(model, rules):
    legacy = dict(optimizer={**OPTIMIZER, 'paramwise_options': rules})
    return build_optim_wrapper(model, convert_config(legacy).config['optim_wrapper'])


def options_by_name(wrapper, model):
    names = {param: name for name, param in model.named_parameters()}
    return {
        names[group['params'][0]]: {key: group[key] for key in ('lr', 'momentum', 'weight_decay')}
        for group in wrapper.optimizer.param_groups
    }


def test_the_first_expression_that_is_found_in_the_full_name_decides():
    model = network()
    rules = {
        r'backbone\.bn': dict(weight_decay=0.0, lr_mult=0.5),
        'backbone': dict(lr_mult=0.1),
        'bias$': dict(momentum=0.5),
    }
    default = dict(lr=0.2, momentum=0.9, weight_decay=0.01)
    # Written out by hand: 0.2 * 0.5 = 0.1, 0.2 * 0.1 = 0.02.
    normalization = dict(lr=0.1, momentum=0.9, weight_decay=0.0)
    convolution = dict(lr=pytest.approx(0.02), momentum=0.9, weight_decay=0.01)
    assert options_by_name(built(model, rules), model) == {
        'backbone.conv.weight': convolution,
        'backbone.conv.bias': convolution,
        'backbone.bn.weight': normalization,
        'backbone.bn.bias': normalization,
        'head.weight': default,
        'head.bias': dict(lr=0.2, momentum=0.5, weight_decay=0.01),
    }


def test_other_keys_are_options_of_the_group_for_the_optimizer_to_read():
    model = network()
    wrapper = built(model, {r'(bn|gn)(\d+)?.(weight|bias)': dict(lars_exclude=True)})
    marked = [group.get('lars_exclude') for group in wrapper.optimizer.param_groups]
    assert marked == [None, None, True, True, None, None]


def test_a_step_moves_parameters_as_torch_moves_groups_made_by_hand():
    rules = {'conv': dict(lr_mult=0.0), 'bias$': dict(weight_decay=0.0, momentum=0.0)}
    torch.manual_seed(0)
    model, other = network(), network()
    other.load_state_dict(model.state_dict())
    wrapper = built(model, rules)
    groups = []
    for name, param in other.named_parameters():
        group = dict(params=[param])
        if re.search('conv', name):
            group['lr'] = 0.0
        elif re.search('bias$', name):
            group |= dict(weight_decay=0.0, momentum=0.0)
        groups.append(group)
    optimizer = torch.optim.SGD(groups, lr=0.2, momentum=0.9, weight_decay=0.01)
    for _ in range(3):
        for net, step in ((model, wrapper), (other, optimizer)):
            step.zero_grad()
            loss = sum((param * param).sum() for param in net.parameters())
            loss.backward()
            step.step()
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)


def test_a_parameter_without_gradient_has_a_group_without_options():
    model = network()
    model.head.bias.requires_grad = False
    options = options_by_name(built(model, {'bias': dict(lr_mult=3)}), model)
    assert options['head.bias'] == dict(lr=0.2, momentum=0.9, weight_decay=0.01)
    assert options['backbone.bn.bias']['lr'] == pytest.approx(0.6)


@pytest.mark.parametrize(
    ('rules', 'message'),
    [
        ({'(': dict(lr_mult=1)}, 'not a regular expression'),
        ({'head': 0.1}, 'is a dict of options'),
        ({'head': dict(eps_mult=2)}, 'no eps to multiply'),
    ],
)
def test_wrong_rules_are_told_in_a_sentence(rules, message):
    with pytest.raises(ArgumentError, match=message):
        built(network(), rules)
