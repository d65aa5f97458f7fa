"""The account of MMCV that ``--check`` compares with, against whole recorded trainings."""

import json
from pathlib import Path

import pytest
from mmcv_runs.cases import RUNS, num_batches

from mmengine.migrate._config.schedules.mmcv_account import legacy_values, run_of

RECORDED = json.loads((Path(__file__).parent / 'data' / 'runs.json').read_text())
RUNS_WITH_SCHEDULES = [
    name
    for name, config in RUNS.items()
    if 'type' in config['optimizer'] and config['lr_config'].get('policy') != 'Reduce'
]


@pytest.mark.parametrize('name', RUNS_WITH_SCHEDULES)
def test_the_account_of_mmcv_follows_recorded_trainings(name):
    for kind in ('lr', 'momentum'):
        _check_account(name, kind)


def _check_account(name, kind):
    config, recorded = RUNS[name], RECORDED[name]
    schedule = config['lr_config'] if kind == 'lr' else config.get('momentum_config')
    run = run_of(config, num_batches(config))
    assert run.max_iters == recorded['iterations']
    values = recorded[kind] * (run.max_iters if len(recorded[kind]) == 1 else 1)
    values = [value if isinstance(value, list) else [value] for value in values]
    optimizer = config['optimizer']
    first = optimizer['lr'] if kind == 'lr' else optimizer.get('momentum', 0.9)
    if kind == 'momentum' and 'betas' in optimizer:
        first = optimizer['betas'][0]
    bases = [first] * len(values[0])
    if 'paramwise_cfg' in optimizer and kind == 'lr' and len(bases) > 1:
        bases = [first, first * 0.25]
    if schedule is None:
        curve = [bases] * run.max_iters
    else:
        curve = legacy_values(schedule, bases, run, of_momentum=kind == 'momentum')
    for step, expected in zip(curve, values, strict=True):
        assert step == pytest.approx(expected, rel=1e-12), kind
