"""Defaults count what the train loop counts, and given values with which nothing happens are told.

The runs have 4 batches an epoch, a learning rate of 0.1, and a gradient of 1 in the conftest's toy.
"""

import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from runner_toy import toy_config, toy_runner

from mmengine.config import Config
from mmengine.hooks import CheckpointHook, LoggerHook
from mmengine.optim import LinearLR, MultiStepLR
from mmengine.registry import LOOPS
from mmengine.runner import FlexibleRunner, IterBasedTrainLoop, LogProcessor, Runner
from mmengine.utils.errors import ArgumentError


def _iterations(max_iters: int = 12, val_interval: int = 4, **changes: Any) -> dict[str, Any]:
    """A run of ``max_iters`` iterations in which every other argument has its default."""
    train_cfg = {'by_epoch': False, 'max_iters': max_iters, 'val_interval': val_interval}
    return {'train_cfg': train_cfg, 'default_hooks': None, 'log_level': 'INFO', **changes}


def _files(runner: Runner) -> list[str]:
    names = (name for name in os.listdir(runner.work_dir) if name.endswith('.pth'))
    return sorted(names, key=lambda name: int(re.findall(r'\d+', name)[-1]))


def _log(runner: Runner) -> str:
    return Path(runner.log_dir, f'{runner.timestamp}.log').read_text()


def _told(runner: Runner) -> list[str]:
    return [line for line in _log(runner).splitlines() if 'WARN' in line and 'counts' in line]


def _records(runner: Runner) -> list[dict[str, Any]]:
    lines = Path(runner.log_dir, 'vis_data', 'scalars.json').read_text().splitlines()
    return [json.loads(line) for line in lines]


def _trained(work_dir: Path, **changes: Any) -> Runner:
    runner = toy_runner(work_dir, **changes)
    runner.train()
    return runner


@pytest.mark.parametrize('kind', [Runner, FlexibleRunner])
def test_default_parts_count_iterations(tmp_path, kind):
    runner = kind(**toy_config(tmp_path, **_iterations(40, 12)))
    runner.train()
    assert 'Iter(train) [10/40]' in _log(runner)
    assert 'Epoch(' not in _log(runner)
    validations = [record for record in _records(runner) if 'toy/error' in record]
    assert [record['step'] for record in validations] == [12, 24, 36, 40]
    assert _files(runner) == ['iter_12.pth', 'iter_24.pth', 'iter_36.pth', 'iter_40.pth']
    assert _told(runner) == []


@pytest.mark.parametrize(
    'hooks',
    [
        {'checkpoint': {'type': 'CheckpointHook', 'interval': 4}},
        {'checkpoint': {'interval': 4}},
        {'checkpoint': CheckpointHook(interval=4)},
        {'checkpoint': CheckpointHook(4)},
        {'checkpoint': {'max_keep_ckpts': 5}},
    ],
    ids=['with type', 'without type', 'object', 'by position', 'default interval'],
)
def test_a_checkpoint_hook_that_is_given_in_part_follows_the_loop(tmp_path, hooks):
    runner = _trained(tmp_path, **_iterations(default_hooks=hooks))
    assert _files(runner) == ['iter_4.pth', 'iter_8.pth', 'iter_12.pth']
    assert _told(runner) == []


def test_a_best_checkpoint_is_named_by_its_iteration(tmp_path):
    hooks = {'checkpoint': {'save_best': 'toy/error', 'rule': 'less', 'interval': 100}}
    runner = _trained(tmp_path, **_iterations(default_hooks=hooks))
    assert [name for name in _files(runner) if 'best' in name] == ['best_toy_error_iter_12.pth']


def test_a_hook_that_is_registered_later_follows_the_loop(tmp_path):
    runner = toy_runner(tmp_path, **_iterations(default_hooks={'checkpoint': None}))
    runner.register_hook(CheckpointHook(interval=6))
    runner.train()
    assert _files(runner) == ['iter_6.pth', 'iter_12.pth']


def test_an_own_file_name_stays(tmp_path):
    hooks = {'checkpoint': {'interval': 6, 'filename_tmpl': 'model_{}.pth'}}
    runner = _trained(tmp_path, **_iterations(default_hooks=hooks))
    assert _files(runner) == ['model_6.pth', 'model_12.pth']


