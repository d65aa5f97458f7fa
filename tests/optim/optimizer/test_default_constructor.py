"""Which options each parameter gets: tables worked out by hand from lr=2, weight_decay=10."""

import pytest
import torch
from torch import nn

from mmengine.optim import AmpOptimWrapper, DefaultOptimWrapperConstructor, OptimWrapper
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIMIZERS
from mmengine.utils.errors import ArgumentError

LR, DECAY = 2.0, 10.0
OPTIMIZER = dict(type='SGD', lr=LR, weight_decay=DECAY, momentum=0.9)


class DeformConv2d(nn.Module):
    """Stands for the operator of that name, whose offsets come from a layer called conv_offset."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(2, 2))
        self.conv_offset = nn.Conv2d(2, 2, 1)


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(3))
        self.conv = nn.Conv2d(3, 4, 3)
        self.depthwise = nn.Conv2d(4, 4, 3, groups=4)
        self.norm = nn.BatchNorm2d(4)
        self.head = nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 2))
        self.deform = DeformConv2d()


# (lr, weight decay) of each parameter with an empty paramwise_cfg
UNCHANGED = {
    'scale': (2, 10),
    'conv.weight': (2, 10),
    'conv.bias': (2, 10),
    'depthwise.weight': (2, 10),
    'depthwise.bias': (2, 10),
    'norm.weight': (2, 10),
    'norm.bias': (2, 10),
    'head.0.weight': (2, 10),
    'head.0.bias': (2, 10),
    'head.1.weight': (2, 10),
    'head.1.bias': (2, 10),
    'deform.weight': (2, 10),
    'deform.conv_offset.weight': (2, 10),
    'deform.conv_offset.bias': (2, 10),
}

TABLES = {
    'bias_lr': (
        dict(bias_lr_mult=3),  # not for norms, not inside a deformable convolution
        {'conv.bias': (6, 10), 'depthwise.bias': (6, 10), 'head.1.bias': (6, 10)},
    ),
    'bias_decay': (
        dict(bias_decay_mult=0.5),  # for norms too
        {
            'conv.bias': (2, 5),
            'depthwise.bias': (2, 5),
            'norm.bias': (2, 5),
            'head.0.bias': (2, 5),
            'head.1.bias': (2, 5),
        },
    ),
    'norm_decay': (
        dict(norm_decay_mult=0),
        {
            'norm.weight': (2, 0),
            'norm.bias': (2, 0),
            'head.0.weight': (2, 0),
            'head.0.bias': (2, 0),
        },
    ),
    'flat_decay': (
        dict(flat_decay_mult=0.1),
        {
            'scale': (2, 1),
            'conv.bias': (2, 1),
            'depthwise.bias': (2, 1),
            'norm.weight': (2, 1),
            'norm.bias': (2, 1),
            'head.0.weight': (2, 1),
            'head.0.bias': (2, 1),
            'head.1.bias': (2, 1),
        },
    ),
    'depthwise_decay': (
        dict(dwconv_decay_mult=0.2),
        {'depthwise.weight': (2, 2), 'depthwise.bias': (2, 2)},
    ),
    'offset_lr': (
        dict(dcn_offset_lr_mult=0.25),
        {'deform.conv_offset.weight': (0.5, 10), 'deform.conv_offset.bias': (0.5, 10)},
    ),
    'all_decays_norm_first_then_bias_then_depthwise_then_flat': (
        dict(norm_decay_mult=0, bias_decay_mult=0.1, dwconv_decay_mult=0.2, flat_decay_mult=0.3),
        {
            'scale': (2, 3),
            'conv.bias': (2, 1),
            'depthwise.weight': (2, 2),
            'depthwise.bias': (2, 1),
            'norm.weight': (2, 0),
            'norm.bias': (2, 0),
            'head.0.weight': (2, 0),
            'head.0.bias': (2, 0),
            'head.1.bias': (2, 1),
        },
    ),
    'longest_custom_key_wins': (
        dict(custom_keys={'head': dict(lr_mult=0.5), 'head.1': dict(decay_mult=0.5)}),
        {
            'head.0.weight': (1, 10),
            'head.0.bias': (1, 10),
            'head.1.weight': (2, 5),
            'head.1.bias': (2, 5),
        },
    ),
    'equal_custom_keys_go_by_alphabet': (
        dict(custom_keys={'norm': dict(lr_mult=3), 'bias': dict(lr_mult=4)}),
        {
            'conv.bias': (8, 10),
            'depthwise.bias': (8, 10),
            'norm.weight': (6, 10),
            'norm.bias': (8, 10),
            'head.0.bias': (8, 10),
            'head.1.bias': (8, 10),
            'deform.conv_offset.bias': (8, 10),
        },
    ),
    'custom_key_leaves_no_room_for_rules': (
        dict(custom_keys={'head': dict(lr_mult=0.5)}, bias_lr_mult=3, norm_decay_mult=0),
        {
            'conv.bias': (6, 10),
            'depthwise.bias': (6, 10),
            'norm.weight': (2, 0),
            'norm.bias': (2, 0),
            'head.0.weight': (1, 10),
            'head.0.bias': (1, 10),
            'head.1.weight': (1, 10),
            'head.1.bias': (1, 10),
        },
    ),
    'dot_names_parameters_of_the_model_itself': (
        dict(custom_keys={'.scale': dict(decay_mult=0)}),
        {'scale': (2, 0)},
    ),
}


def names_of(model: nn.Module) -> dict[nn.Parameter, str]:
    return {param: name for name, param in model.named_parameters()}


def options(model: nn.Module, wrapper: OptimWrapper) -> dict[str, tuple[float, float]]:
    names = names_of(model)
    return {
        names[group['params'][0]]: (group['lr'], group['weight_decay'])
        for group in wrapper.optimizer.param_groups
    }


def build(paramwise_cfg: dict | None, model: nn.Module, **optimizer) -> OptimWrapper:
    cfg = dict(optimizer=optimizer or OPTIMIZER)
    return DefaultOptimWrapperConstructor(cfg, paramwise_cfg)(model)


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    messages: list[str] = []
    monkeypatch.setattr(
        'mmengine.optim.optimizer.default_constructor.print_log',
        lambda msg, **kwargs: messages.append(msg),
    )
    return messages


@pytest.mark.parametrize('table', TABLES)
def test_each_parameter_gets_the_options_of_the_table(table: str) -> None:
    paramwise_cfg, changed = TABLES[table]
    model = Net()
    found = options(model, build(paramwise_cfg, model))
    assert found == UNCHANGED | changed


def test_groups_come_in_the_order_of_the_modules() -> None:
    model = Net()
    assert list(options(model, build(dict(bias_lr_mult=2), model))) == list(UNCHANGED)


@pytest.mark.parametrize('paramwise_cfg', [None, {}])
def test_without_paramwise_cfg_there_is_one_group(paramwise_cfg: dict | None) -> None:
    model = Net()
    wrapper = build(paramwise_cfg, model)
    (group,) = wrapper.param_groups
    assert [names_of(model)[param] for param in group['params']] == list(UNCHANGED)
    assert wrapper.get_lr() == {'lr': [2.0]}


def test_group_of_a_custom_key_keeps_its_multipliers_and_further_options() -> None:
    model = nn.Linear(2, 1, bias=False)
    custom = dict(lr_mult=0.5, decay_mult=0.1, momentum=0.7, tag='head')
    wrapper = build(dict(custom_keys={'weight': custom}), model)
    group = wrapper.optimizer.param_groups[0]
    expected = dict(lr=1.0, weight_decay=1.0, lr_mult=0.5, decay_mult=0.1, momentum=0.7, tag='head')
    assert {key: group[key] for key in expected} == expected


def test_model_inside_a_wrapping_module_gives_its_own_names(logged: list[str]) -> None:
    build(dict(bias_lr_mult=2), nn.DataParallel(nn.Linear(2, 1)))
    assert logged == ['paramwise_options -- bias:lr=4.0']


def test_a_child_called_module_is_a_child_like_others(logged: list[str]) -> None:
    model = nn.Module()
    model.module, model.head = nn.Linear(2, 1), nn.Linear(1, 1)
    wrapper = build(dict(bias_lr_mult=2), model)
    assert logged == [f'paramwise_options -- {name}.bias:lr=4.0' for name in ('module', 'head')]
    assert len(wrapper.optimizer.param_groups) == 4


def test_frozen_parameters_are_left_out_with_a_warning(logged: list[str]) -> None:
    model = nn.Linear(2, 1)
    model.weight.requires_grad_(False)
    wrapper = build(dict(bias_decay_mult=1), model)
    assert list(options(model, wrapper)) == ['bias']
    assert any('weight' in message and 'requires_grad' in message for message in logged)


def test_model_without_parameters_is_refused() -> None:
    with pytest.raises(ArgumentError, match='Identity has no parameter'):
        build(None, nn.Identity())


# Shared parameters


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(2, 2)
        self.decoder = nn.Linear(2, 2)
        self.decoder.weight = self.encoder.weight


@pytest.mark.parametrize('paramwise_cfg', [None, dict(bias_lr_mult=2)])
def test_shared_parameter_is_counted_once(paramwise_cfg: dict | None) -> None:
    model = Tied()
    groups = build(paramwise_cfg, model).optimizer.param_groups
    assert [names_of(model)[param] for group in groups for param in group['params']] == [
        'encoder.weight',
        'encoder.bias',
        'decoder.bias',
    ]


def test_shared_parameter_with_two_sets_of_options_is_refused() -> None:
    with pytest.raises(
        ValueError, match=r'decoder\.weight has another name.*bypass_duplicate=True'
    ):
        build(dict(custom_keys=dict(decoder=dict(lr_mult=0.1))), Tied())


def test_first_name_of_a_shared_parameter_wins_when_asked_to(logged: list[str]) -> None:
    model = Tied()
    paramwise_cfg = dict(custom_keys=dict(decoder=dict(lr_mult=0.5)), bypass_duplicate=True)
    assert options(model, build(paramwise_cfg, model)) == {
        'encoder.weight': (2, 10),
        'encoder.bias': (2, 10),
        'decoder.bias': (1, 10),
    }
    assert any('decoder.weight' in message for message in logged)


def test_groups_given_in_count_as_added() -> None:
    model = nn.Linear(2, 1)
    params = [{'params': [model.weight]}]
    constructor = DefaultOptimWrapperConstructor(dict(optimizer=OPTIMIZER), dict(flat_decay_mult=1))
    constructor.add_params(params, model)
    assert [names_of(model)[group['params'][0]] for group in params] == ['weight', 'bias']


# What multipliers multiply


def test_multipliers_fall_back_on_the_defaults_of_the_optimizer() -> None:
    # AdamW: lr 1e-3, weight_decay 1e-2
    model = nn.Linear(2, 1)
    wrapper = build(dict(bias_lr_mult=10, bias_decay_mult=0), model, type='AdamW')
    assert options(model, wrapper) == {'weight': (1e-3, 1e-2), 'bias': (1e-2, 0.0)}


def test_decay_of_an_optimizer_that_has_none_cannot_be_multiplied() -> None:
    with pytest.raises(ValueError, match='bias_decay_mult multiplies the weight_decay'):
        build(dict(bias_decay_mult=0), nn.Linear(2, 1), type='Rprop')


def test_optimizer_without_decay_can_have_other_rates() -> None:
    model = nn.Linear(2, 1)
    paramwise_cfg = dict(custom_keys=dict(bias=dict(lr_mult=0.5)))
    wrapper = build(paramwise_cfg, model, type='Rprop', lr=0.2)
    assert wrapper.get_lr() == {'base_lr': [0.2], 'lr': [0.2, 0.1]}


# Configuration


@pytest.mark.parametrize(
    ('optim_wrapper_cfg', 'paramwise_cfg', 'error', 'says'),
    [
        (3, None, TypeError, 'got int'),
        ({}, None, AssertionError, 'needs an "optimizer"'),
        (dict(optimzer=OPTIMIZER), None, ValueError, "Did you mean 'optimzer'"),  # codespell:ignore
        (dict(optimizer='SGD'), None, TypeError, 'got str'),
        (dict(optimizer=OPTIMIZER), 3, TypeError, 'paramwise_cfg'),
        (dict(optimizer=OPTIMIZER), dict(custom_keys=['a']), TypeError, 'got list'),
        (dict(optimizer=OPTIMIZER), dict(custom_keys=dict(a=0.1)), TypeError, r"\['a'\]"),
    ],
)
def test_unclear_configuration_is_refused(
    optim_wrapper_cfg: object, paramwise_cfg: object, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        DefaultOptimWrapperConstructor(optim_wrapper_cfg, paramwise_cfg)


def test_misspelt_rule_is_warned_of(logged: list[str]) -> None:
    DefaultOptimWrapperConstructor(dict(optimizer=OPTIMIZER), dict(norm_decay_mul=0))
    assert len(logged) == 1
    assert "Did you mean 'norm_decay_mult'" in logged[0]


def test_custom_key_that_names_no_parameter_is_warned_of(logged: list[str]) -> None:
    build(dict(custom_keys=dict(bias=dict(), backbone=dict(lr_mult=0.1))), nn.Linear(2, 1))
    assert sum("'backbone'" in message for message in logged) == 1
    assert not any("custom_keys['bias']" in message for message in logged)


def test_configuration_is_not_changed() -> None:
    cfg = dict(optimizer=dict(OPTIMIZER))
    DefaultOptimWrapperConstructor(cfg, dict(bias_lr_mult=2))(nn.Linear(2, 1))
    assert cfg == dict(optimizer=OPTIMIZER)


def test_type_of_the_wrapper_and_its_arguments_are_used() -> None:
    cfg = dict(type='AmpOptimWrapper', optimizer=OPTIMIZER, dtype='bfloat16', accumulative_counts=2)
    wrapper = DefaultOptimWrapperConstructor(cfg)(nn.Linear(2, 1))
    assert isinstance(wrapper, AmpOptimWrapper)
    assert not wrapper.should_sync()


def test_subclass_makes_other_rules_and_has_keys_of_its_own(logged: list[str]) -> None:
    class LayerDecay(DefaultOptimWrapperConstructor):
        def add_params(self, params, module, prefix='', is_dcn_module=None):
            for param in module.parameters():
                params.append({'params': [param], 'lr': self.base_lr * self.paramwise_cfg['decay']})

    wrapper = LayerDecay(dict(optimizer=OPTIMIZER), dict(decay=0.5))(nn.Linear(2, 1))
    assert wrapper.get_lr()['lr'] == [1.0, 1.0]
    assert logged == []


def test_it_is_registered_under_its_name() -> None:
    assert (
        OPTIM_WRAPPER_CONSTRUCTORS.get('DefaultOptimWrapperConstructor')
        is DefaultOptimWrapperConstructor
    )


class Weights(torch.optim.SGD):
    def __init__(self, weights, lr=0.5):
        super().__init__(weights, lr=lr)


class Anything(torch.optim.SGD):
    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)


class Later(torch.optim.SGD):
    def __init__(self, model_name='', *, params, lr=0.5):
        super().__init__(params, lr=lr)


def sgd_of(weights, lr=0.5):
    return torch.optim.SGD(weights, lr=lr)


@pytest.mark.parametrize('kind', [Weights, Anything, Later, sgd_of])
@pytest.mark.parametrize('by_name', [True, False])
def test_an_optimizer_may_call_its_parameters_as_it_likes(kind, by_name, monkeypatch):
    if by_name:
        monkeypatch.setitem(OPTIMIZERS.module_dict, 'Own', kind)
    config = {'type': 'Own' if by_name else kind, 'lr': 0.25}
    for paramwise, lrs in ((None, [0.25]), ({'bias_lr_mult': 2.0}, [0.25, 0.5])):
        construct = DefaultOptimWrapperConstructor({'optimizer': config}, paramwise)
        wrapper = construct(nn.Linear(1, 1))
        assert [group['lr'] for group in wrapper.optimizer.param_groups] == lrs
