"""Initialisers against torch.nn.init with the same seed, and what a config of them means."""

import math

import pytest
import torch
from torch import nn

from mmengine.model import (
    BaseModule,
    Caffe2XavierInit,
    ConstantInit,
    KaimingInit,
    NormalInit,
    PretrainedInit,
    TruncNormalInit,
    UniformInit,
    XavierInit,
    bias_init_with_prob,
    caffe2_xavier_init,
    constant_init,
    initialize,
    kaiming_init,
    normal_init,
    trunc_normal_init,
    uniform_init,
    update_init_info,
    xavier_init,
)
from mmengine.model.weight_init import trunc_normal_
from mmengine.registry import WEIGHT_INITIALIZERS
from mmengine.utils.errors import ArgumentError

init = nn.init


def layer():
    return nn.Conv2d(3, 4, 3)


def filled(fill):
    """A weight as torch fills it, seed 0."""
    weight = torch.empty(4, 3, 3, 3)
    torch.manual_seed(0)
    fill(weight)
    return weight


FUNCTIONS = {
    'constant': (lambda m: constant_init(m, 2, bias=3), lambda w: init.constant_(w, 2)),
    'xavier': (lambda m: xavier_init(m, gain=2, bias=3), lambda w: init.xavier_normal_(w, gain=2)),
    'xavier-uniform': (
        lambda m: xavier_init(m, bias=3, distribution='uniform'),
        lambda w: init.xavier_uniform_(w),
    ),
    'normal': (lambda m: normal_init(m, 1, 2, bias=3), lambda w: init.normal_(w, 1, 2)),
    'uniform': (lambda m: uniform_init(m, -1, 2, bias=3), lambda w: init.uniform_(w, -1, 2)),
    'kaiming': (
        lambda m: kaiming_init(m, bias=3),
        lambda w: init.kaiming_normal_(w, mode='fan_out', nonlinearity='relu'),
    ),
    'kaiming-uniform': (
        lambda m: kaiming_init(
            m, a=0.1, mode='fan_in', nonlinearity='leaky_relu', bias=3, distribution='uniform'
        ),
        lambda w: init.kaiming_uniform_(w, a=0.1, mode='fan_in', nonlinearity='leaky_relu'),
    ),
    # XavierFill: uniform in +-sqrt(3 / fan_in), fan_in = 3 * 3 * 3
    'caffe2': (lambda m: caffe2_xavier_init(m, bias=3), lambda w: init.uniform_(w, -1 / 3, 1 / 3)),
}


@pytest.mark.parametrize('name', FUNCTIONS)
def test_a_function_fills_as_torch_does_with_the_same_seed(name):
    ours, by_torch = FUNCTIONS[name]
    conv = layer()
    torch.manual_seed(0)
    ours(conv)
    torch.testing.assert_close(conv.weight.detach(), filled(by_torch), rtol=1e-6, atol=1e-8)
    assert conv.bias.tolist() == [3.0] * 4


INITIALISERS = {
    'constant': (ConstantInit(val=2, bias=3, layer='Conv2d'), 'constant'),
    'xavier': (XavierInit(gain=2, bias=3, layer='Conv2d'), 'xavier'),
    'normal': (NormalInit(mean=1, std=2, bias=3, layer='Conv2d'), 'normal'),
    'uniform': (UniformInit(a=-1, b=2, bias=3, layer='Conv2d'), 'uniform'),
    'kaiming': (KaimingInit(bias=3, layer='Conv2d'), 'kaiming'),
    'caffe2': (Caffe2XavierInit(bias=3, layer='Conv2d'), 'caffe2'),
}


@pytest.mark.parametrize('name', INITIALISERS)
def test_an_initialiser_fills_its_layers_and_no_others(name):
    initialiser, function = INITIALISERS[name]
    model = nn.Sequential(layer(), nn.Linear(2, 2))
    before = model[1].weight.clone()
    torch.manual_seed(0)
    initialiser(model)
    torch.testing.assert_close(
        model[0].weight.detach(), filled(FUNCTIONS[function][1]), rtol=1e-6, atol=1e-8
    )
    assert model[0].bias.tolist() == [3.0] * 4
    assert torch.equal(model[1].weight, before)


