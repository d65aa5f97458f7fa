"""Faults that test_runner_in_any_order found, one plain case each."""

from typing import Any

import pytest
import torch
from runner_toy import NO_TEST, NO_VALIDATION, Line, Net, parameters, toy_runner, trained_by_hand
from torch.utils.data import DataLoader, Dataset

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.registry import DATASETS

TRAINING = {**NO_VALIDATION, **NO_TEST}
BY_ITER: dict[str, Any] = {'by_epoch': False, 'max_iters': 6}


class FailOnce(Hook):
    """Raises at ``point`` when it comes for the ``count``-th time."""

    priority = 'LOWEST'

    def __init__(self, point: str, count: int = 1) -> None:
        self.left = count
        setattr(self, point, self._fail)

    def _fail(self, runner: Any, **arguments: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise OSError('once')


def _fails_once(runner: Any, stage: str = 'train') -> None:
    with pytest.raises(OSError, match='once'):
        getattr(runner, stage)()


def test_a_failed_pass_leaves_no_results_in_a_metric(tmp_path):
    runner = toy_runner(tmp_path, custom_hooks=[FailOnce('after_val_iter', 2)])
    _fails_once(runner, 'val')
    runner.val()
    assert len(runner.val_evaluator.metrics[0].last_results) == 8


def test_gradients_of_a_failed_window_take_part_in_no_step(tmp_path):
    wrapper = {'optimizer': {'type': 'SGD', 'lr': 0.1}, 'accumulative_counts': 2}
    runner = toy_runner(
        tmp_path, optim_wrapper=wrapper, custom_hooks=[FailOnce('after_train_iter')], **TRAINING
    )
    _fails_once(runner)  # the first batch is not counted, and is trained again
    runner.train()
    whole = [[0, 1, 2, 3], [4, 5, 6, 7]] * 2
    assert parameters(runner.model) == pytest.approx(trained_by_hand(whole), rel=1e-5)


def test_an_assigned_optimizer_begins_without_gradients(tmp_path):
    wrapper = {'optimizer': {'type': 'SGD', 'lr': 0.1}, 'accumulative_counts': 2}
    runner = toy_runner(
        tmp_path, optim_wrapper=wrapper, custom_hooks=[FailOnce('after_train_iter')], **TRAINING
    )
    _fails_once(runner)
    runner.optim_wrapper = OptimWrapper(torch.optim.SGD(runner.model.parameters(), lr=0.1), 2)
    runner.train()
    whole = [[0, 1, 2, 3], [4, 5, 6, 7]] * 2
    assert parameters(runner.model) == pytest.approx(trained_by_hand(whole), rel=1e-5)


def test_a_validation_that_failed_is_made_up_for(tmp_path):
    runner = toy_runner(tmp_path, custom_hooks=[FailOnce('before_val')], **NO_TEST)
    seen = []
    hook = Hook()
    hook.after_val = lambda runner: seen.append(runner.epoch)
    runner.register_hook(hook)
    _fails_once(runner)
    runner.train()
    assert seen == [1, 2]


def test_a_resumed_position_replaces_a_validation_that_was_due(tmp_path):
    runner = toy_runner(tmp_path, custom_hooks=[FailOnce('before_val')], **NO_TEST)
    runner.save_checkpoint(str(tmp_path), 'start.pth', save_optimizer=False)
    _fails_once(runner)
    runner.resume(str(tmp_path / 'start.pth'))
    assert not runner.train_loop.owes_validation


@pytest.mark.parametrize('cfg', [{'by_epoch': True, 'max_epochs': 2}, BY_ITER], ids=str)
def test_an_assigned_dataloader_is_trained_on(tmp_path, cfg):
    runner = toy_runner(tmp_path, train_cfg=cfg, **TRAINING)
    runner.train_loop.dataloader = DataLoader(Line(4), batch_size=2)
    runner.train()
    passes = 2 if cfg['by_epoch'] else 3
    expected = trained_by_hand([[0, 1], [2, 3]] * passes)
    assert parameters(runner.model) == pytest.approx(expected, rel=1e-5)
    assert runner.iter == runner.max_iters == 2 * passes


def test_epochs_of_several_lengths_follow_each_other(tmp_path):
    class Shorter(Hook):
        def after_train_epoch(self, runner: Any) -> None:
            runner.train_loop.dataloader = DataLoader(Line(4), batch_size=2)

    runner = toy_runner(tmp_path, custom_hooks=[Shorter()], **TRAINING)
    runner.train()
    batches = [[0, 1], [2, 3], [4, 5], [6, 7], [0, 1], [2, 3]]
    assert parameters(runner.model) == pytest.approx(trained_by_hand(batches), rel=1e-5)
    assert (runner.epoch, runner.iter, runner.max_iters) == (2, 6, 6)


def test_a_second_train_call_goes_on_after_an_early_stop(tmp_path):
    class Stop(Hook):
        def after_train_iter(self, runner: Any, batch_idx: int, **arguments: Any) -> None:
            runner.train_loop.stop_training = runner.iter == 2

    runner = toy_runner(tmp_path, train_cfg=BY_ITER, custom_hooks=[Stop()], **TRAINING)
    runner.train()
    assert (runner.iter, runner.epoch) == (3, 1)
    runner.train()
    assert (runner.iter, runner.epoch) == (6, 1)


def test_the_step_of_a_window_cut_by_an_early_stop_is_saved(tmp_path):
    class Stop(Hook):
        def after_train_iter(self, runner: Any, batch_idx: int, **arguments: Any) -> None:
            runner.train_loop.stop_training = runner.iter == 3

    wrapper = {'optimizer': {'type': 'SGD', 'lr': 0.1}, 'accumulative_counts': 3}
    checkpoint = {'type': 'CheckpointHook', 'interval': 4, 'by_epoch': False}
    runner = toy_runner(
        tmp_path, train_cfg=BY_ITER, optim_wrapper=wrapper, custom_hooks=[Stop()],
        default_hooks={'checkpoint': checkpoint, 'logger': None}, **TRAINING,
    )  # fmt: skip
    runner.train()
    state = torch.load(tmp_path / 'iter_4.pth', weights_only=True)['state_dict']
    expected = trained_by_hand([[0, 1, 2, 3, 4, 5], [6, 7]])
    assert state['linear.weight'].item() == pytest.approx(expected[0], rel=1e-5)


def test_a_model_assigned_under_ema_is_saved(tmp_path):
    runner = toy_runner(tmp_path, custom_hooks=[{'type': 'EMAHook'}], **TRAINING)
    runner.train()
    runner.model = Net()
    runner.save_checkpoint(str(tmp_path), 'new.pth')
    state = torch.load(tmp_path / 'new.pth', weights_only=True)['state_dict']
    assert state['linear.weight'].item() == 0.5


def test_ema_is_saved_before_any_stage(tmp_path):
    runner = toy_runner(tmp_path, custom_hooks=[{'type': 'EMAHook'}], **TRAINING)
    runner.save_checkpoint(str(tmp_path), 'first.pth')
    state = torch.load(tmp_path / 'first.pth', weights_only=True)
    assert state['ema_state_dict']['module.linear.weight'].item() == 0.5


@pytest.mark.parametrize('replaced', ['model', 'optim_wrapper'])
def test_schedules_of_a_replaced_part_are_at_the_position_of_the_run(tmp_path, replaced):
    schedule = {'type': 'ExponentialLR', 'gamma': 0.5, 'by_epoch': True, 'end': 100}
    runner = toy_runner(tmp_path, param_scheduler=schedule, **TRAINING)
    runner.train()
    if replaced == 'model':
        runner.model = Net()
    else:
        runner.optim_wrapper = OptimWrapper(torch.optim.SGD(runner.model.parameters(), lr=0.1))
    runner.train()
    assert runner.optim_wrapper.get_lr()['lr'] == [pytest.approx(0.1 * 0.5**2)]


def test_a_validation_after_a_failed_training_teaches_no_schedule(tmp_path):
    schedule = {'type': 'ReduceOnPlateauLR', 'monitor': 'toy/error', 'patience': 0, 'factor': 0.1,
                'rule': 'greater', 'by_epoch': True}  # fmt: skip
    runner = toy_runner(
        tmp_path, param_scheduler=schedule, custom_hooks=[FailOnce('after_train_epoch')], **NO_TEST
    )
    _fails_once(runner)
    for _ in range(3):
        runner.val()
    assert runner.optim_wrapper.get_lr()['lr'] == [pytest.approx(0.1)]


def test_no_stage_runs_after_resuming(tmp_path):
    checkpoint = {'type': 'CheckpointHook', 'interval': 1}
    hooks = {'checkpoint': checkpoint, 'logger': None}
    toy_runner(tmp_path, default_hooks=hooks, **TRAINING).train()
    runner = toy_runner(tmp_path, default_hooks=hooks, **TRAINING)
    runner.resume(str(tmp_path / 'epoch_1.pth'))
    assert runner.message_hub.get_info('loop_stage') is None


@pytest.mark.parametrize('by_epoch', [True, False])
def test_a_save_between_stages_resumes_at_its_position(tmp_path, by_epoch):
    runner = toy_runner(tmp_path, **TRAINING)
    runner.train()
    runner.save_checkpoint(str(tmp_path), 'end.pth', by_epoch=by_epoch)
    runner = toy_runner(tmp_path, train_cfg={'by_epoch': True, 'max_epochs': 3}, **TRAINING)
    runner.resume(str(tmp_path / 'end.pth'))
    assert (runner.epoch, runner.iter) == (2, 8)
    runner.train()
    assert runner.iter == 12


def test_the_state_of_hooks_is_loaded_once(tmp_path):
    class Counting(Hook):
        count = 0

        def after_train_iter(self, runner: Any, batch_idx: int, **arguments: Any) -> None:
            self.count += 1

        def state_dict(self) -> dict[str, int]:
            return {'count': self.count}

        def load_state_dict(self, state: dict[str, int]) -> None:
            self.count = state['count']

    hook = Counting()
    runner = toy_runner(
        tmp_path, custom_hooks=[hook, FailOnce('before_train_epoch', 2)], **TRAINING
    )
    runner.save_checkpoint(str(tmp_path), 'start.pth')
    runner.resume(str(tmp_path / 'start.pth'))
    _fails_once(runner)
    runner.train()
    assert hook.count == runner.iter == 8


@DATASETS.register_module()
class NeverBuilt(Dataset):
    def __init__(self) -> None:
        raise AssertionError('built for a run that does not train')


@pytest.mark.parametrize('hooks', [[], ['EMAHook'], ['SyncBuffersHook'], ['EarlyStoppingHook']])
@pytest.mark.parametrize(
    'loop', [{'by_epoch': True, 'max_epochs': 1}, {'by_epoch': False, 'max_iters': 4}]
)
def test_a_validation_alone_builds_no_training_data(tmp_path, hooks, loop):
    settings = {'EarlyStoppingHook': {'monitor': 'toy/error', 'rule': 'less'}}
    runner = toy_runner(
        tmp_path,
        train_cfg=loop,
        train_dataloader={'dataset': {'type': 'NeverBuilt'}, 'batch_size': 2},
        custom_hooks=[{'type': name, **settings.get(name, {})} for name in hooks],
        default_hooks={
            'checkpoint': {'type': 'CheckpointHook', 'save_best': 'toy/error', 'rule': 'less'}
        },
    )
    assert 'toy/error' in runner.val()
