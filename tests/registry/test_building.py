"""From a config to an object."""

import collections
import copy

import pytest
import torch
from torch import nn

from mmengine.config import Config, ConfigDict
from mmengine.config.lazy import LazyAttr, LazyObject
from mmengine.registry import (
    MODELS,
    PARAM_SCHEDULERS,
    RUNNERS,
    DefaultScope,
    Registry,
    build_from_cfg,
    build_runner_from_cfg,
    build_scheduler_from_cfg,
)
from mmengine.utils import ManagerMixin
from mmengine.utils.errors import ArgumentError


@pytest.mark.parametrize('kind', [dict, ConfigDict, Config], ids=lambda kind: kind.__name__)
def test_a_config_of_any_kind_is_built_and_left_as_it_was(shapes: Registry, kind: type) -> None:
    cfg = kind({'type': 'Square', 'side': [1, {'deep': 2}], '_scope_': 'geometry'})
    before = copy.deepcopy(cfg)
    square = shapes.build(cfg)
    assert type(square) is shapes.get('Square')
    assert square.side == [1, {'deep': 2}]
    assert square.colour == 'red'
    assert cfg == before if kind is not Config else cfg.to_dict() == before.to_dict()


def test_arguments_are_handed_over_uncopied(shapes: Registry) -> None:
    cfg = ConfigDict(type='Square', side=dict(inner=[1]))
    assert shapes.build(cfg).side is cfg.side
    assert isinstance(shapes.build(cfg).side, ConfigDict)


@pytest.mark.parametrize('kind', [dict, ConfigDict, Config], ids=lambda kind: kind.__name__)
def test_default_args_fill_gaps_and_are_left_as_they_were(shapes: Registry, kind: type) -> None:
    defaults = kind({'type': 'Square', 'side': 1, 'colour': 'blue'})
    square = build_from_cfg({'side': None}, shapes, defaults)
    assert (square.side, square.colour) == (None, 'blue')
    assert dict(defaults.items()) == {'type': 'Square', 'side': 1, 'colour': 'blue'}


def test_type_can_be_a_class_or_a_function(shapes: Registry) -> None:
    assert shapes.build({'type': collections.Counter, 'a': 2}) == collections.Counter(a=2)
    assert shapes.build({'type': lambda a: a + 1, 'a': 2}) == 3


def test_lazily_imported_names_are_imported(shapes: Registry) -> None:
    linear = LazyAttr('Linear', LazyObject('torch.nn'))
    for cfg in (dict, ConfigDict):
        layer = shapes.build(cfg(type=linear, in_features=2, out_features=3))
        assert isinstance(layer, nn.Linear)
        square = shapes.build(cfg(type='Square', side=LazyObject('torch.nn', 'ReLU')))
        assert square.side is nn.ReLU


def test_the_scope_key_sets_the_default_scope_while_building(shapes: Registry) -> None:
    child = Registry('shape', parent=shapes, scope='child')

    @child.register_module()
    class Frame:
        def __init__(self, inner: dict) -> None:
            self.inner = shapes.build(inner)

    @child.register_module()
    class Star:
        pass

    frame = shapes.build({'type': 'Frame', 'inner': {'type': 'Star'}, '_scope_': 'child'})
    assert type(frame.inner) is Star
    assert DefaultScope.get_current_instance() is None
    with pytest.raises(KeyError, match="'Star'"):
        shapes.build({'type': 'child.Frame', 'inner': {'type': 'Star'}})


def test_a_scope_key_of_none_is_no_scope(shapes: Registry) -> None:
    assert shapes.build({'type': 'Square', 'side': 1, '_scope_': None}).side == 1


def test_a_named_instance_is_made_once() -> None:
    registry = Registry('hub', scope='test')

    @registry.register_module()
    class Hub(ManagerMixin):
        def __init__(self, name: str, size: int = 1) -> None:
            super().__init__(name)
            self.size = size

    first = registry.build({'type': 'Hub', 'name': 'a', 'size': 3})
    assert first.instance_name == 'a'
    assert registry.build({'type': Hub, 'name': 'a'}) is first
    assert Hub.get_instance('a') is first
    assert registry.build({'type': 'Hub', 'name': 'b'}) is not first


@pytest.mark.parametrize('cfg', ['Square', None, 3, ({'type': 'Square'},)], ids=repr)
def test_only_configs_are_built(shapes: Registry, cfg: object) -> None:
    with pytest.raises(TypeError, match='cfg must be a dict, ConfigDict or Config'):
        shapes.build(cfg)


def test_arguments_of_a_wrong_kind_are_type_errors(shapes: Registry) -> None:
    with pytest.raises(TypeError, match='default_args must be a dict'):
        build_from_cfg({'type': 'Square'}, shapes, 'side')
    with pytest.raises(TypeError, match='registry must be a Registry, got int'):
        build_from_cfg({'type': 'Square'}, 3)
    with pytest.raises(TypeError, match='type must be a name, a class or a function, got 3'):
        shapes.build({'type': 3})


