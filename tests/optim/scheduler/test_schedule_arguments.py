"""Wrong arguments are refused with what was expected and what came."""

import pytest
import torch

from mmengine.optim import scheduler
from mmengine.utils.errors import ArgumentError

WRONG_VALUES = [
    ('LinearLR', {'begin': 5, 'end': 5}, 'begin=5, end=5'),
    ('LinearLR', {'begin': -1}, 'begin at least 0, got -1'),
    ('LinearLR', {'start_factor': 2.0}, 'start_factor at least 0 and at most 1, got 2.0'),
    ('LinearLR', {'end_factor': -0.5}, 'end_factor at least 0 and at most 1, got -0.5'),
    ('ConstantLR', {'factor': 1.5}, 'factor at least 0 and at most 1, got 1.5'),
    ('ConstantLR', {'factor': float('nan')}, 'factor at least 0 and at most 1, got nan'),
    ('ExponentialLR', {'gamma': -1}, 'gamma at least 0'),
    ('StepLR', {'step_size': 0}, 'positive integer for step_size, got 0'),
    ('StepLR', {'step_size': 1.5}, 'positive integer for step_size, got 1.5'),
    ('MultiStepLR', {'milestones': [-1]}, 'every milestone at least 0'),
    ('MultiStepLR', {'milestones': [1.5]}, 'convert_to_iter_based=True'),
    ('PolyLR', {'power': -1}, 'power at least 0'),
    ('CosineAnnealingLR', {'T_max': 0}, 'T_max above 0'),
    ('CosineAnnealingLR', {'T_max': 5, 'eta_min': 0.1, 'eta_min_ratio': 0.1}, 'got both'),
    ('CosineRestartLR', {'periods': [5, 5]}, '2 periods and 1 restart_weights'),
    ('CosineRestartLR', {'periods': [0]}, 'every period, got 0'),
    ('CosineRestartLR', {'periods': [5], 'eta_min': 0, 'eta_min_ratio': 0.1}, 'got both'),
    ('OneCycleLR', {'total_steps': 5}, 'eta_max above 0, got 0'),
    ('OneCycleLR', {'eta_max': 1}, 'pass total_steps or end'),
    ('OneCycleLR', {'eta_max': 1, 'total_steps': -1}, 'positive integer for total_steps'),
    ('OneCycleLR', {'eta_max': 1, 'total_steps': 9, 'pct_start': 2}, 'pct_start at least 0'),
    ('OneCycleLR', {'eta_max': 1, 'total_steps': 9, 'anneal_strategy': 'cosine'}, "mean 'cos'"),
    ('OneCycleLR', {'eta_max': 1, 'total_steps': 9, 'div_factor': 0}, 'div_factor above 0'),
    ('ReduceOnPlateauLR', {'rule': 'min'}, "'less' or 'greater', got 'min'"),
    ('ReduceOnPlateauLR', {'threshold_rule': 'abss'}, "mean 'abs'"),
    ('ReduceOnPlateauLR', {'factor': 1.0}, 'factor below 1, got 1.0'),
    ('ReduceOnPlateauLR', {'by_epoch': False}, 'leave by_epoch=True'),
    ('ReduceOnPlateauLR', {'begin': 3, 'end': 1}, 'begin=3, end=1'),
    ('ReduceOnPlateauLR', {'min_value': [0.1, 0.2]}, '1 parameter groups, got 2'),
]


@pytest.mark.parametrize(('kind', 'options', 'message'), WRONG_VALUES)
def test_wrong_value_is_refused(kind, options, message, make_optimizer):
    with pytest.raises(ArgumentError, match=message) as caught:
        getattr(scheduler, kind)(make_optimizer(), **options)
    assert kind in str(caught.value)


@pytest.mark.parametrize(
    ('kind', 'options', 'message'),
    [
        ('LinearLR', {'start_factor': '0.1'}, "number for start_factor, got '0.1' of type str"),
        ('MultiStepLR', {'milestones': 5}, 'list of steps for milestones, got 5'),
        ('StepLR', {'step_size': 2, 'begin': None}, 'number for begin, got None'),
    ],
)
def test_wrong_type_is_refused(kind, options, message, make_optimizer):
    with pytest.raises(TypeError, match=message):
        getattr(scheduler, kind)(make_optimizer(), **options)


@pytest.mark.parametrize('optimizer', ['SGD', None, torch.nn.Linear(1, 1)])
def test_what_has_no_groups_is_no_optimizer(optimizer):
    with pytest.raises(TypeError, match=r'list of param_groups, got \w+'):
        scheduler.StepLR(optimizer, 3)


def test_missing_key_names_the_nearest_one(make_optimizer):
    with pytest.raises(KeyError, match=r"'weight_decai' to schedule. Did you mean 'weight_decay'"):
        scheduler.StepParamScheduler(make_optimizer(), 'weight_decai', 3)


def test_going_on_needs_the_initial_value_in_the_groups(make_optimizer):
    with pytest.raises(KeyError, match=r"no 'initial_lr'.*Load the optimizer state first"):
        scheduler.StepLR(make_optimizer(), 3, last_step=5)


def test_stepping_past_the_end_of_a_cycle_is_an_error(make_optimizer):
    cycle = scheduler.OneCycleLR(make_optimizer(), eta_max=1, total_steps=3)
    for _ in range(3):
        cycle.step()
    with pytest.raises(ArgumentError, match='cycle of 3 steps, and this is step 4'):
        cycle.step()
