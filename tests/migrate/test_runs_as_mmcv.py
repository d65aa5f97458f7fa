"""Whole trainings by legacy configs: as MMCV 1.7.2 ran them, and converted, under Runner.

Parameters, averaged weights, loss scales, scores, files and counts are equal to the bit. Learning
rates are the same real numbers, computed in another order. Where this engine means something else
on purpose, the difference stands in a table here, and in ``docs/design/compatibility.md``.
"""

import json
import platform
from pathlib import Path

import pytest
from mmcv_runs import here
from mmcv_runs.cases import PARALLEL_RUNS, RUNS

from mmengine.migrate._config import migrate_configs
from mmengine.testing._internal.distributed import run_distributed

DATA = Path(__file__).parent / 'data'
RECORDED = json.loads((DATA / 'runs.json').read_text())
RECORDED_RANDOM = json.loads((DATA / 'random_runs.json').read_text())
RECORDED_PARALLEL = json.loads((DATA / 'parallel_runs.json').read_text())
# Processors of other makers fuse a multiplication and an addition elsewhere.
ROUNDING = 0 if platform.machine() == 'x86_64' else 1e-6
RATE_ROUNDING = 1e-12
LOG_DIGITS = 5

LOGS = [name for name in RUNS if '/log/' in name]
WHOLE = [name for name in RUNS if name not in LOGS]

# Where this engine differs on purpose, what it does.
DIFFERENT = {
    # The last one counts too, where MMCV deletes what is a multiple of the interval away.
    'iters/checkpoint/keep': dict(files=['iter_12.pth', 'iter_13.pth']),
    # A checkpoint is named by what it counts; MMCV wrote over epoch_<n>.pth within an epoch.
    'epochs/checkpoint/by-iter': dict(
        files=['iter_12.pth', 'iter_15.pth', 'iter_4.pth', 'iter_8.pth']
    ),
    # An iteration run is one epoch, whose end is saved; MMCV saved nothing.
    'iters/checkpoint/by-epoch': dict(files=['epoch_1.pth']),
    # Validations come at multiples of the interval, wherever they begin.
    'epochs/evaluation/start-interval': dict(
        evaluated=[10, 15],
        scores=[
            *RECORDED['epochs/evaluation/interval']['scores'],
            RECORDED['epochs/evaluation/start-interval']['scores'][-1],
        ],
    ),
    'iters/evaluation/start-interval': dict(
        evaluated=[6, 12], scores=RECORDED['iters/evaluation/interval']['scores']
    ),
    # An iteration run has no epochs, so MMCV never validated; here an epoch's iterations count.
    'iters/evaluation/by-epoch': dict(
        evaluated=[5, 10], scores=RECORDED['epochs/evaluation/by-iter']['scores'][:2]
    ),
    # A key that is given outweighs the usual ones, among which MMCV found 'acc' first.
    'epochs/evaluation/best-less-keys': dict(
        best=['best_acc_epoch_1.pth', RECORDED['epochs/evaluation/best']['scores'][0]['acc']],
        files=['best_acc_epoch_1.pth', 'epoch_3.pth'],
    ),
    'iters/evaluation/best-less-keys': dict(
        best=['best_acc_iter_9.pth', RECORDED['iters/evaluation/best']['scores'][2]['acc']],
        files=['best_acc_iter_9.pth'],
    ),
}
# A validation between iterations uses the averaged weights as well: up to the tenth they are those
# of the epoch run.
DIFFERENT |= {
    name: dict(scores=RECORDED[name.replace('iters', 'epochs')]['scores'][:2])
    for name in RUNS
    if name.startswith('iters/ema/')
}
# Mixed precision is for training; a validation in it is asked for by val_cfg=dict(fp16=True).
IN_FULL_PRECISION = ('epochs/half/validated', 'iters/half/validated')
# An epoch's end is logged if the epoch is not longer than the interval, or with ignore_last=False.
# A run of iterations logs its last one.
EXTRA_LINES = {
    'epochs/log/ten': [5, 10, 15],
    **{name: [13] for name in LOGS if name.startswith('iters/')},
}
# Every step counts once in the average of grad_norm, over the last steps wherever an epoch ends;
# MMCV weighed them by samples.
OTHER_MEAN_OF_NORMS = ('iters/log/clip', 'epochs/log/accumulate-clip')
# An average is over the interval; within an iteration run MMCV's began anew at a validation.
VALIDATED_BEFORE = {'iters/log/validated': [8, 12]}


