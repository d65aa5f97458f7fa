"""Migrated hooks see learning rates, steps and counts at the times of MMCV 1.x."""

import pytest
import torch
from torch.utils.data import DataLoader

from mmengine.hooks import Hook
from mmengine.migrate import LegacyHook, LegacyLrUpdaterHook, LegacyOptimizerStepHook
from mmengine.model import BaseModel
from mmengine.runner import Runner
from mmengine.utils.errors import ArgumentError

TWO_EPOCHS = dict(by_epoch=True, max_epochs=2)


class Line(BaseModel):
    def __init__(self):
        super().__init__()
        self.slope = torch.nn.Parameter(torch.ones(1))

    def forward(self, x, mode='tensor'):
        return dict(loss=(self.slope * x).sum())


class Sees(Hook):
    """Notes what ``look`` returns, at each time by its name."""

    def __init__(self, look, act=None):
        self.look, self.act, self.seen = look, act, []

    def _note(self, name, runner):
        self.seen.append((name, round(self.look(runner), 6)))

    def before_run(self, runner):
        self._note('run', runner)

    def before_train_epoch(self, runner):
        self._note('epoch', runner)

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self._note('iter', runner)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self._note('done', runner)
        if self.act is not None:
            self.act(runner)


def rate_of(runner):
    return runner.optim_wrapper.get_lr()['lr'][0]


def halve(runner):
    for group in runner.optim_wrapper.param_groups:
        group['lr'] *= 0.5


NOT_SAVED = dict(checkpoint=None)
SGD = dict(type='SGD', lr=1.0)


def trained(
    work_dir, hook, priority='NORMAL', *, length=2, custom=(), wrapper=(), optimizer=SGD, hooks=(),
    **more,
):  # fmt: skip
    options = dict(train_cfg=TWO_EPOCHS) | more
    runner = Runner(
        Line(),
        str(work_dir),
        train_dataloader=DataLoader([dict(x=torch.ones(1))] * length),
        optim_wrapper=dict(optimizer=optimizer, **dict(wrapper)),
        default_hooks=dict(
            param_scheduler=dict(type='LegacyParamSchedulerHook'), **dict(hooks or NOT_SAVED)
        ),
        custom_hooks=list(custom),
        log_level='ERROR',
        **options,
    )
    runner.register_hook(hook, priority=priority)
    runner.train()
    return runner


def legacy(**options):
    return dict(type='LegacyLRScheduler', by_epoch=True, end=2, convert_to_iter_based=True,
                starts_late=True, **options)  # fmt: skip


WARM_STEP = legacy(policy='Step', policy_by_epoch=True, step=[1], warmup='linear',
                   warmup_iters=3, warmup_ratio=0.1)  # fmt: skip


def test_a_policy_of_epochs_is_set_as_each_epoch_begins_and_its_warm_up_with_iterations(tmp_path):
    hook = Sees(rate_of)
    trained(tmp_path, hook, param_scheduler=WARM_STEP)
    # The warm-up has the factors 0.1, 0.4, 0.7; from iteration 3 on there is none.
    assert hook.seen == [
        ('run', 1.0),
        ('epoch', 1.0), ('iter', 0.1), ('done', 0.1), ('iter', 0.4), ('done', 0.4),
        ('epoch', 0.1), ('iter', 0.07), ('done', 0.07), ('iter', 0.1), ('done', 0.1),
    ]  # fmt: skip


def test_a_hook_of_the_highest_priority_comes_before_the_schedule(tmp_path):
    hook = Sees(rate_of)
    trained(tmp_path, hook, 'HIGHEST', param_scheduler=WARM_STEP)
    assert [rate for name, rate in hook.seen if name == 'epoch'] == [1.0, 0.4]
    assert [rate for name, rate in hook.seen if name == 'iter'] == [1.0, 0.1, 0.1, 0.07]


class HalfLrUpdaterHook(LegacyLrUpdaterHook):
    def get_lr(self, runner, base_lr):
        return base_lr / 2


