"""Values worked out by hand or by formula, where torch has no such schedule."""

import math

import pytest

from mmengine.optim import scheduler

CLOSE = {'rel': 1e-12, 'abs': 1e-15}


def lrs(values):
    return [row[0] for row in values]


def test_cosine_restart_weights_scale_each_period(make_optimizer, record):
    optimizer = make_optimizer([0.2])
    restarts = scheduler.CosineRestartLR(
        optimizer, periods=[4, 3], restart_weights=[1, 0.5], eta_min=0.02
    )
    first = [0.02 + 0.18 * (1 + math.cos(math.pi * t / 4)) / 2 for t in range(4)]
    second = [0.02 + 0.08 * (1 + math.cos(math.pi * t / 3)) / 2 for t in range(3)]
    expected = first + second + [second[-1]] * 3  # past the last period the value stays
    assert lrs(record(optimizer, [restarts], 10)) == pytest.approx(expected, **CLOSE)


@pytest.mark.parametrize(
    ('iteration', 'index'), [(0, 0), (3, 0), (4, 1), (6, 1), (7, None), (99, None)]
)
def test_position_is_the_period_that_an_iteration_lies_in(iteration, index):
    position = scheduler.CosineRestartParamScheduler.get_position_from_periods(iteration, [4, 7])
    assert position == index


@pytest.mark.parametrize('kind', ['CosineAnnealingLR', 'CosineRestartLR'])
def test_eta_min_ratio_is_a_share_of_each_groups_base_value(kind, make_optimizer, record):
    optimizer = make_optimizer([0.1, 0.4])
    own = {
        'CosineAnnealingLR': {'T_max': 8},
        'CosineRestartLR': {'periods': [8], 'restart_weights': [1]},
    }
    schedule = getattr(scheduler, kind)(optimizer, eta_min_ratio=0.25, **own[kind])
    for step, values in enumerate(record(optimizer, [schedule], 8)):
        share = 0.25 + 0.75 * (1 + math.cos(math.pi * step / 8)) / 2
        assert values == pytest.approx([0.1 * share, 0.4 * share], **CLOSE)


def test_poly_falls_to_eta_min_at_the_last_step_of_its_window(make_optimizer, record):
    optimizer = make_optimizer([1.0])
    poly = scheduler.PolyLR(optimizer, power=2, eta_min=0.2, begin=1, end=6)
    # Window 1..5, so 4 steps of fall: 0.2 + 0.8 * (1 - t / 4) ** 2.
    expected = [1.0, 1.0, 0.65, 0.4, 0.25, 0.2, 0.2, 0.2]
    assert lrs(record(optimizer, [poly], 8)) == pytest.approx(expected, **CLOSE)


def test_warm_up_then_cosine(make_optimizer, record):
    optimizer = make_optimizer([0.5])
    schedules = [
        scheduler.LinearLR(optimizer, start_factor=0.1, by_epoch=False, begin=0, end=5),
        scheduler.CosineAnnealingLR(optimizer, by_epoch=False, begin=5, end=25, eta_min=0.05),
    ]
    up = [0.5 * (0.1 + 0.9 * t / 4) for t in range(5)]
    down = [0.05 + 0.45 * (1 + math.cos(math.pi * t / 20)) / 2 for t in range(20)]
    expected = up + down + [down[-1]] * 2
    assert lrs(record(optimizer, schedules, 27)) == pytest.approx(expected, **CLOSE)


def test_warm_up_overlapping_with_restarts_keeps_both(make_optimizer, record):
    optimizer = make_optimizer([0.1])
    schedules = [
        scheduler.LinearLR(optimizer, start_factor=0.1, end=4),
        scheduler.CosineRestartLR(
            optimizer, periods=[4, 3], restart_weights=[1, 0.5], eta_min=0.01, begin=2
        ),
    ]
    # Recorded from mmengine 0.10.7: a restart sets the value outright, steps between scale it.
    expected = [
        *(0.010000000000000002, 0.04, 0.1, 0.12340066475024923, 0.07642857142857143),
        *(0.029456478106893634, 0.05, 0.04, 0.020000000000000004, 0.020000000000000004),
    ]
    assert lrs(record(optimizer, schedules, 10)) == pytest.approx(expected, **CLOSE)