def assert_same(outcome, expected, rounding=ROUNDING):
    """Compare what two runs told."""
    assert outcome.keys() == expected.keys()
    for key in ('lr', 'momentum'):
        ours, theirs = (_series(one[key], one['iterations']) for one in (outcome, expected))
        assert ours == pytest.approx(theirs, rel=RATE_ROUNDING)
    for key in expected.keys() & {'parameters', 'averaged'}:
        assert outcome[key] == pytest.approx(expected[key], rel=rounding, abs=0)
    for found, wanted in zip(outcome.get('scores', []), expected.get('scores', []), strict=True):
        assert found == pytest.approx(wanted, rel=rounding)
    compared = {'lr', 'momentum', 'parameters', 'averaged', 'scores'}
    if rounding:
        compared.add('best')
    for key in expected.keys() - compared:
        assert outcome[key] == expected[key], key


def _series(values, iterations):
    """The values of every group at every iteration; of a constant, one was told."""
    whole = values * iterations if len(values) == 1 else values
    return [number for one in whole for number in (one if isinstance(one, list) else [one])]


def without_last_validation(outcome, expected):
    """``outcome`` without the validation at the end of the run, where MMCV had none."""
    end = outcome['iterations']
    if 'evaluated' not in outcome or end in expected['evaluated']:
        return outcome
    assert outcome['evaluated'][-1] == end
    return {
        **outcome,
        'evaluated': outcome['evaluated'][:-1],
        'scores': outcome['scores'][:-1],
    }


@pytest.mark.parametrize('name', WHOLE)
def test_a_converted_config_trains_as_mmcv_trained_by_the_legacy_one(name, tmp_path):
    expected = RECORDED[name] | DIFFERENT.get(name, {})
    # A folder for checkpoints gets one in it that is named as the work dir.
    outcome = here.run(RUNS[name], tmp_path / Path(name).name)
    if name in IN_FULL_PRECISION:
        last = here.scores_of(expected['parameters'], RUNS[name])
        assert outcome['scores'][-1] == pytest.approx(last, rel=1e-6)
        assert outcome['scores'][-1] != expected['scores'][-1]
        outcome['scores'] = expected['scores']
    assert_same(without_last_validation(outcome, expected), expected)


@pytest.mark.parametrize('name', RECORDED_RANDOM)
def test_a_config_drawn_at_random_trains_so_too(name, tmp_path):
    expected = dict(RECORDED_RANDOM[name])
    outcome = here.run(expected.pop('config'), tmp_path / name)
    assert_same(outcome, expected)


@pytest.mark.parametrize('name', LOGS)
def test_the_log_has_the_averages_of_mmcv_at_its_iterations(name, tmp_path):
    expected = dict(RECORDED[name])
    outcome = here.run(RUNS[name], tmp_path)
    lines = expected.pop('logged', [])
    found = dict(outcome.pop('logged'))
    assert_same(without_last_validation(outcome, expected), expected)

    extra = EXTRA_LINES.get(name, [])
    assert list(found) == sorted({done for done, _ in lines} | set(extra))
    for done, averages in lines:
        if done in VALIDATED_BEFORE.get(name, []):
            averages = {'lr': averages['lr']}
        if name in OTHER_MEAN_OF_NORMS:
            averages = {key: value for key, value in averages.items() if key != 'grad_norm'}
        rounded = {key: round(found[done][key], LOG_DIGITS) for key in averages}
        assert rounded == pytest.approx(averages, abs=1.5 * 10**-LOG_DIGITS)


@pytest.mark.distributed
def test_two_processes_train_as_two_of_mmcv(tmp_path):
    first, second = run_distributed(here.run_all, 2, PARALLEL_RUNS, str(tmp_path))
    for name, expected in RECORDED_PARALLEL.items():
        for parameter in ('slope', 'shift'):  # the statistics of a norm are those of a rank
            assert first[name]['parameters'][parameter] == second[name]['parameters'][parameter]
        if name.endswith('norm-evaluation'):
            # MMCV validates everywhere with the statistics of rank 0, here each rank with its own.
            first[name]['scores'] = expected['scores']
        # MMCV averages the gradients of every batch over the ranks, here those of a window are
        # added up first: the same sum in another order.
        rounding = 1e-6 if 'accumulate' in name else ROUNDING
        assert_same(first[name], expected, rounding)


def test_a_file_migrated_by_the_command_trains_so_too(tmp_path):
    name = 'epochs/optimizer/warm-up-accumulate'
    legacy = tmp_path / 'legacy.py'
    legacy.write_text(''.join(f'{key} = {value!r}\n' for key, value in RUNS[name].items()))
    rules = Path(here.__file__).with_name('rules.py')
    report = migrate_configs(legacy, tmp_path / 'new.py', rules=[str(rules)], check=True)
    assert report.written == 1
    outcome = here.run(RUNS[name], tmp_path / 'work', converted_file=tmp_path / 'new.py')
    assert_same(outcome, RECORDED[name])
