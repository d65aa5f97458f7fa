"""Numbers written in epochs, for a schedule that steps every iteration."""

import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from mmengine.optim import scheduler
from mmengine.utils.errors import ArgumentError


@pytest.mark.parametrize(
    ('kind', 'epochs', 'iterations'),
    [
        ('ConstantLR', {'begin': 1, 'end': 6}, {'begin': 10, 'end': 60, 'total_iters': 49}),
        ('LinearLR', {'end': 6}, {'begin': 0, 'end': 60, 'total_iters': 59}),
        ('ExponentialLR', {'gamma': 0.5, 'end': 2}, {'end': 20, 'gamma': 0.5}),
        ('StepLR', {'step_size': 2}, {'step_size': 20}),
        ('MultiStepLR', {'milestones': [1, 2.5]}, {'milestones': {10: 1, 25: 1}}),
        ('PolyLR', {'begin': 2, 'end': 6, 'power': 2}, {'total_iters': 39, 'power': 2}),
        ('CosineAnnealingLR', {'T_max': 3}, {'T_max': 30}),
        ('CosineAnnealingLR', {'begin': 1, 'end': 5}, {'T_max': 40}),
        ('CosineRestartLR', {'periods': [1, 2], 'restart_weights': [1, 1]}, {'periods': [10, 20]}),
        ('OneCycleLR', {'eta_max': 1, 'total_steps': 6}, {'total_steps': 60}),
        ('OneCycleLR', {'eta_max': 1, 'end': 6}, {'total_steps': 60, 'end': 60}),
    ],
)
def test_every_count_of_epochs_is_multiplied(kind, epochs, iterations, make_optimizer):
    built = getattr(scheduler, kind).build_iter_from_epoch(
        make_optimizer(), epoch_length=10, **epochs
    )
    assert built.by_epoch is False
    assert {name: getattr(built, name) for name in iterations} == iterations


@given(st.integers(1, 1000), st.integers(0, 5000), st.integers(1, 20000))
@example(parts=100, count=29, epoch_length=100)  # 0.29 * 100 is 28.999999999999996
@example(parts=3, count=1, epoch_length=3)
@example(parts=1000, count=1999, epoch_length=1)
def test_a_fraction_of_an_epoch_is_the_whole_iterations_in_it(parts, count, epoch_length):
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    built = scheduler.MultiStepLR.build_iter_from_epoch(
        optimizer, milestones=[count / parts], begin=count / parts, epoch_length=epoch_length
    )
    # In whole numbers nothing is rounded: the first `count` of `parts` equal parts of an epoch.
    assert built.begin == count * epoch_length // parts
    assert list(built.milestones) == [count * epoch_length // parts]


def test_an_open_end_stays_open(make_optimizer):
    built = scheduler.StepLR.build_iter_from_epoch(make_optimizer(), step_size=1, epoch_length=10)
    assert built.end == scheduler.param_scheduler.INF


def test_other_keys_and_momentum_convert_too(make_optimizer):
    decay = scheduler.MultiStepParamScheduler.build_iter_from_epoch(
        make_optimizer(), 'weight_decay', milestones=[2], epoch_length=7
    )
    momentum = scheduler.StepMomentum.build_iter_from_epoch(
        make_optimizer(), step_size=3, epoch_length=7
    )
    assert decay.milestones == {14: 1}
    assert decay.param_name == 'weight_decay'
    assert momentum.step_size == 21


def test_converted_values_equal_those_written_in_iterations(make_optimizer, record):
    converted, written = make_optimizer(), make_optimizer()
    pairs = [
        (
            converted,
            scheduler.LinearLR.build_iter_from_epoch(
                converted, start_factor=0.1, end=3, epoch_length=4
            ),
        ),
        (written, scheduler.LinearLR(written, start_factor=0.1, end=12, by_epoch=False)),
    ]
    runs = [record(optimizer, [schedule], 15) for optimizer, schedule in pairs]
    assert runs[0] == runs[1]


def test_arguments_that_count_nothing_may_come_by_position(make_optimizer):
    built = scheduler.ExponentialLR.build_iter_from_epoch(make_optimizer(), 0.5, epoch_length=3)
    assert built.gamma == 0.5


@pytest.mark.parametrize(
    ('kind', 'args'), [('MultiStepLR', ([1, 2],)), ('StepParamScheduler', ('lr', 2))]
)
def test_a_count_by_position_is_refused_rather_than_left_in_epochs(kind, args, make_optimizer):
    with pytest.raises(TypeError, match='by keyword'):
        getattr(scheduler, kind).build_iter_from_epoch(make_optimizer(), *args, epoch_length=3)


def test_a_schedule_of_iterations_cannot_be_converted(make_optimizer):
    with pytest.raises(ArgumentError, match='counts iterations already'):
        scheduler.LinearLR.build_iter_from_epoch(
            make_optimizer(), end=6, by_epoch=False, epoch_length=10
        )


@pytest.mark.parametrize('epoch_length', [None, 0, -3, '5'])
def test_conversion_needs_the_length_of_an_epoch(epoch_length, make_optimizer):
    with pytest.raises(ArgumentError, match=r'len\(dataloader\)'):
        scheduler.LinearLR.build_iter_from_epoch(make_optimizer(), end=6, epoch_length=epoch_length)


def test_plateau_cannot_count_iterations(make_optimizer):
    with pytest.raises(ArgumentError, match='acts on validations'):
        scheduler.ReduceOnPlateauLR.build_iter_from_epoch(make_optimizer(), epoch_length=10)
