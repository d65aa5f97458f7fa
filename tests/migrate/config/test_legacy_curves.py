"""Every policy and warm-up against what MMCV 1.7.2 did (``mmcv_runs.curves``)."""

import json
from pathlib import Path

import pytest

from mmengine.migrate._config.notes import Notes
from mmengine.migrate._config.report.check import check_schedules
from mmengine.migrate._config.schedules.conversion import Length, convert_schedule, parse_schedule
from mmengine.migrate._config.schedules.curves import compare, converted_curve, legacy_curve
from mmengine.migrate._config.schedules.mmcv_account import LegacyRun, legacy_values
from mmengine.utils.errors import ArgumentError

CURVES = json.loads(Path(__file__).with_name('curves.json').read_text())
EPOCHS, EPOCH_LENGTH = 6, 10
RECORDED = {name: case for name, case in CURVES.items() if 'values' in case}
REFUSED = [name for name, case in CURVES.items() if 'values' not in case]
# Fixtures hold ten digits.
TOLERANCE = 1e-9


def setting(case, known_epoch_length):
    of_momentum = case['lr'] is None
    by_epoch = case['runner'] == 'EpochBasedRunner'
    length = Length(
        by_epoch,
        EPOCHS if by_epoch else EPOCHS * EPOCH_LENGTH,
        EPOCH_LENGTH if known_epoch_length else None,
    )
    config = case['momentum'] if of_momentum else case['lr']
    return config, length, of_momentum, [0.9, 0.9] if of_momentum else [0.1, 0.004]


def largest_difference(recorded, curve):
    # A rate of 0 (the start of one warm-up) has no relative difference.
    worst = 0.0
    for old, new in zip(recorded, curve, strict=True):
        for expected, got in zip(old, new, strict=True):
            worst = max(worst, abs(got - expected) / (abs(expected) or 1.0))
    return worst


@pytest.mark.parametrize('name', RECORDED)
def test_the_formula_and_the_account_of_mmcv_give_the_recorded_values(name):
    config, length, of_momentum, bases = setting(RECORDED[name], known_epoch_length=True)
    schedule = parse_schedule(config, length, of_momentum=of_momentum)
    never_acts = schedule.by_epoch and not length.by_epoch
    curve = legacy_curve(None if never_acts else schedule, bases, length.run(EPOCH_LENGTH))
    assert largest_difference(RECORDED[name]['values'], curve) < TOLERANCE

    run = LegacyRun(length.by_epoch, length.total, EPOCH_LENGTH)
    curve = legacy_values(config, bases, run, of_momentum=of_momentum)
    assert largest_difference(RECORDED[name]['values'], curve) < TOLERANCE


@pytest.mark.parametrize('policy', ['step', 'CosineAnnealing'])
def test_the_check_sees_a_momentum_schedule_that_mmcv_never_ran(policy):
    options = dict(step=[4]) if policy == 'step' else dict(min_momentum=0.1)
    legacy = dict(
        runner=dict(type='IterBasedRunner', max_iters=20),
        momentum_config=dict(policy=policy, **options),
    )
    acting = dict(type='LegacyMomentumScheduler', policy=policy, by_epoch=False, end=20, **options)
    (check,) = check_schedules(legacy, dict(param_scheduler=[acting]), Length(False, 20))
    assert not check.passed
    (check,) = check_schedules(legacy, dict(param_scheduler=[]), Length(False, 20))
    assert check.passed


@pytest.mark.parametrize('name', ['cyclic', 'OneCycle'])
def test_a_cycle_by_epoch_is_refused_as_mmcv_refuses_it(name):
    config = dict(policy=name, by_epoch=True)
    config |= dict(max_lr=0.1) if name == 'OneCycle' else {}
    with pytest.raises(ArgumentError, match='by_epoch=False alone'):
        convert_schedule(config, Length(True, 12), Notes())


