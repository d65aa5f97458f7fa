"""build_optim_wrapper, and the names under which optimizers are found."""

import importlib.util
import inspect
import subprocess
import sys
import types
from importlib.machinery import ModuleSpec

import pytest
import torch
from torch import nn

from mmengine.config import ConfigDict
from mmengine.optim import (
    AmpOptimWrapper,
    DefaultOptimWrapperConstructor,
    OptimWrapper,
    OptimWrapperDict,
    build_optim_wrapper,
)
from mmengine.optim.optimizer import builder
from mmengine.registry import OPTIM_WRAPPER_CONSTRUCTORS, OPTIM_WRAPPERS, OPTIMIZERS
from mmengine.utils.errors import ArgumentError


class Gan(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.generator = nn.Linear(2, 3)
        self.discriminator = nn.Linear(3, 1)


def test_one_optimizer_over_the_whole_model() -> None:
    wrapper = build_optim_wrapper(Gan(), dict(optimizer=dict(type='SGD', lr=0.1)))
    assert type(wrapper) is OptimWrapper
    assert type(wrapper.optimizer) is torch.optim.SGD
    assert wrapper.get_lr() == {'lr': [0.1]}


def test_config_dict_is_built_and_not_changed() -> None:
    cfg = ConfigDict(
        type='AmpOptimWrapper',
        optimizer=dict(type='Adam', betas=(0.5, 0.9)),
        paramwise_cfg=dict(bias_lr_mult=2.0),
        dtype='bfloat16',
        clip_grad=dict(max_norm=1.0),
    )
    before = cfg.to_dict()
    wrapper = build_optim_wrapper(Gan(), cfg)
    assert isinstance(wrapper, AmpOptimWrapper)
    assert wrapper.get_lr()['lr'] == [0.001, 0.002, 0.001, 0.002]
    assert wrapper.get_momentum()['momentum'] == [0.5] * 4
    assert cfg.to_dict() == before


def test_constructor_is_taken_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    class Frozen(DefaultOptimWrapperConstructor):
        def __call__(self, model):
            wrapper = super().__call__(model)
            wrapper.made_by = 'Frozen'
            return wrapper

    monkeypatch.setitem(OPTIM_WRAPPER_CONSTRUCTORS.module_dict, 'Frozen', Frozen)
    cfg = dict(constructor='Frozen', optimizer=dict(type='SGD', lr=0.1))
    assert build_optim_wrapper(Gan(), cfg).made_by == 'Frozen'


def test_optimizer_that_is_built_already_is_wrapped() -> None:
    model = Gan()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    wrapper = build_optim_wrapper(model, dict(optimizer=optimizer, accumulative_counts=4))
    assert wrapper.optimizer is optimizer
    assert not wrapper.should_sync()


def test_groups_of_an_optimizer_that_is_built_already_cannot_be_made_anew() -> None:
    model = Gan()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    with pytest.raises(ArgumentError, match='paramwise_cfg'):
        build_optim_wrapper(model, dict(optimizer=optimizer, paramwise_cfg=dict(bias_lr_mult=2)))


def test_wrapper_that_is_built_already_is_returned() -> None:
    wrapper = build_optim_wrapper(Gan(), dict(optimizer=dict(type='SGD', lr=0.1)))
    assert build_optim_wrapper(Gan(), wrapper) is wrapper


@pytest.mark.parametrize('skip', [True, False])
def test_skip_non_finite_is_set_from_the_configuration(skip: bool) -> None:
    cfg = dict(optimizer=dict(type='SGD', lr=0.1), skip_non_finite=skip)
    assert build_optim_wrapper(Gan(), cfg).skip_non_finite is skip


@pytest.mark.parametrize('cfg', [3, 'SGD', None, [dict(optimizer=dict(type='SGD'))]])
def test_what_is_no_configuration_is_refused(cfg: object) -> None:
    with pytest.raises(TypeError, match='optim_wrapper should be a dict'):
        build_optim_wrapper(Gan(), cfg)


@pytest.mark.parametrize(
    'cfg',
    [
        {},
        dict(type='OptimWrapper'),
        dict(optimzer=dict(type='SGD', lr=0.1)),  # codespell:ignore
        dict(generator=dict(type='SGD', lr=0.1)),
    ],
)
def test_forgotten_optimizer_is_named(cfg: dict) -> None:
    with pytest.raises(AssertionError, match='needs an "optimizer"'):
        build_optim_wrapper(Gan(), cfg)


def test_unknown_optimizer_is_answered_with_the_near_one() -> None:
    with pytest.raises(KeyError, match="Did you mean 'AdamW'"):
        build_optim_wrapper(Gan(), dict(optimizer=dict(type='AdmW', lr=0.1)))


# Several optimizers


def test_each_sub_module_gets_a_wrapper_of_its_own() -> None:
    model = Gan()
    wrappers = build_optim_wrapper(
        model,
        dict(
            generator=dict(optimizer=dict(type='Adam', lr=0.1), accumulative_counts=2),
            discriminator=dict(
                type='AmpOptimWrapper', dtype='bfloat16', optimizer=dict(type='SGD', lr=0.2)
            ),
        ),
    )
    assert isinstance(wrappers, OptimWrapperDict)
    assert list(wrappers) == ['generator', 'discriminator']
    assert type(wrappers['generator']) is OptimWrapper
    assert type(wrappers['discriminator']) is AmpOptimWrapper
    for name in wrappers:
        held = wrappers[name].optimizer.param_groups[0]['params']
        expected = list(getattr(model, name).parameters())
        assert all(mine is theirs for mine, theirs in zip(held, expected, strict=True))


def test_sub_modules_are_found_inside_a_wrapping_module() -> None:
    wrapping = nn.DataParallel(Gan())
    wrappers = build_optim_wrapper(wrapping, dict(generator=dict(optimizer=dict(type='Adam'))))
    held = wrappers['generator'].optimizer.param_groups[0]['params']
    assert held[0] is wrapping.module.generator.weight


def test_sub_module_can_lie_deeper() -> None:
    model = nn.Module()
    model.gan = Gan()
    wrappers = build_optim_wrapper(model, {'gan.generator': dict(optimizer=dict(type='Adam'))})
    assert wrappers['gan.generator'].optimizer.param_groups[0]['params'][0] is (
        model.gan.generator.weight
    )


def test_wrapper_built_already_can_stand_beside_configurations() -> None:
    model = Gan()
    ready = OptimWrapper(torch.optim.SGD(model.generator.parameters(), lr=0.3))
    wrappers = build_optim_wrapper(
        model, dict(generator=ready, discriminator=dict(optimizer=dict(type='SGD', lr=0.1)))
    )
    assert wrappers['generator'] is ready
    assert wrappers.get_lr() == {'generator.lr': [0.3], 'discriminator.lr': [0.1]}


def test_unknown_sub_module_is_answered_with_the_near_one() -> None:
    cfg = dict(genrator=dict(optimizer=dict(type='SGD', lr=0.1)))  # codespell:ignore
    with pytest.raises(ArgumentError, match=r"generator, discriminator.*mean 'generator'"):
        build_optim_wrapper(Gan(), cfg)


# Names


TORCH_OPTIMIZERS = sorted(
    name
    for name, member in vars(torch.optim).items()
    if inspect.isclass(member) and issubclass(member, torch.optim.Optimizer)
)


@pytest.mark.parametrize('name', TORCH_OPTIMIZERS)
def test_every_optimizer_of_torch_has_its_name(name: str) -> None:
    if name == 'Adafactor' and importlib.util.find_spec('transformers') is not None:
        from transformers.optimization import Adafactor

        built = OPTIMIZERS.build({'type': name, 'params': [torch.nn.Parameter(torch.ones(1))]})
        assert isinstance(built, Adafactor)  # as in the API
        return
    assert OPTIMIZERS.get(name) is getattr(torch.optim, name)


def test_adafactor_of_torch_has_a_name_that_no_package_takes() -> None:
    assert OPTIMIZERS.get('TorchAdafactor') is torch.optim.Adafactor


@pytest.mark.parametrize('name', ['OptimWrapper', 'AmpOptimWrapper', 'ApexOptimWrapper'])
def test_wrappers_have_their_names(name: str) -> None:
    assert OPTIM_WRAPPERS.get(name).__name__ == name


def test_registering_again_changes_nothing() -> None:
    before = dict(OPTIMIZERS.module_dict)
    names = builder.register_torch_optimizers()
    assert OPTIMIZERS.module_dict == before
    assert {'SGD', 'AdamW', 'TorchAdafactor'} <= set(names)


@pytest.fixture
def registry(monkeypatch: pytest.MonkeyPatch) -> dict:
    """The names of OPTIMIZERS, put back after the test."""
    names = dict(OPTIMIZERS.module_dict)
    monkeypatch.setattr(OPTIMIZERS, '_module_dict', names)
    return names


def install(monkeypatch: pytest.MonkeyPatch, name: str, **members: object) -> None:
    module = types.ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)
    vars(module).update(members)
    monkeypatch.setitem(sys.modules, name, module)