@pytest.mark.parametrize(
    ('by_epoch', 'rates'), [(True, [1.0, 1.0, 1.0]), (False, [0.05, 0.275, 0.5])]
)
def test_an_own_schedule_of_epochs_sets_nothing_in_a_run_of_iterations(tmp_path, by_epoch, rates):
    """As MMCV did, whose runner of iterations called no before_train_epoch."""
    hook = Sees(rate_of)
    warm = dict(warmup='linear', warmup_iters=2, warmup_ratio=0.1)
    trained(tmp_path, hook, custom=[HalfLrUpdaterHook(by_epoch=by_epoch, **warm)],
            train_cfg=dict(by_epoch=False, max_iters=3))  # fmt: skip
    assert [rate for name, rate in hook.seen if name == 'done'] == rates


def test_what_a_hook_sets_stays_until_the_schedule_sets_it_anew(tmp_path):
    of_epochs, of_iterations = Sees(rate_of, halve), Sees(rate_of, halve)
    trained(tmp_path / 'a', of_epochs, param_scheduler=legacy(policy='Fixed', policy_by_epoch=True))
    trained(tmp_path / 'b', of_iterations, param_scheduler=legacy(policy='Fixed'))
    assert [rate for name, rate in of_epochs.seen if name == 'done'] == [1.0, 0.5, 1.0, 0.5]
    assert [rate for name, rate in of_iterations.seen if name == 'done'] == [1.0] * 4


def test_a_schedule_starts_from_what_hooks_set_before_it(tmp_path):
    class Lowers(Sees):
        def before_run(self, runner):
            halve(runner)

    hook = Lowers(rate_of)
    trained(tmp_path, hook, 'HIGHEST', param_scheduler=legacy(policy='Step', step=[2], gamma=0.1))
    assert [rate for name, rate in hook.seen if name == 'done'] == [0.5, 0.5, 0.05, 0.05]


def test_a_resumed_run_goes_on_with_the_schedule(tmp_path):
    schedule = WARM_STEP | dict(end=3, step=[2])
    saving = dict(checkpoint=dict(type='CheckpointHook', interval=1))
    whole, part, rest = (Sees(rate_of) for _ in range(3))
    three = dict(by_epoch=True, max_epochs=3)
    trained(tmp_path / 'a', whole, param_scheduler=schedule, train_cfg=three)
    trained(tmp_path / 'b', part, param_scheduler=schedule, hooks=saving,
            train_cfg=dict(by_epoch=True, max_epochs=1))  # fmt: skip
    trained(tmp_path / 'b', rest, param_scheduler=schedule, train_cfg=three, resume=True,
            load_from=str(tmp_path / 'b' / 'epoch_1.pth'))  # fmt: skip
    assert part.seen[1:] + rest.seen[1:] == whole.seen[1:]


def test_a_momentum_is_set_at_the_same_times(tmp_path):
    def momentum_of(runner):
        return runner.optim_wrapper.param_groups[0]['betas'][0]

    hook = Sees(momentum_of)
    schedule = legacy(policy='Step', step=[1], gamma=0.5) | dict(type='LegacyMomentumScheduler')
    trained(tmp_path, hook, param_scheduler=schedule, optimizer=dict(type='Adam', lr=1.0))
    # 0.9, halved from iteration 1 on.
    assert [value for name, value in hook.seen if name == 'done'] == [0.9, 0.45, 0.45, 0.45]
    assert hook.seen[0] == ('run', 0.9)


def test_without_a_late_start_the_first_value_is_there_at_once(tmp_path):
    hook = Sees(rate_of)
    trained(tmp_path, hook, param_scheduler=WARM_STEP | dict(starts_late=False))
    assert hook.seen[0] == ('run', 0.1)


STEPS = dict(type='LegacyOptimizerStepHook', priority='ABOVE_NORMAL')


def weight_of(runner):
    return runner.model.slope.item()


def gradient_of(runner):
    grad = runner.model.slope.grad
    return 0.0 if grad is None else grad.item()


