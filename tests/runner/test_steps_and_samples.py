"""Schedules, checkpoints, log lines and validations in optimizer steps and samples.

8 samples in batches of 2: 4 batches an epoch. Numbers of a part follow by hand from its unit.
"""

import json
import math
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from runner_toy import Net, Recorder, toy_runner

from mmengine.hooks._units import Interval
from mmengine.optim import ExponentialLR, OptimWrapper
from mmengine.runner import Runner
from mmengine.testing._internal.distributed import run_distributed
from mmengine.utils.errors import ArgumentError

LR = 0.1


def _changes(
    *, length: int = 8, iters: int | None = None, epochs: int = 2, counts: int = 1, **changes: Any
) -> dict[str, Any]:
    loader = {
        'dataset': {'type': 'ToyLine', 'length': length},
        'batch_size': changes.pop('batch_size', 2),
        'sampler': {'type': 'DefaultSampler', 'shuffle': False},
    }
    train_cfg = (
        {'by_epoch': True, 'max_epochs': epochs}
        if iters is None
        else {'by_epoch': False, 'max_iters': iters}
    )
    wrapper = {'optimizer': {'type': 'SGD', 'lr': LR}, 'accumulative_counts': counts}
    return {
        'train_dataloader': loader,
        'train_cfg': {**train_cfg, **changes.pop('val', {})},
        'optim_wrapper': wrapper,
        **changes,
    }


def _trained(work_dir: Path, **changes: Any) -> Runner:
    runner = toy_runner(work_dir, **_changes(**changes))
    runner.train()
    return runner


def _rates(runner: Runner) -> list[float]:
    return runner.message_hub.get_scalar('train/lr').data[0].tolist()