@pytest.mark.parametrize('name', RECORDED)
def test_the_converted_schedulers_give_the_recorded_values(name):
    for known_epoch_length in (False, True):
        config, length, of_momentum, bases = setting(RECORDED[name], known_epoch_length)
        if name.startswith('yolox') and not length.by_epoch and not known_epoch_length:
            with pytest.raises(ArgumentError, match='iters-per-epoch'):
                convert_schedule(config, length, Notes())
            continue
        converted = convert_schedule(config, length, Notes(), of_momentum=of_momentum)
        curve = converted_curve(
            converted,
            bases,
            length.run(EPOCH_LENGTH),
            by_epoch=length.by_epoch,
            param_name='momentum' if of_momentum else 'lr',
        )
        assert largest_difference(RECORDED[name]['values'], curve) < TOLERANCE, known_epoch_length


@pytest.mark.parametrize('name', REFUSED)
def test_what_mmcv_refuses_is_refused_with_a_sentence(name):
    config, length, of_momentum, _ = setting(CURVES[name], known_epoch_length=False)
    with pytest.raises(ArgumentError, match='needs an epoch runner'):
        convert_schedule(config, length, Notes(), of_momentum=of_momentum)


def test_a_comparison_tells_where_the_largest_difference_is():
    comparison = compare([[1.0], [0.5], [0.25]], [[1.0], [0.6], [0.26]])
    assert (comparison.iteration, comparison.largest) == (1, pytest.approx(0.2))


def types(config, **length):
    converted = convert_schedule(config, Length(**length), Notes())
    return [scheduler['type'] for scheduler in converted]


@pytest.mark.parametrize(
    ('config', 'by_epoch', 'expected'),
    [
        (dict(policy='step', step=[8, 11]), True, ['MultiStepLR']),
        (
            dict(policy='step', step=[8], warmup='linear', warmup_iters=500, warmup_ratio=0.001),
            True,
            ['LinearLR', 'MultiStepLR'],
        ),
        (dict(policy='poly', power=0.9, min_lr=1e-4, by_epoch=False), False, ['PolyLR']),
        (dict(policy='poly', power=0.9, by_epoch=False), True, ['LegacyLRScheduler']),
        (dict(policy='CosineAnnealing', min_lr=0, by_epoch=False), True, ['CosineAnnealingLR']),
        (
            dict(policy='CosineAnnealing', min_lr=1e-5, warmup='linear', warmup_iters=9),
            True,
            ['LegacyLRScheduler'],
        ),
        (dict(policy='fixed'), True, []),
        (dict(policy='Step', step=3, by_epoch=True), False, []),
    ],
    ids=['step', 'step-warm', 'poly', 'poly-unknown-n', 'cos', 'cos-floor-warm', 'fixed', 'never'],
)
def test_stock_schedulers_are_used_where_they_are_exact(config, by_epoch, expected):
    assert types(config, by_epoch=by_epoch, total=20) == expected


def test_a_warmup_of_w_iterations_ends_at_w_plus_1():
    config = dict(policy='fixed', warmup='linear', warmup_iters=500, warmup_ratio=0.001)
    (warmup,) = convert_schedule(config, Length(True, 12), Notes())
    assert (warmup['begin'], warmup['end']) == (0, 501)


@pytest.mark.parametrize(
    ('config', 'message'),
    [
        (dict(policy='stepp', step=3), "Did you mean 'Step'"),
        (dict(policy='step', steps=3), "Did you mean 'step'"),
        (dict(policy='step'), "needs 'step'"),
        (dict(policy='step', step=0), 'positive integer'),
        (dict(policy='CosineAnnealing'), 'neither'),
        (dict(policy='CosineAnnealing', min_lr=0, min_lr_ratio=0.1), 'both'),
        (dict(policy='fixed', warmup='lineer', warmup_iters=5), "Did you mean 'linear'"),
        (
            dict(policy='fixed', warmup='linear', warmup_iters=0),
            'positive integer for warmup_iters',
        ),
        (dict(policy='fixed', warmup='linear', warmup_iters=5, warmup_ratio=0), 'in .0, 1.'),
        (dict(step=[1]), 'policy='),
    ],
)
def test_a_wrong_schedule_is_told_in_a_sentence(config, message):
    with pytest.raises(ArgumentError, match=message):
        convert_schedule(config, Length(True, 12), Notes())