class _Shouting(LogProcessor):
    def get_log_after_iter(self, runner, batch_idx, mode):
        tag, line = super().get_log_after_iter(runner, batch_idx, mode)
        return tag, line.upper()


def test_a_subclass_of_the_log_processor_follows_the_loop(tmp_path):
    runner = _trained(tmp_path, **_iterations(log_processor=_Shouting(window_size=4)))
    assert 'ITER(TRAIN) [10/12]' in _log(runner)


def test_a_subclass_that_chooses_itself_keeps_its_choice(tmp_path):
    class ByEpoch(CheckpointHook):
        def __init__(self, **kwargs: Any) -> None:
            super().__init__(by_epoch=True, **kwargs)

    runner = _trained(tmp_path, **_iterations(default_hooks={'checkpoint': ByEpoch(interval=1)}))
    assert _files(runner) == ['epoch_1.pth']
    assert len(_told(runner)) == 1


def test_windows_of_an_epoch_stay_legal_where_the_default_follows(tmp_path):
    custom = [{'data_src': 'loss', 'window_size': 'epoch', 'log_name': 'mean_loss'}]
    runner = _trained(tmp_path, **_iterations(log_processor={'custom_cfg': custom}))
    assert 'mean_loss' in _log(runner)


@pytest.mark.parametrize('by_type', [False, True])
def test_a_validation_alone_is_logged_in_the_unit_of_the_loop(tmp_path, by_type):
    changes = _iterations()
    if by_type:
        changes['train_cfg'] = {'type': 'IterBasedTrainLoop', 'max_iters': 12}
    hooks = {'logger': {'interval': 1}}
    runner = toy_runner(tmp_path, **{**changes, 'default_hooks': hooks})
    runner.val()
    assert 'Iter(val) [4/4]' in _log(runner)


class _OwnLoop(IterBasedTrainLoop):
    """Ends an epoch after each pass over its data, which the loop it derives from does not."""

    def run(self) -> Any:
        self.runner.call_hook('before_train')
        while self._iter < self._max_iters:
            self.runner.call_hook('before_train_epoch')
            for batch in self.dataloader:
                self.run_iter(batch)
            self.runner.call_hook('after_train_epoch')
        self.runner.call_hook('after_train')
        return self.runner.model


@pytest.fixture
def own_loop():
    LOOPS.register_module(name='OwnIterLoop', module=_OwnLoop, force=True)
    yield {'type': 'OwnIterLoop', 'max_iters': 12}
    LOOPS._module_dict.pop('OwnIterLoop')


def test_defaults_follow_a_custom_loop_that_derives_from_ours(tmp_path, own_loop):
    hooks = {'checkpoint': {'type': 'CheckpointHook', 'interval': 4}}
    runner = _trained(tmp_path, **_iterations(train_cfg=own_loop, default_hooks=hooks))
    assert _files(runner) == ['iter_4.pth', 'iter_8.pth', 'iter_12.pth']


# -- given values ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ('changes', 'key'),
    [
        (
            {'default_hooks': {'checkpoint': {'interval': 4, 'by_epoch': True}}},
            'default_hooks.checkpoint.by_epoch=False',
        ),
        (
            {'default_hooks': {'checkpoint': CheckpointHook(4, True)}},
            'default_hooks.checkpoint.by_epoch=False',
        ),
        ({'log_processor': {'by_epoch': True}}, 'log_processor.by_epoch=False'),
        ({'log_processor': LogProcessor(by_epoch=True)}, 'log_processor.by_epoch=False'),
        (
            {'default_hooks': {'logger': LoggerHook(log_metric_by_epoch=True)}},
            'default_hooks.logger.log_metric_by_epoch=False',
        ),
    ],
)
def test_a_given_value_against_the_loop_is_told_once_with_its_key(tmp_path, changes, key):
    runner = _trained(tmp_path, **_iterations(**changes))
    runner.train()
    told = _told(runner)
    assert len(told) == 1
    assert key in told[0]