def test_a_list_of_models_is_built_into_a_sequential() -> None:
    linear = {'type': 'torch.nn.Linear', 'in_features': 2, 'out_features': 3}
    model = MODELS.build([linear, {'type': 'torch.nn.ReLU'}])
    assert isinstance(model, nn.Sequential)
    assert [type(layer) for layer in model] == [nn.Linear, nn.ReLU]
    assert model(torch.ones(1, 2)).shape == (1, 3)
    assert hasattr(model, 'init_weights')  # the engine's Sequential


def test_default_args_reach_every_model_of_a_list() -> None:
    relus = [{'type': 'torch.nn.ReLU'}, {'type': 'torch.nn.ReLU', 'inplace': False}]
    model = MODELS.build(relus, default_args={'inplace': True})
    assert [layer.inplace for layer in model] == [True, False]


class Decay:
    """Stands for a scheduler: keeps what it was made with."""

    def __init__(self, **kwargs: object) -> None:
        self.given = kwargs

    @classmethod
    def build_iter_from_epoch(cls, *, epoch_length: int, **kwargs: object) -> 'Decay':
        return cls(length=epoch_length, converted=True, **kwargs)


def test_a_scheduler_without_conversion_gets_no_epoch_length() -> None:
    for wanted in ({}, {'convert_to_iter_based': False}):
        cfg = {'type': Decay, 'gamma': 0.1, 'by_epoch': True, **wanted}
        built = PARAM_SCHEDULERS.build(cfg, default_args={'optimizer': 1, 'epoch_length': 10})
        assert built.given == {'gamma': 0.1, 'by_epoch': True, 'optimizer': 1}


def test_conversion_to_iterations_uses_the_class_method() -> None:
    cfg = {'type': Decay, 'gamma': 0.1, 'convert_to_iter_based': True}
    before = dict(cfg)
    built = PARAM_SCHEDULERS.build(cfg, default_args={'optimizer': 1, 'epoch_length': 10})
    assert built.given == {'length': 10, 'converted': True, 'gamma': 0.1, 'optimizer': 1}
    assert cfg == before


def test_a_registered_scheduler_converts_its_milestones() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=0.1)
    scheduler = PARAM_SCHEDULERS.build(
        {'type': 'MultiStepLR', 'milestones': [1, 2], 'convert_to_iter_based': True},
        default_args={'optimizer': optimizer, 'epoch_length': 10},
    )
    assert sorted(scheduler.milestones) == [10, 20]
    assert scheduler.by_epoch is False


@pytest.mark.parametrize(
    'given',
    [{}, {'epoch_length': 0}, {'by_epoch': False, 'epoch_length': 5}],
    ids=['no length', 'length 0', 'by iteration'],
)
def test_conversion_needs_epochs_and_their_length(given: dict) -> None:
    cfg = {'type': Decay, 'convert_to_iter_based': True, **given}
    with pytest.raises(ArgumentError, match='by_epoch=True and epoch_length'):
        build_scheduler_from_cfg(cfg, PARAM_SCHEDULERS)


def test_conversion_needs_a_class_that_can_convert() -> None:
    cfg = {'type': dict, 'convert_to_iter_based': True, 'epoch_length': 5}
    with pytest.raises(TypeError, match='dict has no build_iter_from_epoch'):
        build_scheduler_from_cfg(cfg, PARAM_SCHEDULERS)


def test_schedulers_and_runners_are_built_from_configs_only() -> None:
    with pytest.raises(AssertionError, match='got int'):
        build_scheduler_from_cfg(3, PARAM_SCHEDULERS)
    with pytest.raises(AssertionError, match='got int'):
        build_runner_from_cfg(3, RUNNERS)
    with pytest.raises(TypeError, match='registry must be a Registry'):
        build_runner_from_cfg({}, 3)


class Engine:
    """Stands for a runner: remembers its config and the scope in which it was made."""

    def __init__(self, cfg: object, scope: str | None) -> None:
        self.cfg = cfg
        self.scope = scope

    @classmethod
    def from_cfg(cls, cfg: object) -> 'Engine':
        scope = DefaultScope.get_current_instance()
        return cls(cfg, None if scope is None else scope.scope_name)


@pytest.mark.parametrize('kind', [dict, ConfigDict, Config], ids=lambda kind: kind.__name__)
def test_a_runner_is_made_from_a_copy_of_its_config(kind: type) -> None:
    runners = Registry('runner', build_runner_from_cfg, scope='test')
    runners.register_module(module=Engine)
    cfg = kind({'runner_type': 'Engine', 'max': 3, '_scope_': 'test'})
    engine = runners.build(cfg)
    assert type(engine.cfg) is kind
    assert dict(engine.cfg.items()) == {'runner_type': 'Engine', 'max': 3}
    assert engine.scope == 'test'
    assert cfg['_scope_'] == 'test'


def test_the_runner_named_runner_is_the_default() -> None:
    runners = Registry('runner', build_runner_from_cfg, scope='test')
    runners.register_module('Runner', module=Engine)
    assert isinstance(runners.build({'max': 3}), Engine)
    assert isinstance(runners.build({'runner_type': Engine}), Engine)
    with pytest.raises(TypeError, match='dict is not a runner'):
        runners.build({'runner_type': dict})
