"""What a schedule remembers, and taking it up again."""

import io
from collections import Counter

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmengine.optim import scheduler
from mmengine.utils.errors import ArgumentError

FAMILY = {
    'ConstantLR': {'factor': 0.5, 'end': 8},
    'CosineAnnealingLR': {'T_max': 6, 'eta_min': 0.01},
    'CosineRestartLR': {'periods': [3, 5], 'restart_weights': [1, 0.5], 'eta_min_ratio': 0.1},
    'ExponentialLR': {'gamma': 0.9},
    'LinearLR': {'start_factor': 0.1, 'end': 9},
    'MultiStepLR': {'milestones': [2, 5]},
    'OneCycleLR': {'eta_max': 1.0, 'total_steps': 20},
    'PolyLR': {'power': 0.9, 'end': 12},
    'StepLR': {'step_size': 3},
}


def optimizer_of(lrs):
    groups = [{'params': [torch.nn.Parameter(torch.zeros(1))], 'lr': lr} for lr in lrs]
    return torch.optim.SGD(groups, lr=0.1)


def through_a_file(value):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    buffer.seek(0)
    return torch.load(buffer, weights_only=True)


@pytest.mark.parametrize('kind', FAMILY)
@settings(max_examples=8)
@given(stop=st.integers(0, 15))
def test_stopping_anywhere_changes_no_bit(kind, stop):
    unbroken = optimizer_of([0.1, 0.3])
    schedule = getattr(scheduler, kind)(unbroken, **FAMILY[kind])
    for _ in range(stop):
        schedule.step()
    saved = through_a_file([unbroken.state_dict(), schedule.state_dict()])

    resumed = optimizer_of([0.1, 0.3])
    again = getattr(scheduler, kind)(resumed, **FAMILY[kind])
    resumed.load_state_dict(saved[0])
    again.load_state_dict(saved[1])
    assert again.get_last_value() == schedule.get_last_value()
    for _ in range(18 - stop):
        schedule.step()
        again.step()
        assert [g['lr'] for g in resumed.param_groups] == [g['lr'] for g in unbroken.param_groups]
    assert again.state_dict() == schedule.state_dict()


def test_plateau_goes_on_with_its_count_of_bad_validations():
    def build(optimizer):
        return scheduler.ReduceOnPlateauLR(optimizer, patience=2)

    first_optimizer, second_optimizer = optimizer_of([0.1]), optimizer_of([0.1])
    first, second = build(first_optimizer), build(second_optimizer)
    for loss in (1.0, 1.0, 1.0):
        first.step({'loss': torch.tensor(loss)})
    second.load_state_dict(through_a_file(first.state_dict()))
    second.step({'loss': 1.0})
    assert second_optimizer.param_groups[0]['lr'] == pytest.approx(0.01)


def test_state_holds_every_number_and_no_optimizer():
    state = scheduler.CosineAnnealingLR(optimizer_of([0.1]), T_max=5, begin=1, end=4).state_dict()
    assert state == {
        'T_max': 5,
        'eta_min': 0.0,
        'eta_min_ratio': None,
        'param_name': 'lr',
        'begin': 1,
        'end': 4,
        'by_epoch': True,
        'base_values': [0.1],
        'last_step': -1,
        '_global_step': 0,
        'verbose': False,
        '_last_value': [0.1],
        '_learned': [],
    }


@pytest.mark.parametrize('kind', [*FAMILY, 'ReduceOnPlateauLR'])
def test_steps_change_no_setting(kind):
    schedule = getattr(scheduler, kind)(optimizer_of([0.1]), **FAMILY.get(kind, {}))
    for _ in range(7):
        schedule.step()
    assert schedule.state_dict()['_learned'] == []


def test_state_names_what_a_schedule_has_learned():
    schedule = scheduler.ReduceOnPlateauLR(optimizer_of([0.1]), patience=3)
    schedule.step({'loss': 1.0})
    assert schedule.state_dict()['_learned'] == ['best']
    schedule.step({'loss': 2.0})
    schedule.extra = [1]
    assert schedule.state_dict()['_learned'] == ['best', 'extra', 'num_bad_epochs']


def test_a_schedule_that_skips_the_constructor_of_the_base_still_has_a_state():
    class Bare(scheduler.StepLR):
        def __init__(self, optimizer):
            self.optimizer, self.param_name, self.by_epoch = optimizer, 'lr', True
            self._holds_tensors, self._last_value = False, None

    assert Bare(optimizer_of([0.1])).state_dict()['param_name'] == 'lr'


def test_state_of_an_older_milestone_schedule_is_taken_up():
    optimizer = optimizer_of([0.1])
    schedule = scheduler.MultiStepLR(optimizer, milestones=[9])
    older = {'milestones': Counter({2: 1}), 'gamma': 0.5, 'last_step': 1, '_global_step': 1}
    schedule.load_state_dict(older)
    schedule.step()
    assert optimizer.param_groups[0]['lr'] == 0.05


def test_function_and_table_of_an_older_one_cycle_are_left_out():
    schedule = scheduler.OneCycleLR(optimizer_of([0.1]), eta_max=1, total_steps=6)
    expected = schedule.state_dict() | {'last_step': 3}
    schedule.load_state_dict({'last_step': 3, 'anneal_func': max, '_schedule_phases': [{}]})
    assert schedule.state_dict() == expected


def test_state_of_another_number_of_groups_is_refused():
    state = scheduler.StepLR(optimizer_of([0.1, 0.2]), 3).state_dict()
    with pytest.raises(ArgumentError, match=r'2 parameter groups.*now has 1'):
        scheduler.StepLR(optimizer_of([0.1]), 3).load_state_dict(state)