def test_a_given_value_against_the_loop_is_obeyed(tmp_path):
    hooks = {'checkpoint': {'interval': 4, 'by_epoch': True}}
    runner = _trained(
        tmp_path, **_iterations(default_hooks=hooks, log_processor={'by_epoch': True})
    )
    assert _files(runner) == ['epoch_1.pth']
    assert 'Epoch(train) [1][10/4]' in _log(runner)
    # The metrics have their own argument, which was not given.
    assert [record['step'] for record in _records(runner) if 'toy/error' in record] == [4, 8, 12]


def test_an_attribute_that_was_assigned_keeps_its_value(tmp_path):
    runner = toy_runner(tmp_path / 'epochs', default_hooks=None, log_level='INFO')
    runner.log_processor.by_epoch = False
    runner.train()
    assert 'Iter(train) [4/8]' in _log(runner)
    runner = toy_runner(tmp_path / 'iterations', **_iterations())
    runner.log_processor.by_epoch = True
    runner.train()
    assert 'Epoch(train) [1][10/4]' in _log(runner)
    assert len(_told(runner)) == 1


def test_a_hook_object_follows_the_loop_of_each_run(tmp_path):
    hook = CheckpointHook(interval=2)
    hooks = {'checkpoint': hook}
    first = _trained(tmp_path / 'iterations', **_iterations(4, default_hooks=hooks))
    assert _files(first) == ['iter_2.pth', 'iter_4.pth']
    hook.out_dir = hook.last_ckpt = None
    second = _trained(tmp_path / 'epochs', default_hooks=hooks)
    assert _files(second) == ['epoch_2.pth']


@pytest.mark.parametrize(
    'changes',
    [
        {'param_scheduler': {'type': 'LinearLR', 'by_epoch': False, 'end': 5}},
        {'param_scheduler': {'type': 'CosineAnnealingLR', 'convert_to_iter_based': True}},
        {'param_scheduler': {'type': 'MultiStepLR', 'milestones': [1]}},
        {'default_hooks': {'checkpoint': {'interval': 3, 'by_epoch': False}}},
        {'log_processor': {'by_epoch': False}},
        {'default_hooks': {'logger': {'log_metric_by_epoch': False}}},
    ],
)
def test_legal_combinations_of_an_epoch_run_are_not_told(tmp_path, changes):
    runner = _trained(
        tmp_path, **{'log_level': 'INFO', 'default_hooks': {'checkpoint': None}, **changes}
    )
    assert _told(runner) == []


def test_only_the_end_by_epoch_is_not_told(tmp_path):
    # A hook without an interval saves the end, which an iteration run has as well.
    hooks = {'checkpoint': CheckpointHook(by_epoch=True, save_last=True)}
    assert _told(_trained(tmp_path, **_iterations(default_hooks=hooks))) == []


# -- schedules ------------------------------------------------------------------------------------


def _rates(work_dir: Path, **changes: Any) -> list[float]:
    runner = _trained(work_dir, **_iterations(**{'default_hooks': {'checkpoint': None}, **changes}))
    return runner.message_hub.get_scalar('train/lr').data[0].tolist()


@pytest.mark.parametrize('form', ['config', 'ConfigDict', 'Config', 'list', 'object'])
def test_a_schedule_follows_the_loop(tmp_path, form):
    config: Any = {'type': 'MultiStepLR', 'milestones': [4, 8]}
    if form == 'ConfigDict':
        config = Config({'param_scheduler': config}).param_scheduler
    if form == 'Config':
        config = [Config(config)]
    if form == 'list':
        config = [config]
    if form == 'object':
        runner = toy_runner(tmp_path, **_iterations(default_hooks={'checkpoint': None}))
        runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
        runner.param_schedulers = [MultiStepLR(runner.optim_wrapper, milestones=[4, 8])]
        runner.train()
        rates = runner.message_hub.get_scalar('train/lr').data[0].tolist()
    else:
        rates = _rates(tmp_path, param_scheduler=config)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    theirs = torch.optim.lr_scheduler.MultiStepLR(optimizer, [4, 8])
    expected = []
    for _ in range(12):
        expected.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        theirs.step()
    assert rates == pytest.approx(expected)