def test_the_truncated_normal_is_the_inverse_of_the_distribution_function():
    mean, std, a, b = 0.5, 2.0, -1.0, 1.5
    torch.manual_seed(0)
    values = trunc_normal_(torch.empty(1000, dtype=torch.float64), mean, std, a, b)

    def cdf(x):
        return 0.5 * (1 + math.erf((x - mean) / (std * math.sqrt(2))))

    torch.manual_seed(0)
    uniform = torch.empty(1000, dtype=torch.float64).uniform_(2 * cdf(a) - 1, 2 * cdf(b) - 1)
    found = torch.tensor([2 * cdf(value) - 1 for value in values.tolist()], dtype=torch.float64)
    torch.testing.assert_close(found, uniform, rtol=0, atol=1e-12)
    assert values.min() >= a
    assert values.max() <= b


def test_truncated_normal_weights_come_with_a_bias():
    linear = nn.Linear(50, 50)
    TruncNormalInit(std=3, a=-0.5, b=0.5, bias=1, layer='Linear')(linear)
    assert linear.weight.abs().max() <= 0.5
    trunc_normal_init(linear, bias=2)
    assert linear.bias.unique().tolist() == [2.0]


@pytest.mark.parametrize(
    'module',
    [nn.Linear(2, 2, bias=False), nn.ReLU(), nn.BatchNorm1d(2, affine=False)],
    ids=['no-bias', 'nothing', 'None'],
)
@pytest.mark.parametrize(
    'function', [lambda m: constant_init(m, 1), normal_init, uniform_init, trunc_normal_init]
)
def test_what_a_layer_lacks_is_left_out(function, module):
    function(module)


def test_a_prior_probability_becomes_its_logit():
    assert bias_init_with_prob(0.01) == pytest.approx(-4.59511985)
    linear = nn.Linear(1, 1)
    ConstantInit(val=0, bias_prob=0.2, layer='Linear')(linear)
    assert torch.sigmoid(linear(torch.ones(1))).item() == pytest.approx(0.2)


@pytest.mark.parametrize(
    ('kwargs', 'message'),
    [
        (dict(bias='x'), 'bias'),
        (dict(bias_prob=1), 'bias_prob'),
        (dict(layer=1), 'layer'),
        (dict(layer=[1]), 'layer'),
    ],
    ids=['bias', 'bias_prob', 'layer', 'layers'],
)
def test_a_value_of_another_type_is_refused(kwargs, message):
    with pytest.raises(TypeError, match=message):
        ConstantInit(val=1, **kwargs)


def test_an_unknown_distribution_is_refused():
    with pytest.raises(ArgumentError, match=r"'normal', 'uniform'.*'cauchy'"):
        kaiming_init(layer(), distribution='cauchy')


# -- initialize -----------------------------------------------------------------------------------


class Parts(nn.Module):
    def __init__(self):
        super().__init__()
        self.feat = nn.Conv1d(1, 1, 1)
        self.reg = nn.Conv2d(1, 1, 1)
        self.seq = nn.Sequential(nn.Linear(1, 1), nn.Conv2d(1, 1, 1))
        self.norm = nn.BatchNorm2d(1)
        for parameter in self.parameters():
            init.constant_(parameter, -9)

    def values(self):
        """Parts by the weight and bias they have; untouched ones left out."""
        found = {name: p.item() for name, p in self.named_parameters() if p.item() != -9}
        return {
            name.removesuffix('.weight'): (value, found[name.replace('weight', 'bias')])
            for name, value in found.items()
            if name.endswith('weight')
        }


CASES = {
    'by-class': (dict(layer='Conv2d'), {'reg': (1, 2), 'seq.1': (1, 2)}),
    'by-classes': (dict(layer=['Conv1d', 'Linear']), {'feat': (1, 2), 'seq.0': (1, 2)}),
    'by-direct-base': (dict(layer=['_ConvNd']), {'feat': (1, 2), 'reg': (1, 2), 'seq.1': (1, 2)}),
    'not-by-farther-base': (dict(layer=['_NormBase']), {}),
    'no-layer': ({}, {}),
    'override-by-name-only': (dict(override=dict(name='reg')), {'reg': (1, 2)}),
    'layers-and-override': (
        dict(layer='Conv1d', override=dict(name='reg')),
        {'feat': (1, 2), 'reg': (1, 2)},
    ),
    'override-with-its-own': (
        dict(layer='Conv2d', override=dict(type='Constant', name='reg', val=3, bias=4)),
        {'reg': (3, 4), 'seq.1': (1, 2)},
    ),
    'override-of-all-inside': (
        dict(override=dict(type='Constant', name='seq', val=3, bias=4)),
        {'seq.0': (3, 4), 'seq.1': (3, 4)},
    ),
    'overrides': (
        dict(override=[dict(name='reg'), dict(type='Constant', name='norm', val=7)]),
        {'reg': (1, 2), 'norm': (7, 0)},
    ),
}


