"""The schedule that waits for a metric: windows, counts and what it refuses."""

import pytest
import torch

from mmengine.optim import OptimWrapper, scheduler
from mmengine.utils.errors import ArgumentError


def test_epochs_open_the_window_and_validations_count_as_steps(make_optimizer):
    optimizer = make_optimizer([0.1])
    plateau = scheduler.ReduceOnPlateauLR(optimizer, patience=0, begin=1, end=2)
    plateau.step({'loss': 1.0})
    assert (plateau.last_step, plateau.num_bad_epochs) == (-1, 0)  # before the window
    plateau.step()
    plateau.step({'loss': 1.0})
    plateau.step({'loss': 1.0})
    assert plateau.last_step == 1
    assert optimizer.param_groups[0]['lr'] == pytest.approx(0.01)
    plateau.step()
    plateau.step({'loss': 1.0})
    assert optimizer.param_groups[0]['lr'] == pytest.approx(0.01)  # after it
    assert plateau._global_step == 2


def test_patience_and_cooldown_over_a_flat_metric(make_optimizer):
    optimizer = make_optimizer([0.1])
    plateau = scheduler.ReduceOnPlateauLR(optimizer, patience=1, cooldown=1)
    rates = []
    for loss in [1.0, 1.0, 1.0, 1.0, 0.5, 0.5, 0.5]:
        plateau.step({'loss': loss})
        rates.append(plateau.get_last_value()[0])
    # Recorded from mmengine 0.10.7.
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.01, 0.01, 0.001])


def test_every_group_stops_at_its_own_lowest_value(make_optimizer):
    optimizer = make_optimizer([0.1, 0.1])
    plateau = scheduler.ReduceOnPlateauLR(optimizer, patience=0, min_value=[0.05, 0.005])
    for _ in range(4):
        plateau.step({'loss': 1.0})
    assert plateau.get_last_value() == pytest.approx([0.05, 0.005])


def test_a_metric_in_a_tensor_is_remembered_as_a_number(make_optimizer):
    plateau = scheduler.ReduceOnPlateauLR(make_optimizer(), monitor='acc', rule='greater')
    plateau.step({'acc': torch.tensor(0.5)})
    assert type(plateau.best) is float
    assert plateau.best == 0.5


def test_only_plateau_waits_for_a_validation():
    waiting = [name for name in scheduler.__all__ if getattr(scheduler, name).need_val_args]
    assert sorted(waiting) == [
        'ReduceOnPlateauLR',
        'ReduceOnPlateauMomentum',
        'ReduceOnPlateauParamScheduler',
    ]


def test_a_missing_metric_names_the_reported_ones(make_optimizer):
    plateau = scheduler.ReduceOnPlateauLR(make_optimizer(), monitor='toy/ac')
    with pytest.raises(
        KeyError, match=r"among the metrics \(toy/acc, time\)\. Did you mean 'toy/acc'"
    ):
        plateau.step({'toy/acc': 0.5, 'time': 1.0})


@pytest.mark.parametrize(
    ('metrics', 'message'), [(0.5, 'got float'), ({'loss': 'low'}, "must be a number, got 'low'")]
)
def test_what_is_no_dict_of_numbers_is_refused(metrics, message, make_optimizer):
    with pytest.raises(TypeError, match=message):
        scheduler.ReduceOnPlateauLR(make_optimizer()).step(metrics)


@pytest.mark.parametrize('extra', [[], [0.3]], ids=['own groups', 'and the base settings'])
def test_a_wrapper_needs_one_lowest_value_for_each_of_its_own_groups(make_optimizer, extra):
    wrapper = OptimWrapper(make_optimizer([1.0, 1.0]))
    plateau = scheduler.ReduceOnPlateauLR(wrapper, patience=0, min_value=[0.1, 0.3, *extra])
    for _ in range(4):
        plateau.step({'loss': 1.0})
    # The settings that stand for the base learning rate follow the last group, as in mmengine.
    assert plateau.min_values == [0.1, 0.3, 0.3]
    assert plateau.get_last_value()[:2] == pytest.approx([0.1, 0.3])


def test_too_few_lowest_values_are_refused(make_optimizer):
    wrapper = OptimWrapper(make_optimizer([1.0, 1.0]))
    with pytest.raises(ArgumentError, match='each of the 2 parameter groups, got 1'):
        scheduler.ReduceOnPlateauLR(wrapper, min_value=[0.1])