# The loss is the slope, times 1 for each batch: its gradient is 1, so a step of rate 1 takes 1.
@pytest.mark.parametrize(
    ('priority', 'expected'), [('HIGH', [1, 0, -1, -2]), ('NORMAL', [0, -1, -2, -3])]
)
def test_hooks_before_the_step_see_the_older_weights(tmp_path, priority, expected):
    hook = Sees(weight_of)
    runner = trained(tmp_path, hook, priority, custom=[STEPS])
    assert [value for name, value in hook.seen if name == 'done'] == expected
    assert weight_of(runner) == -3


def test_gradients_stay_until_the_next_backward_pass(tmp_path):
    hook = Sees(gradient_of)
    runner = trained(tmp_path, hook, custom=[STEPS])
    assert [value for name, value in hook.seen if name == 'done'] == [1] * 4
    assert [value for name, value in hook.seen if name == 'iter'] == [0, 1, 1, 1]
    assert weight_of(runner) == -3


def test_gradients_of_an_accumulation_go_with_its_step(tmp_path):
    hook = Sees(gradient_of)
    runner = trained(tmp_path, hook, custom=[STEPS], wrapper=dict(accumulative_counts=2))
    # Half of 1, then the whole is stepped with and dropped.
    assert [value for name, value in hook.seen if name == 'done'] == [0.5, 0, 0.5, 0]
    assert weight_of(runner) == -1


def test_the_wrapper_is_its_own_again_after_the_training(tmp_path):
    runner = trained(tmp_path, Sees(gradient_of), custom=[STEPS])
    assert not {'update_params', '_close_window', 'zero_grad'} & vars(runner.optim_wrapper).keys()


def test_several_optimizers_are_refused_by_name():
    class Several:
        optim_wrapper = dict(gen=None)

    with pytest.raises(ArgumentError, match='Remove the hook from custom_hooks'):
        LegacyOptimizerStepHook().before_train(Several())


class Counts(LegacyHook):
    def __init__(self):
        self.seen = []

    def _note(self, name, runner, batch_idx=0):
        values = (
            self.epoch_of(runner),
            self.inner_iter_of(runner, batch_idx),
            self.max_epochs_of(runner),
            self.is_last_train_epoch(runner),
            self.every_n_epochs(runner, 2),
        )
        self.seen.append((name, runner.iter, *values))

    def before_train_epoch(self, runner):
        if self.counts_iterations(runner):
            self._before_epoch(runner)
            return
        self._note('train', runner)

    def _before_epoch(self, runner, mode='train'):
        self._note('before', runner)

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self._note('iter', runner, batch_idx)

    def _after_epoch(self, runner, mode='train'):
        self._note('after', runner)


# Recorded of MMCV 1.7.2: 3 batches, 7 iterations.
ITERATIONS = [
    ('before', 0, 0, 0, None, False, False), ('iter', 0, 0, 0, None, False, False),
    ('iter', 1, 0, 0, None, False, False), ('iter', 2, 0, 0, None, False, False),
    ('iter', 3, 0, 0, None, False, False), ('iter', 4, 1, 0, None, False, True),
    ('iter', 5, 1, 0, None, False, True), ('iter', 6, 1, 0, None, False, True),
    ('after', 7, 1, 0, None, False, True),
]  # fmt: skip


def test_in_a_run_of_iterations_epochs_are_counted_as_mmcv_did(tmp_path):
    hook = Counts()
    trained(tmp_path, hook, length=3, train_cfg=dict(by_epoch=False, max_iters=7))
    assert hook.seen == ITERATIONS


def test_in_a_run_of_epochs_a_legacy_hook_is_a_hook(tmp_path):
    hook = Counts()
    trained(tmp_path, hook)
    assert hook.seen == [
        ('train', 0, 0, 0, 2, False, False), ('iter', 0, 0, 0, 2, False, False),
        ('iter', 1, 0, 1, 2, False, False), ('after', 2, 0, 0, 2, False, False),
        ('train', 2, 1, 0, 2, True, True), ('iter', 2, 1, 0, 2, True, True),
        ('iter', 3, 1, 1, 2, True, True), ('after', 4, 1, 0, 2, True, True),
    ]  # fmt: skip