def test_warm_up_overlapping_with_poly_keeps_both(make_optimizer, record):
    optimizer = make_optimizer([0.1])
    schedules = [
        scheduler.LinearLR(optimizer, start_factor=0.1, end=4),
        scheduler.PolyLR(optimizer, eta_min=0.01, power=2, begin=2, end=10),
    ]
    # Recorded from mmengine 0.10.7.
    expected = [
        *(0.010000000000000002, 0.04, 0.07, 0.07612244897959185, 0.055918367346938794),
        *(0.03938775510204083, 0.026530612244897965, 0.017346938775510207),
        *(0.011836734693877552, 0.01, 0.01),
    ]
    assert lrs(record(optimizer, schedules, 11)) == pytest.approx(expected, **CLOSE)


def test_one_cycle_stays_at_its_lowest_value_once_the_window_has_ended(make_optimizer, record):
    optimizer = make_optimizer([0.1])
    cycle = scheduler.OneCycleLR(optimizer, eta_max=1, begin=1, end=7)
    values = lrs(record(optimizer, [cycle], 12))
    assert values[6:] == pytest.approx([1 / 25 / 1e4] * 6, **CLOSE)


def test_one_cycle_does_not_swing_back_at_the_step_after_its_last(make_optimizer):
    cycle = scheduler.OneCycleLR(make_optimizer([0.1]), eta_max=1, total_steps=6)
    for _ in range(5):
        cycle.step()
    assert cycle.get_last_value() == pytest.approx([4e-6], **CLOSE)
    cycle.step()
    assert cycle.get_last_value() == pytest.approx([4e-6], **CLOSE)


def test_one_cycle_marks_the_groups_with_its_three_rates(make_optimizer):
    optimizer = make_optimizer([0.1])
    scheduler.OneCycleLR(optimizer, eta_max=1, total_steps=6)
    group = optimizer.param_groups[0]
    assert group['initial_lr'] == pytest.approx(0.04)
    assert group['max_lr'] == 1
    assert group['min_lr'] == pytest.approx(4e-6)


def test_constant_factor_of_zero_gives_the_value_back(make_optimizer, record):
    optimizer = make_optimizer([0.1])
    frozen = scheduler.ConstantLR(optimizer, factor=0, end=4)
    assert lrs(record(optimizer, [frozen], 6)) == [0, 0, 0, 0.1, 0.1, 0.1]


def test_linear_to_zero_ends_at_exactly_zero(make_optimizer, record):
    optimizer = make_optimizer([0.1])
    fall = scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.0, end=4)
    assert lrs(record(optimizer, [fall], 6))[3:] == [0.0, 0.0, 0.0]


def test_long_exponential_does_not_lose_its_factor(make_optimizer):
    optimizer = make_optimizer([1.0])
    decay = scheduler.ExponentialLR(optimizer, gamma=0.999)
    for _ in range(20_000):
        decay.step()
    assert optimizer.param_groups[0]['lr'] == pytest.approx(0.999**20_000, rel=1e-11)


def test_a_value_changed_by_hand_is_kept_by_the_schedule(make_optimizer):
    optimizer = make_optimizer([0.1])
    halving = scheduler.ExponentialLR(optimizer, gamma=0.5)
    optimizer.param_groups[0]['lr'] = 8.0
    halving.step()
    assert optimizer.param_groups[0]['lr'] == 4.0


def test_any_key_of_the_groups_can_be_scheduled(make_optimizer, record):
    optimizer = make_optimizer([0.1, 0.1], weight_decay=0.5)
    decay = scheduler.CosineAnnealingParamScheduler(optimizer, 'weight_decay', T_max=4, eta_min=0.1)
    got = [row[1] for row in record(optimizer, [decay], 5, key='weight_decay')]
    assert got == pytest.approx(
        [0.1 + 0.4 * (1 + math.cos(math.pi * t / 4)) / 2 for t in range(5)], **CLOSE
    )
    assert [group['lr'] for group in optimizer.param_groups] == [0.1, 0.1]
