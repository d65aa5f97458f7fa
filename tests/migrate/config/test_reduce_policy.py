"""Policy Reduce: what ``mmcv_runs.reduce`` saw it do, and what it becomes."""

import json
from pathlib import Path

import pytest
import torch

from mmengine.migrate._config.convert import convert_config
from mmengine.migrate._config.report.check import TOLERANCE, check_schedules
from mmengine.migrate._config.schedules.conversion import Length
from mmengine.migrate._config.schedules.plateau import compare_plateaus
from mmengine.registry import PARAM_SCHEDULERS

CASES = json.loads(Path(__file__).with_name('reduce.json').read_text())
REDUCE = dict(policy='Reduce', val_metric='psnr', mode='max', factor=0.5, patience=1)


def legacy(by_epoch=True, /, **schedule):
    runner = dict(type='EpochBasedRunner', max_epochs=20)
    if not by_epoch:
        runner = dict(type='IterBasedRunner', max_iters=400)
    return dict(runner=runner, lr_config={**REDUCE, **schedule})


def scheduler_of(config):
    (scheduler,) = convert_config(config).config['param_scheduler']
    return scheduler


@pytest.mark.parametrize('name', CASES)
def test_the_converted_scheduler_gives_the_recorded_rates(name):
    case = CASES[name]
    scheduler = scheduler_of(legacy(case['by_epoch'], **case['lr']))
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    built = PARAM_SCHEDULERS.build(dict(scheduler), default_args=dict(optimizer=optimizer))
    series = iter(case['series'])
    rates = []
    for iteration in range(1, len(case['values']) + 1):
        rates.append(optimizer.param_groups[0]['lr'])
        if iteration % case['interval'] == 0:
            if case['by_epoch']:
                built.step()
            built.step({'score': next(series)})
    assert rates == pytest.approx(case['values'], rel=1e-9)
    assert len(set(rates)) > 1 or name.startswith('absolute')


def test_all_options_are_carried_over():
    options = dict(threshold=0.1, threshold_mode='abs', cooldown=3, min_lr=1e-6, eps=1e-9)
    assert scheduler_of(legacy(**options, verbose=True, by_epoch=True)) == dict(
        type='ReduceOnPlateauLR', monitor='psnr', rule='greater', factor=0.5, patience=1,
        threshold=0.1, threshold_rule='abs', cooldown=3, min_value=1e-6, eps=1e-9,
    )  # fmt: skip


def test_the_metric_gets_the_name_that_the_rules_tell():
    from mmengine.migrate._config.rules import Rules

    rules = Rules(metrics={'*': dict(build=lambda *_: {}, takes=[], prefix='edit')})
    converted = convert_config(legacy(), rules=rules).config
    assert converted['param_scheduler'][0]['monitor'] == 'edit/psnr'


def test_without_a_metric_it_stays_in_place_and_is_listed():
    converted = convert_config(legacy(val_metric=None))
    assert converted.config['lr_config']['policy'] == 'Reduce'
    assert converted.config['param_scheduler'] == []
    assert [note.key for note in converted.notes if note.kind == 'todo'] == ['lr_config']


def test_a_warm_up_is_listed():
    converted = convert_config(legacy(warmup='linear', warmup_iters=5, warmup_ratio=0.1))
    keys = {note.key for note in converted.notes if note.kind == 'todo'}
    assert {'lr_config.warmup', 'lr_config.warmup_iters', 'lr_config.warmup_ratio'} <= keys


def checked(config, **changes):
    converted = dict(convert_config(config).config)
    converted['param_scheduler'] = [{**converted['param_scheduler'][0], **changes}]
    (check,) = check_schedules(config, converted, Length(True, 20))
    return check


def test_the_check_compares_with_torch_over_metrics_and_says_so():
    check = checked(legacy())
    assert check.passed
    assert check.unit == 'validations'
    assert "depends on the metric 'psnr'" in check.reason
    assert 'ReduceLROnPlateau' in check.reason
    assert len({values[0] for values in check.comparison.legacy}) > 1


@pytest.mark.parametrize(
    'changes', [dict(rule='less'), dict(patience=2), dict(factor=0.4), dict(threshold=0.5)], ids=str
)
def test_the_check_finds_a_scheduler_that_acts_otherwise(changes):
    assert checked(legacy(), **changes).comparison.largest > TOLERANCE


def test_with_a_metric_that_never_gets_better_the_rate_halves_at_every_second_validation():
    # Best at the first; patience 1 lets one validation pass, the next acts and counts anew.
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler = PARAM_SCHEDULERS.build(
        dict(scheduler_of(legacy())), default_args=dict(optimizer=optimizer)
    )
    rates = []
    for _ in range(7):
        scheduler.step({'psnr': 30.0})
        rates.append(optimizer.param_groups[0]['lr'])
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25, 0.125]


def test_a_comparison_shows_the_series_that_differs_most():
    wrong = {**scheduler_of(legacy()), 'patience': 3}
    comparison = compare_plateaus(REDUCE, wrong, 1.0, 6)
    assert comparison.largest == pytest.approx(1.0)  # the whole rate where a half is due
