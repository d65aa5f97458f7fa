"""Hooks of a run may be changed while it runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from unittest import mock

import pytest
from runner_toy import NO_VALIDATION, toy_runner

from mmengine.hooks import Hook
from mmengine.runner import Runner

BY_ITER = {'by_epoch': False, 'max_iters': 6}


class Notes(Hook):
    """Notes the iterations after which it is called."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        self.seen.append(runner.iter)


class Acts(Hook):
    """Calls a function before an iteration."""

    def __init__(self, iteration: int, act: Callable[[Runner], Any]) -> None:
        self.iteration, self.act = iteration, act

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        if runner.iter == self.iteration:
            self.act(runner)


def _run(tmp_path: Any, *hooks: Hook, **changes: Any) -> Runner:
    settings = {'train_cfg': BY_ITER, **NO_VALIDATION, **changes}
    runner = toy_runner(tmp_path, custom_hooks=list(hooks), **settings)
    runner.train()
    return runner


@pytest.mark.parametrize(
    'add',
    [
        lambda hook, runner: runner.hooks.append(hook),
        lambda hook, runner: runner.hooks.insert(0, hook),
        lambda hook, runner: runner.register_hook(hook),
    ],
    ids=['append', 'insert', 'register_hook'],
)
def test_a_hook_that_is_added_is_called_from_then_on(tmp_path, add):
    hook = Notes()
    _run(tmp_path, Acts(4, lambda runner: add(hook, runner)))
    assert hook.seen == [4, 5]


@pytest.mark.parametrize(
    'remove',
    [
        lambda hook, runner: runner.hooks.remove(hook),
        lambda hook, runner: runner.hooks.__setitem__(runner.hooks.index(hook), Hook()),
    ],
    ids=['remove', 'replace'],
)
def test_a_hook_that_is_removed_is_called_no_more(tmp_path, remove):
    hook = Notes()
    _run(tmp_path, hook, Acts(4, lambda runner: remove(hook, runner)))
    assert hook.seen == [0, 1, 2, 3]


@pytest.mark.parametrize('where', ['instance', 'class'])
def test_a_method_that_is_replaced_is_called_from_the_next_epoch_on(tmp_path, where):
    """Epochs of 4 batches; replaced before the second iteration of the first epoch."""

    class Own(Notes):
        pass

    hook = Own()

    def replace(runner: Runner) -> None:
        def note(*args: Any, **kwargs: Any) -> None:
            hook.seen.append('new')

        (hook if where == 'instance' else Own).after_train_iter = note

    _run(tmp_path, hook, Acts(1, replace), train_cfg={'by_epoch': True, 'max_epochs': 2})
    assert hook.seen == [0, 1, 2, 3, *['new'] * 4]


def test_a_method_that_before_train_adds_is_called(tmp_path):
    class Late(Notes):
        after_train_iter = Hook.after_train_iter

        def before_train(self, runner: Any) -> None:
            self.after_train_iter = self._note

        def _note(self, runner: Any, *args: Any, **kwargs: Any) -> None:
            self.seen.append(runner.iter)

    hook = Late()
    runner = toy_runner(tmp_path, custom_hooks=[hook], train_cfg=BY_ITER, **NO_VALIDATION)
    runner.call_hook('after_train_iter', batch_idx=0)
    runner.train()
    assert hook.seen == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    'double',
    [
        lambda: mock.MagicMock(spec=Hook),
        lambda: mock.create_autospec(Notes(), instance=True),
        lambda: mock.MagicMock(wraps=Notes(), spec=Notes),
    ],
    ids=['spec', 'autospec', 'wraps'],
)
def test_a_test_double_is_called(tmp_path, double):
    hook = double()
    hook.priority = 'NORMAL'
    _run(tmp_path, hook)
    assert hook.after_train_iter.call_count == 6


def test_a_patched_method_is_called_in_a_further_training(tmp_path):
    hook = Notes()
    runner = _run(tmp_path, hook)
    runner.train_loop._max_iters = 8
    with mock.patch.object(hook, 'after_train_iter') as patched:
        runner.train()
    assert patched.call_count == 2