def _by_torch(make: Callable[[Any], Any], steps_before: list[int]) -> list[float]:
    """The learning rate of each iteration, before which that many steps of the schedule came."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=LR)
    schedule = make(optimizer)
    rates: list[float] = []
    done = 0
    for steps in steps_before:
        while done < steps:
            optimizer.step()
            schedule.step()
            done += 1
        rates.append(optimizer.param_groups[0]['lr'])
    return rates


SCHEDULES = {
    'exponential': (
        {'type': 'ExponentialLR', 'gamma': 0.9},
        lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9),
    ),
    'milestones': (
        {'type': 'MultiStepLR', 'milestones': [1, 3, 5]},
        lambda optimizer: torch.optim.lr_scheduler.MultiStepLR(optimizer, [1, 3, 5]),
    ),
    'cosine': (
        {'type': 'CosineAnnealingLR', 'T_max': 6, 'eta_min': 0.01},
        lambda optimizer: torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 6, 0.01),
    ),
    'torch': (
        {'type': 'torch.optim.lr_scheduler.StepLR', 'step_size': 2},
        lambda optimizer: torch.optim.lr_scheduler.StepLR(optimizer, 2),
    ),
}  # fmt: skip


@pytest.mark.parametrize('name', SCHEDULES)
@pytest.mark.parametrize('length', [{'epochs': 3}, {'iters': 12}], ids=['epochs', 'iterations'])
def test_a_schedule_in_steps_equals_torchs_that_steps_with_the_optimizer(tmp_path, name, length):
    config, theirs = SCHEDULES[name]
    schedule = {**config, 'unit': 'step'}
    runner = _trained(tmp_path, counts=3, param_scheduler=schedule, **length)
    expected = _by_torch(theirs, [iteration // 3 for iteration in range(12)])
    assert _rates(runner) == pytest.approx(expected)


@pytest.mark.parametrize('name', SCHEDULES)
@pytest.mark.parametrize('length', [{'epochs': 2}, {'iters': 8}], ids=['epochs', 'iterations'])
def test_a_schedule_in_samples_equals_torchs_that_steps_for_each(tmp_path, name, length):
    config, theirs = SCHEDULES[name]
    schedule = {**config, 'unit': 'sample'}
    # 7 samples in batches of 2: the last batch of each pass has one.
    runner = _trained(tmp_path, length=7, param_scheduler=schedule, **length)
    expected = _by_torch(theirs, [0, 2, 4, 6, 7, 9, 11, 13])
    assert _rates(runner) == pytest.approx(expected)
    assert runner.state.num_samples == 14


@pytest.mark.parametrize(('unit', 'end'), [('epoch', 2), ('iter', 8), ('step', 3), ('sample', 14)])
def test_a_schedule_without_end_acts_to_the_end_of_the_run(tmp_path, unit, end):
    schedule = {'type': 'LinearLR', 'unit': unit}
    runner = _trained(tmp_path, length=7, counts=3, param_scheduler=schedule)
    assert runner.param_schedulers[0].end == end
    assert runner.param_schedulers[0].by_epoch is (unit == 'epoch')


def test_a_built_schedule_has_its_unit_by_an_attribute(tmp_path):
    runner = toy_runner(tmp_path, **_changes(iters=6, counts=2))
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    schedule = ExponentialLR(runner.optim_wrapper, gamma=0.5)
    schedule.unit = 'step'
    runner.param_schedulers = [schedule]
    runner.train()
    assert _rates(runner) == pytest.approx([0.1, 0.1, 0.05, 0.05, 0.025, 0.025])


class _TwoLosses(Net):
    """The weight has an optimizer that steps in every batch, the bias one for every three."""

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, torch.Tensor]:
        for name in ('often', 'seldom'):
            loss = self(**data, mode='loss')['loss']
            optim_wrapper[name].update_params(loss)
        return {'loss': loss}


def test_a_schedule_counts_the_steps_of_its_own_optimizer(tmp_path):
    model = _TwoLosses()
    wrapper = {
        'often': OptimWrapper(torch.optim.SGD([model.linear.weight], lr=LR)),
        'seldom': OptimWrapper(torch.optim.SGD([model.linear.bias], lr=LR), accumulative_counts=3),
    }
    changes = _changes(iters=6)
    schedule = {'type': 'ExponentialLR', 'gamma': 0.5, 'unit': 'step'}
    runner = toy_runner(
        tmp_path, **{**changes, 'model': model, 'optim_wrapper': wrapper,
                     'param_scheduler': {'often': schedule, 'seldom': schedule}},
    )  # fmt: skip
    runner.train()
    hub = runner.message_hub
    assert hub.get_scalar('train/often.lr').data[0] == pytest.approx(
        [0.1 * 0.5**step for step in range(6)]
    )
    assert hub.get_scalar('train/seldom.lr').data[0] == pytest.approx([0.1] * 3 + [0.05] * 3)
    assert runner.state.finished('step') == 6  # of the optimizer with most
    assert [each.num_steps for each in runner.optim_wrapper.values()] == [6, 2]


@pytest.mark.parametrize(
    ('more', 'match'),
    [
        ({'unit': 'steps'}, "Did you mean 'step'"),
        ({'unit': 'step', 'by_epoch': True}, 'contradict'),
        ({'unit': 'sample', 'convert_to_iter_based': True}, 'Leave one of them out'),
        ({'unit': 'step', 'begin': 9}, 'ends after 8 optimizer steps'),
    ],
)
def test_a_wrong_unit_of_a_schedule_is_told(tmp_path, more, match):
    schedule = {'type': 'ExponentialLR', 'gamma': 0.5, **more}
    runner = toy_runner(tmp_path, **_changes(param_scheduler=schedule))
    with pytest.raises(ArgumentError, match=match):
        runner.train()


# -- checkpoints and log lines --------------------------------------------------------------------


def _files(runner: Runner) -> list[str]:
    names = (name for name in os.listdir(runner.work_dir) if name.endswith('.pth'))
    return sorted(names, key=lambda name: int(re.findall(r'\d+', name)[-1]))


def _iter_of(runner: Runner, name: str) -> int:
    checkpoint = torch.load(Path(runner.work_dir, name), weights_only=True)
    return checkpoint['meta']['iter']


@pytest.mark.parametrize('length', [{'epochs': 3}, {'iters': 12}], ids=['epochs', 'iterations'])
def test_checkpoints_in_steps(tmp_path, length):
    hook = {'checkpoint': {'type': 'CheckpointHook', 'unit': 'step', 'interval': 2}}
    runner = _trained(tmp_path, counts=5, default_hooks={**hook, 'logger': None}, **length)
    # Steps after batches 5, 10 and, for the shorter last window, 12.
    assert {name: _iter_of(runner, name) for name in _files(runner)} == {
        'step_2.pth': 10,
        'step_3.pth': 12,
    }


def test_checkpoints_in_samples_are_due_when_the_multiple_is_reached(tmp_path):
    hook = {'type': 'CheckpointHook', 'unit': 'sample', 'interval': 5, 'save_begin': 5}
    runner = _trained(tmp_path, iters=12, default_hooks={'checkpoint': hook, 'logger': None})
    # 5, 10, 15 and 20 samples are reached after 6, 10, 16 and 20; the end is saved too.
    assert {name: _iter_of(runner, name) for name in _files(runner)} == {
        'sample_6.pth': 3,
        'sample_10.pth': 5,
        'sample_16.pth': 8,
        'sample_20.pth': 10,
        'sample_24.pth': 12,
    }


@pytest.mark.parametrize(
    ('checkpoint', 'names'),
    [
        ({}, ['sample_6.pth', 'sample_10.pth', 'sample_12.pth']),
        ({'interval': 4}, ['iter_4.pth', 'iter_6.pth']),
        ({'by_epoch': False}, ['iter_5.pth', 'iter_6.pth']),
        ({'unit': 'step', 'interval': 1}, ['step_1.pth', 'step_2.pth']),
    ],
)
def test_default_checkpoints_come_with_the_validations(tmp_path, checkpoint, names):
    val = {'val_unit': 'sample', 'val_interval': 5}
    hooks = {'checkpoint': checkpoint, 'logger': None}
    runner = _trained(tmp_path, iters=6, counts=3, val=val, default_hooks=hooks)
    assert _files(runner) == names


def test_a_best_checkpoint_has_the_unit_in_its_name(tmp_path):
    hook = {
        'type': 'CheckpointHook', 'unit': 'sample', 'interval': 100,
        'save_best': 'toy/error', 'rule': 'less',
    }  # fmt: skip
    runner = _trained(tmp_path, default_hooks={'checkpoint': hook, 'logger': None})
    assert [name for name in _files(runner) if 'best' in name] == ['best_toy_error_sample_16.pth']


@pytest.mark.parametrize(
    ('unit', 'interval', 'iterations'),
    [('sample', 5, [3, 5, 8, 10, 12]), ('step', 2, [6, 12])],  # the last iteration always
)
def test_log_lines_in_units(tmp_path, unit, interval, iterations):
    logger = {'type': 'LoggerHook', 'unit': unit, 'interval': interval}
    runner = _trained(
        tmp_path, iters=12, counts=3, default_hooks={'logger': logger, 'checkpoint': None}
    )
    lines = Path(runner.log_dir, 'vis_data', 'scalars.json').read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record['step'] for record in records if 'loss' in record] == iterations


# -- validations ----------------------------------------------------------------------------------

UNITS = [
    ({'val_unit': 'iter', 'val_interval': 3}, [3, 6, 8]),
    ({'val_unit': 'iter', 'val_interval': 4}, [4, 8]),
    ({'val_unit': 'sample', 'val_interval': 5}, [3, 5, 8]),
    ({'val_unit': 'sample', 'val_interval': 5, 'val_begin': 9}, [5, 8]),
    ({'val_unit': 'step', 'val_interval': 2}, [6, 8]),
    ({'val_unit': 'step', 'val_interval': 1}, [3, 6, 8]),
    ({'val_unit': 'sample', 'val_interval': 8, 'dynamic_intervals': [(9, 2)]}, [4, 5, 6, 7, 8]),
]
LOOPS = pytest.mark.parametrize('loop', [{'epochs': 2}, {'iters': 8}], ids=['epochs', 'iterations'])


@LOOPS
@pytest.mark.parametrize(('val', 'iterations'), UNITS)
def test_validations_in_units(tmp_path, loop, val, iterations):
    recorder = Recorder()
    _trained(tmp_path, counts=3, val=val, custom_hooks=[recorder], **loop)
    finished_epochs = (lambda at: at // 4) if 'epochs' in loop else (lambda at: 0)
    assert recorder.validations == [(finished_epochs(at), at) for at in iterations]


@LOOPS
@pytest.mark.parametrize('is_killed', [False, True], ids=['validated', 'killed'])
@pytest.mark.parametrize(('val', 'iterations'), UNITS[2:5])
def test_a_resumed_run_has_the_validations_checkpoints_and_learning_rates_of_the_whole(
    tmp_path, loop, val, iterations, is_killed
):
    def run(name: str, **changes: Any) -> tuple[Runner, list[tuple[int, int]]]:
        recorder = Recorder()
        every = {'type': 'CheckpointHook', 'interval': 1, 'by_epoch': False}
        in_units = {'type': 'CheckpointHook', 'interval': 5, 'unit': 'sample'}
        schedule = {'type': 'ExponentialLR', 'gamma': 0.9}
        runner = _trained(
            tmp_path / name,
            counts=3, val=val, custom_hooks=[recorder, in_units],
            default_hooks={'checkpoint': every, 'logger': None},
            param_scheduler=[{**schedule, 'unit': 'step'}, {**schedule, 'unit': 'sample'}],
            **loop, **changes,
        )  # fmt: skip
        return runner, recorder.validations

    whole, validations = run('whole')
    assert [at for _, at in validations] == iterations
    rates = _rates(whole)
    for stop in (3, 4, 5, 7):
        path = Path(whole.work_dir, f'iter_{stop}.pth')
        record = Path(f'{path}.after_val')
        if is_killed and record.exists():
            record.unlink()  # as if the run had been killed in the validation
        resumed, others = run(f'from_{stop}', resume=str(path))
        left = [at for at in iterations if at > stop or (is_killed and at == stop)]
        assert [at for _, at in others] == left
        assert _rates(resumed) == rates
        names = [name for name in _files(whole) if 'sample' in name]
        later = [name for name in names if int(re.findall(r'\d+', name)[0]) > 2 * stop]
        assert [name for name in _files(resumed) if 'sample' in name] == later
        assert torch.equal(resumed.model.linear.weight, whole.model.linear.weight)


def test_a_schedule_in_steps_that_was_changed_follows_the_config_from_there(tmp_path):
    def run(name: str, gamma: float, **changes: Any) -> Runner:
        return _trained(
            tmp_path / name, iters=12, counts=3,
            param_scheduler={'type': 'ExponentialLR', 'gamma': gamma, 'unit': 'step'},
            default_hooks={'checkpoint': {'interval': 7, 'by_epoch': False}, 'logger': None},
            **changes,
        )  # fmt: skip

    first = run('first', 0.9)
    resumed = run('resumed', 0.5, resume=f'{first.work_dir}/iter_7.pth')
    # Two steps are taken after batch 7, the third after batch 9.
    assert _rates(resumed)[7:] == pytest.approx([0.1 * 0.5**2] * 2 + [0.1 * 0.5**3] * 3)


def _resized(tmp_path, schedule: Any, loop: Any, before: Any, after: Any) -> tuple[Any, Any]:
    """Rates of a run that goes on with other sizes after its 6th batch, and of a whole one."""
    every = {'checkpoint': {'interval': 6, 'by_epoch': False}, 'logger': None}
    options: dict[str, Any] = {**loop, 'param_scheduler': schedule, 'default_hooks': every}
    first = _trained(tmp_path / 'first', **{**options, **before})
    whole = _trained(tmp_path / 'whole', **{**options, **after})
    path = f'{first.work_dir}/iter_6.pth'
    resumed = _trained(tmp_path / 'resumed', **{**options, **after}, resume=path)
    return _rates(resumed), _rates(whole)


@pytest.mark.parametrize('name', ['CosineAnnealingLR', 'PolyLR', 'LinearLR', 'ConstantLR'])
@pytest.mark.parametrize(
    ('unit', 'before', 'after'),
    [
        ('step', {'counts': 1}, {'counts': 3}),
        ('step', {'counts': 4}, {'counts': 1}),
        ('sample', {'batch_size': 2}, {'batch_size': 4}),
    ],
)
def test_a_schedule_over_the_run_has_the_values_of_a_run_of_todays_sizes(
    tmp_path, name, unit, before, after
):
    schedule = {'type': name, 'unit': unit}
    resumed, whole = _resized(tmp_path, schedule, {'iters': 12, 'length': 48}, before, after)
    assert resumed[6:] == pytest.approx(whole[6:], rel=1e-12)
    assert resumed[:6] != whole[:6] or name == 'ConstantLR'


@pytest.mark.parametrize('name', ['CosineAnnealingLR', 'LinearLR'])
def test_a_schedule_in_steps_over_epochs_of_other_batches(tmp_path, name):
    # 16 samples: epochs of 8 batches, then of 4; batch 6 of 8 ends where batch 3 of 4 does.
    schedule = {'type': name, 'unit': 'step'}
    loop = {'epochs': 3, 'length': 16}
    resumed, whole = _resized(tmp_path, schedule, loop, {'batch_size': 2}, {'batch_size': 4})
    assert resumed[6:] == pytest.approx(whole[3:], rel=1e-12)


def test_a_schedule_with_numbers_of_its_own_continues_the_steps_that_were_taken(tmp_path):
    schedule = {'type': 'MultiStepLR', 'milestones': [3, 8], 'gamma': 0.5, 'unit': 'step'}
    resumed, _ = _resized(tmp_path, schedule, {'iters': 15}, {'counts': 1}, {'counts': 3})
    # 6 steps in 6 batches, then steps 7, 8 and 9 in batches 9, 12 and 15.
    assert resumed == pytest.approx([LR] * 3 + [LR / 2] * 9 + [LR / 4] * 3)


def test_a_schedule_with_an_end_of_its_own_continues_the_samples_that_were_seen(tmp_path):
    schedule = {'type': 'CosineAnnealingLR', 'T_max': 40, 'end': 40, 'unit': 'sample'}
    loop = {'iters': 12, 'length': 48}
    resumed, _ = _resized(tmp_path, schedule, loop, {'batch_size': 2}, {'batch_size': 4})
    seen = [*range(0, 12, 2), *range(12, 36, 4)]
    assert resumed == pytest.approx([LR * (1 + math.cos(math.pi * n / 40)) / 2 for n in seen])


@pytest.mark.parametrize('counts_before', [True, False], ids=['counted', 'not counted'])
def test_a_run_that_goes_on_with_other_batches_continues_its_samples(tmp_path, counts_before):
    every = {'checkpoint': {'interval': 3, 'by_epoch': False}, 'logger': None}
    hook = {'type': 'CheckpointHook', 'unit': 'sample', 'interval': 10, 'save_last': False}
    first = _trained(
        tmp_path / 'first', iters=6, length=48, default_hooks=every,
        custom_hooks=[hook] if counts_before else [],
    )  # fmt: skip
    second = _trained(
        tmp_path / 'second', iters=9, length=48, batch_size=4, default_hooks={'logger': None},
        custom_hooks=[hook], resume=f'{first.work_dir}/iter_3.pth',
    )  # fmt: skip
    # 6 samples, and then 4 in each of 6 batches: 10, 14, 18, 22, 26 and 30.
    assert second.state.num_samples == 30
    in_samples = [name for name in _files(second) if 'sample' in name]
    assert in_samples == ['sample_10.pth', 'sample_22.pth', 'sample_30.pth']


def test_metrics_of_validations_within_an_epoch_are_recorded_by_iteration(tmp_path):
    runner = _trained(
        tmp_path, val={'val_unit': 'iter', 'val_interval': 3}, log_level='INFO',
        default_hooks={'checkpoint': {'save_best': 'toy/error', 'rule': 'less'}},
    )  # fmt: skip
    lines = Path(runner.log_dir, 'vis_data', 'scalars.json').read_text().splitlines()
    records = [json.loads(line) for line in lines]
    assert [record['step'] for record in records if 'toy/error' in record] == [3, 6, 8]
    assert [name for name in _files(runner) if 'best' in name] == ['best_toy_error_iter_8.pth']


@pytest.mark.parametrize(
    ('config', 'match'),
    [
        (
            {'default_hooks': {'checkpoint': {'unit': 'samples'}}},
            "unit of CheckpointHook.*'sample'",
        ),
        ({'default_hooks': {'logger': {'unit': 'epoch'}}}, 'unit of LoggerHook'),
        ({'default_hooks': {'checkpoint': {'unit': 'step', 'by_epoch': True}}}, 'contradict'),
        ({'train_cfg': {'by_epoch': True, 'max_epochs': 1, 'val_unit': 'epoch'}}, 'val_unit|unit'),
    ],
)
def test_a_wrong_unit_is_told(tmp_path, config, match):
    with pytest.raises(ArgumentError, match=match):
        toy_runner(tmp_path, **{**_changes(), **config}).train()


def test_an_interval_has_the_same_turns_wherever_it_begins():
    for every, start in [(10, 0), (7, 3), (4, 4)]:
        counts = list(range(0, 60, 3))
        whole = Interval(every, start)
        due = [count for count in counts[1:] if whole.reaches(count)]
        # By definition: a multiple lies in (before, now].
        multiples = [start + n * every for n in range(30) if start + n * every > 0]
        assert due == [
            now for now in counts[1:] if any(now - 3 < turn <= now for turn in multiples)
        ]
        for begin in range(1, len(counts)):
            resumed = Interval(every, start)
            resumed.begin(counts[begin])
            later = [count for count in counts[begin + 1 :] if resumed.reaches(count)]
            assert later == [count for count in due if count > counts[begin]]


# -- ranks ----------------------------------------------------------------------------------------


def _count_on_a_rank(rank: int, world_size: int, work_dir: str, irregular: bool) -> Any:
    recorder = Recorder()
    changes = _changes(
        iters=4, length=8, launcher='pytorch', custom_hooks=[recorder],
        val={'val_unit': 'sample', 'val_interval': 6},
        default_hooks={'checkpoint': None, 'logger': None},
        env_cfg={'dist_cfg': {'backend': 'gloo'}},
    )  # fmt: skip
    if irregular:
        sizes = [[0, 1, 2], [3], [4], [5]] if rank else [[0], [1, 2], [3, 4], [5]]
        changes['train_dataloader'].pop('batch_size')
        changes['train_dataloader'].pop('sampler')
        changes['train_dataloader']['batch_sampler'] = sizes
    runner = toy_runner(work_dir, **changes)
    runner.train()
    return runner.state.num_samples, [at for _, at in recorder.validations]


@pytest.mark.distributed
@pytest.mark.parametrize(
    ('irregular', 'samples', 'validations'),
    # Both ranks have 2 samples in each batch; or together 4, 3, 3 and 2.
    [(False, 16, [2, 3, 4]), (True, 12, [2, 4])],
    ids=['equal batches', 'unequal batches'],
)
def test_samples_of_all_ranks_count(tmp_path, irregular, samples, validations):
    results = run_distributed(_count_on_a_rank, 2, str(tmp_path), irregular)
    assert results == [(samples, validations)] * 2