def test_a_schedule_of_torch_follows_the_loop(tmp_path):
    config = {'type': 'torch.optim.lr_scheduler.ExponentialLR', 'gamma': 0.5}
    assert _rates(tmp_path, param_scheduler=config)[:3] == pytest.approx([0.1, 0.05, 0.025])


def test_schedules_that_a_caller_builds_follow_the_loop(tmp_path):
    runner = toy_runner(tmp_path, **_iterations())
    runner.train_loop  # schedules depend on its length
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    built = runner.build_param_scheduler(
        [{'type': 'LinearLR', 'end': 6}, {'type': 'StepLR', 'step_size': 2}]
    )
    assert [schedule.by_epoch for schedule in built] == [False, False]


@pytest.mark.parametrize(
    'config',
    [
        {'type': 'MultiStepLR', 'milestones': [4, 8], 'by_epoch': True},
        {'type': 'torch.optim.lr_scheduler.StepLR', 'step_size': 2, 'by_epoch': True},
        {'type': 'StepLR', 'step_size': 2, 'unit': 'epoch'},
    ],
)
def test_a_schedule_that_can_never_step_is_an_error_with_the_remedy(tmp_path, config):
    runner = toy_runner(tmp_path, **_iterations(param_scheduler=[config]))
    with pytest.raises(ArgumentError, match=r'by_epoch=False.*convert_to_iter_based=True'):
        runner.train()


def test_the_error_says_where_the_schedule_is_written(tmp_path):
    path = tmp_path / 'config.py'
    path.write_text(
        'param_scheduler = [\n'
        "    dict(type='LinearLR', by_epoch=False, end=4),\n"
        "    dict(type='StepLR', step_size=2,\n"
        '         by_epoch=True)]\n'
    )
    given = Config.fromfile(path).param_scheduler
    runner = toy_runner(tmp_path / 'run', **_iterations(param_scheduler=given))
    with pytest.raises(ArgumentError, match=r'StepLR counts epochs \(.*config\.py.*[34]'):
        runner.train()


def test_a_built_schedule_that_was_given_epochs_is_an_error(tmp_path):
    runner = toy_runner(tmp_path, **_iterations())
    runner.optim_wrapper = runner.build_optim_wrapper(runner.optim_wrapper)
    runner.param_schedulers = [LinearLR(runner.optim_wrapper, end=4, by_epoch=True)]
    with pytest.raises(ArgumentError, match='LinearLR counts epochs'):
        runner.train()


def test_in_a_custom_loop_that_may_end_epochs_it_is_a_warning(tmp_path, own_loop):
    config = {'type': 'StepLR', 'step_size': 2, 'by_epoch': True, 'end': 100}
    hooks = {'checkpoint': None}
    runner = _trained(
        tmp_path, **_iterations(train_cfg=own_loop, param_scheduler=config, default_hooks=hooks)
    )
    assert len(_told(runner)) == 1
    assert runner.optim_wrapper.get_lr()['lr'] == pytest.approx([0.01])  # after 3 passes


def test_a_plateau_acts_on_the_validations_of_an_iteration_run(tmp_path):
    config = {
        'type': 'ReduceOnPlateauLR', 'monitor': 'toy/error', 'rule': 'greater', 'patience': 0,
    }  # fmt: skip
    runner = _trained(
        tmp_path, **_iterations(param_scheduler=config, default_hooks={'checkpoint': None})
    )
    # The error only falls, so that each of the two validations after the first reduces.
    assert runner.optim_wrapper.get_lr()['lr'] == pytest.approx([0.001])
    runner = toy_runner(tmp_path, **_iterations(param_scheduler={**config, 'begin': 2}))
    with pytest.raises(ArgumentError, match='begin at 0'):
        runner.train()


def test_an_average_that_begins_by_epoch_names_the_other_argument(tmp_path):
    hooks = [{'type': 'EMAHook', 'begin_epoch': 2}]
    runner = toy_runner(tmp_path, **_iterations(custom_hooks=hooks))
    with pytest.raises(ArgumentError, match='Pass begin_iter instead'):
        runner.train()
