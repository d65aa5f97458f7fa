"""Schedules of a run may be changed while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from runner_toy import toy_runner

from mmengine.hooks import Hook
from mmengine.optim import ExponentialLR
from mmengine.runner import Runner


def _halving(runner: Runner) -> ExponentialLR:
    return ExponentialLR(runner.optim_wrapper, gamma=0.5, by_epoch=False)


def _append(runner: Runner) -> None:
    runner.param_schedulers.append(_halving(runner))


def _replace(runner: Runner) -> None:
    runner.param_schedulers[0] = _halving(runner)


def _clear(runner: Runner) -> None:
    runner.param_schedulers.clear()


def _assign(runner: Runner) -> None:
    runner.param_schedulers = [_halving(runner)]


class Changes(Hook):
    """Notes the learning rate before each iteration, and changes schedules before the third."""

    priority = 'VERY_LOW'

    def __init__(self, change: Callable[[Runner], None]) -> None:
        self.change = change
        self.seen: list[float] = []

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == 2:
            self.change(runner)
        self.seen.append(runner.optim_wrapper.param_groups[0]['lr'])


# Before the change: 1, and 0.9 after each iteration, so 0.81 at the third. At its end the schedules
# step that are in the list then.
@pytest.mark.parametrize(
    ('change', 'after_third'),
    [
        (_append, 0.81 * 0.9 * 0.5),
        (_replace, 0.81 * 0.5),
        (_clear, 0.81),
        (_assign, 0.81 * 0.5),
    ],
)
def test_a_change_of_the_list_holds_from_this_iteration_on(tmp_path, change, after_third):
    hook = Changes(change)
    toy_runner(
        tmp_path,
        train_cfg={'by_epoch': False, 'max_iters': 4},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 1.0}},
        param_scheduler=[{'type': 'ExponentialLR', 'gamma': 0.9, 'by_epoch': False}],
        val_dataloader=None,
        val_cfg=None,
        val_evaluator=None,
        custom_hooks=[hook],
    ).train()
    assert hook.seen == pytest.approx([1.0, 0.9, 0.81, after_third])


def test_a_change_keeps_the_count_of_a_schedule_in_steps(tmp_path):
    """Four iterations of one step each: 1, 0.9, 0.81, 0.81 * 0.9 * 0.5, though the list changed."""
    hook = Changes(_append)
    toy_runner(
        tmp_path,
        train_cfg={'by_epoch': False, 'max_iters': 4},
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 1.0}},
        param_scheduler=[{'type': 'ExponentialLR', 'gamma': 0.9, 'unit': 'step'}],
        custom_hooks=[hook],
    ).train()
    assert hook.seen == pytest.approx([1.0, 0.9, 0.81, 0.81 * 0.9 * 0.5])
