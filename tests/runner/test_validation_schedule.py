"""When validation runs during training; all points worked out by hand."""

import pytest
from runner_toy import Recorder, toy_runner

from mmengine.hooks import Hook
from mmengine.runner.utils import calc_dynamic_intervals, interval_at

# Four batches an epoch.
BY_EPOCH = [
    ({'max_epochs': 3}, [1, 2, 3]),
    ({'max_epochs': 5, 'val_interval': 2}, [2, 4, 5]),  # and after the last
    ({'max_epochs': 7, 'val_begin': 3, 'val_interval': 2}, [4, 6, 7]),
    ({'max_epochs': 2, 'val_begin': 5}, []),
    ({'max_epochs': 3, 'val_begin': 3, 'val_interval': 9}, [3]),
    # Every third epoch, from the fifth on every one: the interval of an epoch is looked up for the
    # epoch after it, so 4 is the first that follows the new one.
    ({'max_epochs': 6, 'val_interval': 3, 'dynamic_intervals': [(5, 1)]}, [3, 4, 5, 6]),
    ({'max_epochs': 9, 'val_interval': 4, 'dynamic_intervals': [(3, 2), (6, 3)]}, [2, 4, 6, 9]),
]
BY_ITER = [
    ({'max_iters': 3}, [3]),  # every 1000th, and after the last
    ({'max_iters': 11, 'val_interval': 4}, [4, 8, 11]),
    ({'max_iters': 11, 'val_begin': 5, 'val_interval': 2}, [6, 8, 10, 11]),
    ({'max_iters': 12, 'val_interval': 5, 'dynamic_intervals': [(8, 2)]}, [5, 8, 10, 12]),
    ({'max_iters': 10, 'val_interval': 5, 'dynamic_intervals': [(8, 1)]}, [5, 7, 8, 9, 10]),
]


@pytest.mark.parametrize(('cfg', 'epochs'), BY_EPOCH, ids=lambda value: str(value))
def test_epochs_after_which_it_runs(tmp_path, cfg, epochs):
    recorder = Recorder()
    toy_runner(tmp_path, train_cfg={'by_epoch': True, **cfg}, custom_hooks=[recorder]).train()
    assert recorder.validations == [(epoch, 4 * epoch) for epoch in epochs]


@pytest.mark.parametrize(('cfg', 'iters'), BY_ITER, ids=lambda value: str(value))
def test_iterations_after_which_it_runs(tmp_path, cfg, iters):
    recorder = Recorder()
    toy_runner(tmp_path, train_cfg={'by_epoch': False, **cfg}, custom_hooks=[recorder]).train()
    assert recorder.validations == [(0, number) for number in iters]


def test_the_model_trains_on_in_training_mode(tmp_path):
    modes = []

    class Modes(Hook):
        def before_val_iter(self, runner, batch_idx, data_batch=None):
            modes.append(('val', runner.model.training))

        def before_train_iter(self, runner, batch_idx, data_batch=None):
            modes.append(('train', runner.model.training))

    toy_runner(
        tmp_path,
        train_cfg={'by_epoch': False, 'max_iters': 2, 'val_interval': 1},
        custom_hooks=[Modes()],
    ).train()
    assert set(modes) == {('val', False), ('train', True)}
    assert modes[5] == ('train', True)


@pytest.mark.parametrize('by_epoch', [True, False])
def test_a_hook_can_end_the_training(tmp_path, by_epoch):
    class Stop(Hook):
        def after_val(self, runner):
            runner.train_loop.stop_training = True

    length = {'max_epochs': 5} if by_epoch else {'max_iters': 20, 'val_interval': 4}
    runner = toy_runner(tmp_path, train_cfg={'by_epoch': by_epoch, **length}, custom_hooks=[Stop()])
    runner.train()
    assert runner.iter == 4
    assert runner.epoch == 1


def test_whole_numbers_may_be_written_as_floats(tmp_path):
    runner = toy_runner(tmp_path, train_cfg={'by_epoch': True, 'max_epochs': 2.0})
    runner.train()
    assert (runner.max_epochs, runner.max_iters) == (2, 8)
    assert type(runner.max_epochs) is int


def test_by_epoch_is_told_by_the_length_when_it_is_not_given(tmp_path):
    assert toy_runner(tmp_path, train_cfg={'max_epochs': 2}).train_loop.max_iters == 8
    assert toy_runner(tmp_path, train_cfg={'max_iters': 3}).train_loop.max_epochs == 1


def test_the_interval_in_force_can_be_read(tmp_path):
    cfg = {'by_epoch': True, 'max_epochs': 6, 'val_interval': 3, 'dynamic_intervals': [(5, 1)]}
    runner = toy_runner(tmp_path, train_cfg={**cfg, 'val_begin': 2})
    assert runner.val_interval == 1  # before the loop is built
    assert (runner.train_loop.val_interval, runner.val_begin) == (3, 2)
    runner.train()
    assert runner.val_interval == 1


def test_milestones_and_intervals_of_a_plan():
    assert calc_dynamic_intervals(3) == ([0], [3])
    milestones, intervals = calc_dynamic_intervals(3, [(5, 1), (8, 4)])
    assert (milestones, intervals) == ([0, 5, 8], [3, 1, 4])
    at = [interval_at(milestones, intervals, position) for position in (1, 4, 5, 7, 8, 99)]
    assert at == [3, 3, 1, 1, 4, 4]