def test_optional_optimizer_is_built_from_its_package(registry, monkeypatch) -> None:
    class Lion(torch.optim.SGD):
        pass

    install(monkeypatch, 'lion_pytorch', Lion=Lion)
    assert builder.register_lion_optimizers() == ['Lion']
    wrapper = build_optim_wrapper(Gan(), dict(optimizer=dict(type='Lion', lr=0.25)))
    assert type(wrapper.optimizer) is Lion
    assert wrapper.get_lr() == {'lr': [0.25]}


def test_optional_optimizer_whose_name_is_taken_gets_a_prefix(registry, monkeypatch) -> None:
    class Adam(torch.optim.Adam):
        pass

    install(monkeypatch, 'bitsandbytes')
    install(monkeypatch, 'bitsandbytes.optim', Adam=Adam, Adam8bit=Adam)
    names = builder.register_bitsandbytes_optimizers()
    assert {'bnb_Adam', 'bnb_SGD', 'Adam8bit', 'PagedAdamW8bit'} <= set(names)
    assert OPTIMIZERS.get('Adam') is torch.optim.Adam
    wrapper = build_optim_wrapper(Gan(), dict(optimizer=dict(type='bnb_Adam')))
    assert type(wrapper.optimizer) is Adam


@pytest.mark.parametrize(
    ('register', 'package'),
    [
        (builder.register_bitsandbytes_optimizers, 'bitsandbytes'),
        (builder.register_dadaptation_optimizers, 'dadaptation'),
        (builder.register_lion_optimizers, 'lion_pytorch'),
        (builder.register_sophia_optimizers, 'Sophia'),
        (builder.register_torch_npu_optimizers, 'torch_npu'),
        (builder.register_transformers_optimizers, 'transformers'),
    ],
)
def test_package_that_is_missing_registers_nothing(registry, monkeypatch, register, package):
    before = dict(registry)
    monkeypatch.setattr(builder, '_is_installed', lambda name: name != package)
    assert register() == []
    assert registry == before


def test_importing_the_package_imports_nothing_heavy() -> None:
    script = (
        'import sys, mmengine.optim\n'
        'heavy = ["torch._dynamo", "torch.distributed.fsdp", "torch.distributed.optim",'
        ' "bitsandbytes", "transformers", "matplotlib"]\n'
        'sys.exit(str([name for name in heavy if name in sys.modules] or ""))'
    )
    done = subprocess.run([sys.executable, '-c', script], capture_output=True, text=True)
    assert done.stderr.strip() == ''