@pytest.mark.parametrize('name', CASES)
def test_a_config_initialises_what_it_names(name):
    settings, expected = CASES[name]
    cfg = dict(type='Constant', val=1, bias=2, **settings)
    before = repr(cfg)
    model = Parts()
    initialize(model, cfg)
    assert model.values() == expected
    assert repr(cfg) == before


def test_configs_of_a_list_apply_in_order():
    model = Parts()
    initialize(
        model,
        [
            dict(type='Constant', val=1, layer='_ConvNd'),
            dict(type='Constant', val=5, layer='Conv1d'),
        ],
    )
    assert model.values() == {'feat': (5, 0), 'reg': (1, 0), 'seq.1': (1, 0)}


@pytest.mark.parametrize(
    ('cfg', 'error', 'message'),
    [
        (3, TypeError, 'got int'),
        ([3], TypeError, 'got int'),
        (dict(type='Constant', val=1, override=3), TypeError, 'override.*got int'),
        (
            dict(type='Constant', val=1, override=dict(name='rag')),
            RuntimeError,
            "'rag'.*Parts.*Did you mean 'reg'",
        ),
        (dict(type='Constant', val=1, override=dict(type='Constant', val=1)), ValueError, '`name`'),
        (
            dict(type='Constant', val=1, override=dict(name='reg', val=3)),
            ValueError,
            "'reg'.*`type`",
        ),
        (dict(type='Constnat', val=1), KeyError, 'Constant'),
    ],
    ids=['number', 'numbers', 'override', 'unknown-name', 'no-name', 'no-type', 'typo'],
)
def test_a_wrong_config_is_refused(cfg, error, message):
    with pytest.raises(error, match=message):
        initialize(Parts(), cfg)


def test_all_initialisers_are_registered():
    names = {
        'Caffe2Xavier',
        'Constant',
        'Kaiming',
        'Normal',
        'Pretrained',
        'TruncNormal',
        'Uniform',
        'Xavier',
    }
    assert names <= set(WEIGHT_INITIALIZERS.module_dict)


# -- pretrained -----------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tmp_path):
    path = tmp_path / 'weights.pth'
    model = nn.ModuleDict({'backbone': nn.Linear(1, 1), 'head': nn.Linear(1, 1)})
    for value, parameter in enumerate(model.parameters()):
        init.constant_(parameter, 10 + value)
    torch.save(dict(state_dict=model.state_dict()), path)
    return str(path)


def test_pretrained_weights_are_loaded(checkpoint):
    model = nn.ModuleDict({'backbone': nn.Linear(1, 1), 'head': nn.Linear(1, 1)})
    initialize(model, dict(type='Pretrained', checkpoint=checkpoint))
    assert [p.item() for p in model.parameters()] == [10, 11, 12, 13]


def test_a_part_of_the_checkpoint_is_loaded_by_its_prefix(checkpoint):
    head = nn.Linear(1, 1)
    PretrainedInit(checkpoint, prefix='head.')(head)
    assert [p.item() for p in head.parameters()] == [12, 13]


# -- init info ------------------------------------------------------------------------------------


def test_a_note_outside_of_init_weights_is_refused():
    with pytest.raises(ArgumentError, match='inside init_weights'):
        update_init_info(nn.Linear(1, 1), 'by hand')


def test_only_changed_parameters_get_the_note():
    notes = {}

    class Net(BaseModule):
        def __init__(self):
            super().__init__(dict(type='Constant', val=1, layer='Linear'))
            self.linear = nn.Linear(1, 1)
            self.own = nn.Parameter(torch.zeros(1))

        def init_weights(self):
            super().init_weights()

    class Outer(BaseModule):
        def __init__(self):
            super().__init__()
            self.net = Net()
            self.extra = Extra()

    class Extra(BaseModule):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(1, 1)

        def init_weights(self):
            super().init_weights()
            # .data goes past autograd's version counter
            self.linear.weight.data.fill_(4.0)
            update_init_info(self, 'filled by hand')
            notes.update({p: entry['init_info'] for p, entry in self._params_init_info.items()})

    outer = Outer()
    outer.init_weights()
    assert notes[outer.net.linear.weight] == 'ConstantInit: val=1, bias=0'
    assert notes[outer.extra.linear.weight] == 'filled by hand'
    assert notes[outer.net.own] == 'not changed by init_weights of Outer'
    assert not any(hasattr(module, '_params_init_info') for module in outer.modules())
