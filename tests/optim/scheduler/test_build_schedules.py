"""From a config's ``param_scheduler`` to the schedules of a run."""

import pytest

from mmengine.config import Config
from mmengine.optim import OptimWrapper, OptimWrapperDict, scheduler
from mmengine.optim.scheduler._build import build_param_schedulers
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.utils.errors import ArgumentError


@pytest.fixture
def wrapper(make_optimizer):
    return OptimWrapper(make_optimizer())


@pytest.fixture
def gan(make_optimizer):
    return OptimWrapperDict(
        generator=OptimWrapper(make_optimizer([0.1])),
        critic=OptimWrapper(make_optimizer([0.4])),
    )


def test_one_config_is_a_list_of_one(wrapper):
    (built,) = build_param_schedulers({'type': 'StepLR', 'step_size': 3}, wrapper)
    assert type(built) is scheduler.StepLR
    assert built.optimizer is wrapper


def test_a_list_keeps_its_order(wrapper):
    configs = [{'type': 'LinearLR', 'end': 3}, {'type': 'StepMomentum', 'step_size': 3}]
    built = build_param_schedulers(configs, wrapper)
    assert [type(schedule).__name__ for schedule in built] == ['LinearLR', 'StepMomentum']


def test_an_open_end_is_the_end_of_the_run(wrapper):
    configs = [
        {'type': 'PolyLR'},
        {'type': 'PolyLR', 'by_epoch': False},
        {'type': 'PolyLR', 'end': 4},
    ]
    built = build_param_schedulers(configs, wrapper, max_epochs=12, max_iters=1200)
    assert [schedule.end for schedule in built] == [12, 1200, 4]
    assert built[0].total_iters == 11


def test_epochs_become_iterations_after_the_end_was_filled_in(wrapper):
    config = {'type': 'CosineAnnealingLR', 'begin': 2, 'convert_to_iter_based': True}
    (built,) = build_param_schedulers(config, wrapper, epoch_length=50, max_epochs=12)
    assert (built.by_epoch, built.begin, built.end, built.T_max) == (False, 100, 600, 500)


def test_configs_are_left_unchanged(wrapper):
    config = Config({'s': {'type': 'LinearLR', 'convert_to_iter_based': True}}).s
    before = dict(config)
    build_param_schedulers(config, wrapper, epoch_length=5, max_epochs=3)
    assert dict(config) == before


def test_built_schedules_pass_through(wrapper):
    built = scheduler.StepLR(wrapper, 3)
    assert build_param_schedulers(built, wrapper) == [built]
    assert build_param_schedulers([built, {'type': 'LinearLR'}], wrapper)[0] is built


def test_one_config_serves_every_optimizer_of_a_dict(gan):
    built = build_param_schedulers({'type': 'StepLR', 'step_size': 3}, gan)
    assert {name: [s.base_values for s in schedules] for name, schedules in built.items()} == {
        'generator': [[0.1]],
        'critic': [[0.4]],
    }


def test_configs_by_name_go_to_their_optimizer(gan):
    built = build_param_schedulers(
        {
            'critic': {'type': 'StepLR', 'step_size': 3},
            'generator': [{'type': 'LinearLR'}, {'type': 'ExponentialLR', 'gamma': 0.5}],
        },
        gan,
    )
    assert [type(s).__name__ for s in built['generator']] == ['LinearLR', 'ExponentialLR']
    assert built['critic'][0].optimizer is gan['critic']


def test_built_schedules_of_several_optimizers_pass_through(gan):
    schedules = [scheduler.StepLR(gan['critic'], 3), scheduler.StepLR(gan['generator'], 5)]
    assert build_param_schedulers(schedules, gan) == schedules


def test_an_unknown_optimizer_name_is_refused_with_the_nearest(gan):
    with pytest.raises(ArgumentError, match=r"'critik'.*'generator', 'critic'.*mean 'critic'"):
        build_param_schedulers({'critik': {'type': 'StepLR', 'step_size': 3}}, gan)


def test_configs_by_name_need_several_optimizers(wrapper):
    with pytest.raises(ArgumentError, match=r"single OptimWrapper. Its keys: 'critic'"):
        build_param_schedulers({'critic': {'type': 'StepLR', 'step_size': 3}}, wrapper)


def test_built_and_configured_schedules_do_not_mix_over_several_optimizers(gan):
    mixed = [scheduler.StepLR(gan['critic'], 3), {'type': 'LinearLR'}]
    with pytest.raises(ArgumentError, match='dict by optimizer name'):
        build_param_schedulers(mixed, gan)


def test_a_schedule_after_the_end_of_the_run_says_so(wrapper):
    config = {'type': 'CosineAnnealingLR', 'begin': 5}
    with pytest.raises(ArgumentError, match='begins at 5, but the run ends after 3 epochs'):
        build_param_schedulers(config, wrapper, max_epochs=3)


@pytest.mark.parametrize('wrong', ['StepLR', 5, [None], [['StepLR']]])
def test_what_is_no_config_is_refused(wrong, wrapper):
    with pytest.raises(TypeError, match='parameter schedule is a config dict'):
        build_param_schedulers(wrong, wrapper)


def test_every_schedule_is_registered_by_its_name():
    for name in scheduler.__all__:
        if not name.startswith('_'):
            assert PARAM_SCHEDULERS.get(name) is getattr(scheduler, name)
