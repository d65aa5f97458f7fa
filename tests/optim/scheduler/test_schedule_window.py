"""When a schedule acts, and what it reports."""

import logging

import pytest
import torch

from mmengine.logging import MMLogger
from mmengine.optim import OptimWrapper, OptimWrapperDict, build_optim_wrapper, scheduler


def test_nothing_changes_before_begin_and_from_end_on(make_optimizer, record):
    optimizer = make_optimizer([0.8])
    halving = scheduler.ExponentialLR(optimizer, gamma=0.5, begin=2, end=5)
    # Acts at 2 (its own step 0, no change), 3 and 4; the step at 5 changes nothing.
    expected = [0.8, 0.8, 0.8, 0.4, 0.2, 0.2, 0.2]
    assert [row[0] for row in record(optimizer, [halving], 7)] == pytest.approx(expected)


def test_last_step_counts_inside_the_window_only(make_optimizer):
    halving = scheduler.ExponentialLR(make_optimizer(), gamma=0.5, begin=2, end=4)
    seen = []
    for _ in range(6):
        seen.append((halving._global_step, halving.last_step))
        halving.step()
    assert seen == [(0, -1), (1, -1), (2, 0), (3, 1), (4, 1), (5, 1)]


def test_the_first_value_is_written_when_the_schedule_is_built(make_optimizer):
    optimizer = make_optimizer([0.1])
    scheduler.LinearLR(optimizer, start_factor=0.25, end=5)
    assert optimizer.param_groups[0]['lr'] == 0.025


def test_base_values_are_those_before_any_schedule(make_optimizer):
    optimizer = make_optimizer([0.1, 0.2])
    scheduler.LinearLR(optimizer, start_factor=0.5, end=5)
    second = scheduler.CosineAnnealingLR(optimizer, T_max=5, begin=5)
    assert second.base_values == [0.1, 0.2]
    assert [group['initial_lr'] for group in optimizer.param_groups] == [0.1, 0.2]


def test_last_value_is_what_the_schedule_wrote_whatever_came_after(make_optimizer):
    optimizer = make_optimizer([0.1, 0.4])
    halving = scheduler.ExponentialLR(optimizer, gamma=0.5)
    scheduler_after = scheduler.ExponentialLR(optimizer, gamma=0.1)
    halving.step()
    scheduler_after.step()
    assert halving.get_last_value() == pytest.approx([0.05, 0.2])
    assert scheduler_after.get_last_value() == pytest.approx([0.005, 0.02])


def test_last_value_of_an_idle_schedule_is_what_the_groups_hold(make_optimizer):
    optimizer = make_optimizer([0.1])
    later = scheduler.ExponentialLR(optimizer, gamma=0.5, begin=10)
    optimizer.param_groups[0]['lr'] = 0.7
    assert later.get_last_value() == [0.7]


def test_going_on_from_last_step_equals_the_run_that_never_stopped(make_optimizer):
    whole, parts = make_optimizer([0.1]), make_optimizer([0.1])
    unbroken = scheduler.LinearLR(whole, start_factor=0.1, begin=2, end=9)
    first = scheduler.LinearLR(parts, start_factor=0.1, begin=2, end=9)
    for _ in range(5):
        unbroken.step()
        first.step()
    second = scheduler.LinearLR(parts, start_factor=0.1, begin=2, end=9, last_step=first.last_step)
    for _ in range(6):
        unbroken.step()
        assert parts.param_groups[0]['lr'] == whole.param_groups[0]['lr']
        assert (second.last_step, second._global_step) == (
            unbroken.last_step,
            unbroken._global_step,
        )
        second.step()


def test_base_settings_of_an_optim_wrapper_are_scheduled_with_its_groups():
    model = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.Linear(1, 1))
    wrapper = build_optim_wrapper(
        model,
        {
            'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9},
            'paramwise_cfg': {'custom_keys': {'0': {'lr_mult': 0.1}}},
        },
    )
    warm_up = scheduler.LinearLR(wrapper, start_factor=0.5, end=3)
    rates = wrapper.get_lr()
    assert rates['lr'] == pytest.approx([0.005, 0.005, 0.05, 0.05])
    assert rates['base_lr'] == pytest.approx([0.05])
    warm_up.step()
    assert wrapper.get_lr()['base_lr'] == pytest.approx([0.075])


def test_an_optim_wrapper_is_scheduled_as_its_optimizer_is(make_optimizer):
    plain, wrapped = make_optimizer([0.1]), make_optimizer([0.1])
    schedules = [scheduler.StepLR(plain, 2), scheduler.StepLR(OptimWrapper(wrapped), 2)]
    for _ in range(5):
        for schedule in schedules:
            schedule.step()
    assert wrapped.param_groups[0]['lr'] == plain.param_groups[0]['lr'] == pytest.approx(0.001)


def test_a_dict_of_wrappers_is_refused(make_optimizer):
    wrappers = OptimWrapperDict(generator=OptimWrapper(make_optimizer()))
    with pytest.raises(TypeError, match='one of its values'):
        scheduler.LinearLR(wrappers, end=3)


def test_a_rate_held_in_a_tensor_is_changed_inside_that_tensor(make_optimizer):
    rate = torch.tensor(0.5, dtype=torch.float64)
    optimizer = make_optimizer([rate, 0.25], kind=torch.optim.Adam)
    held = optimizer.param_groups[0]['lr']
    halving = scheduler.ExponentialLR(optimizer, gamma=0.5)
    halving.step()
    assert optimizer.param_groups[0]['lr'] is held
    assert held.item() == 0.25
    assert halving.get_last_value() == [0.25, 0.125]
    assert halving.base_values == [0.5, 0.25]


def test_verbose_logs_each_groups_value(make_optimizer):
    lines = []

    class Keep(logging.Handler):
        def emit(self, entry):
            lines.append(entry.getMessage())

    logger = MMLogger.get_instance('verbose_schedule')
    handler = Keep()
    logger.addHandler(handler)
    try:
        optimizer = make_optimizer([0.1, 0.2])
        schedule = scheduler.StepLR(optimizer, 1, verbose=True)
        lines.clear()
        schedule.step()
        schedule.print_value(False, 0, 3.0)
    finally:
        logger.removeHandler(handler)
    assert lines == ['lr of parameter group 0: 1.0000e-02', 'lr of parameter group 1: 2.0000e-02']


def test_a_project_can_write_its_own_schedule_with_get_value(make_optimizer):
    class Squares(scheduler._ParamScheduler):
        def _get_value(self):
            return [base * self.last_step**2 for base in self.base_values]

    optimizer = make_optimizer([0.1, 0.2])
    squares = Squares(optimizer, 'lr', begin=1)
    for _ in range(4):
        squares.step()
    assert squares.get_last_value() == pytest.approx([0.9, 1.8])


def test_a_schedule_that_gives_too_few_values_is_an_error(make_optimizer):
    class Short(scheduler._ParamScheduler):
        def _get_value(self):
            return [0.5]

    with pytest.raises(ValueError, match='shorter'):
        Short(make_optimizer([0.1, 0.2]), 'lr')
