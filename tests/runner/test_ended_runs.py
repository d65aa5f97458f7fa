"""A run that had ended stays ended when it is started again, unless it is opened."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from runner_toy import NO_VALIDATION, toy_runner

from mmengine.hooks import EarlyStoppingHook, Hook
from mmengine.runner import Runner

LOOPS = {'epoch': {'by_epoch': True, 'max_epochs': 6}, 'iter': {'by_epoch': False, 'max_iters': 24}}
CHECKPOINT = {
    'epoch': {'type': 'CheckpointHook', 'interval': 1},
    'iter': {'type': 'CheckpointHook', 'interval': 4, 'by_epoch': False},
}


class Stops(Hook):
    """Ends the training after an iteration, or after a validation."""

    def __init__(self, at: int, in_val: bool = False) -> None:
        self.at, self.in_val = at, in_val

    def after_train_iter(self, runner: Runner, **kwargs: Any) -> None:
        if runner.iter + 1 == self.at and not self.in_val:
            runner.train_loop.stop_training = True

    def after_val_epoch(self, runner: Runner, metrics: Any = None) -> None:
        if runner.iter == self.at and self.in_val:
            runner.train_loop.stop_training = True


class Counts(Hook):
    """Iterations that were trained in this start."""

    def __init__(self) -> None:
        self.iters = 0

    def after_train_iter(self, runner: Runner, **kwargs: Any) -> None:
        self.iters += 1


def _train(work_dir: Path, kind: str, hooks: Any = (), again: bool = False, **changes: Any) -> Any:
    counts = Counts()
    train_cfg = {**LOOPS[kind], **changes.pop('train_cfg', {})}
    if kind == 'iter':
        train_cfg['val_interval'] = 4
    if again:
        changes['resume'] = {'again': True}
    runner = toy_runner(
        work_dir,
        train_cfg=train_cfg,
        custom_hooks=[counts, *hooks],
        default_hooks={'logger': None, 'checkpoint': CHECKPOINT[kind]},
        log_level='WARNING',
        **changes,
    )
    runner.train()
    return runner, counts.iters


def _files(work_dir: Path) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in work_dir.glob('*.pth*')}


def _log(runner: Runner) -> str:
    return Path(runner.log_dir, f'{runner.timestamp}.log').read_text()


@pytest.mark.parametrize('after_val', [False, True], ids=['in-training', 'in-validation'])
@pytest.mark.parametrize('kind', ['epoch', 'iter'])
def test_a_run_that_stopped_early_stays_ended_and_says_so(tmp_path, kind, after_val):
    _, trained = _train(tmp_path, kind, [Stops(8, after_val)])
    assert trained == 8
    before = _files(tmp_path)
    runner, trained = _train(tmp_path, kind, resume=True)
    assert trained == 0
    assert _files(tmp_path) == before
    assert 'The run had ended early, after ' in _log(runner)
    assert 'again=True' in _log(runner)


@pytest.mark.parametrize('kind', ['epoch', 'iter'])
def test_a_run_that_stopped_early_is_opened_by_again_or_a_greater_length(tmp_path, kind):
    _train(tmp_path, kind, [Stops(8)])
    longer = {'max_epochs': 7} if kind == 'epoch' else {'max_iters': 28}
    _, trained = _train(tmp_path, kind, [Stops(12)], resume=True, train_cfg=longer)
    assert trained == 4
    _, trained = _train(tmp_path, kind, resume=True, train_cfg=longer)
    assert trained == 0
    _, trained = _train(tmp_path, kind, resume=True, again=True, train_cfg=longer)
    assert trained == 28 - 12
    # It has reached its length: the early stop is forgotten.
    meta = torch.load((tmp_path / 'last_checkpoint').read_text())['meta']
    assert 'ended' not in meta


@pytest.mark.parametrize('kind', ['epoch', 'iter'])
def test_a_run_that_reached_its_length_stays_ended_and_says_so(tmp_path, kind):
    _train(tmp_path, kind)
    before = _files(tmp_path)
    runner, trained = _train(tmp_path, kind, resume=True)
    assert trained == 0
    assert _files(tmp_path) == before
    units = '6 of 6 epochs' if kind == 'epoch' else '24 of 24 iterations'
    assert f'after {units}: nothing is trained. A greater max_' in _log(runner)


def test_a_run_without_validations_stays_ended(tmp_path):
    _train(tmp_path, 'epoch', [Stops(8)], **NO_VALIDATION)
    assert _train(tmp_path, 'epoch', resume=True, **NO_VALIDATION)[1] == 0


def test_an_opened_run_waits_again_with_full_patience(tmp_path):
    # Without a possible improvement, training ends at the second validation after the first.
    def patient() -> EarlyStoppingHook:
        return EarlyStoppingHook('toy/error', rule='less', min_delta=1e9, patience=2)

    first, trained = _train(tmp_path, 'epoch', [patient()])
    opened, more = _train(tmp_path, 'epoch', [patient()], resume=True, again=True)
    assert (trained, more) == (3 * 4, 2 * 4)
    assert (first.epoch, opened.epoch) == (3, 5)


def test_an_earlier_checkpoint_of_an_ended_run_goes_on(tmp_path):
    _train(tmp_path, 'epoch', [Stops(8)])
    _, trained = _train(tmp_path, 'epoch', resume=True, load_from=str(tmp_path / 'epoch_1.pth'))
    assert trained == 5 * 4


@pytest.mark.parametrize('kind', ['epoch', 'iter'])
def test_a_run_that_stays_ended_is_where_it_ended(tmp_path, kind):
    first, _ = _train(tmp_path, kind)
    again, _ = _train(tmp_path, kind, resume=True)
    assert (again.epoch, again.iter) == (first.epoch, first.iter)
    first.resume((tmp_path / 'last_checkpoint').read_text())
    first.train()
    assert (first.epoch, first.iter) == (again.epoch, again.iter)


class StopsAtOnce(Hook):
    """Ends a training before its first batch."""

    def before_train(self, runner: Runner) -> None:
        runner.train_loop.stop_training = True


@pytest.mark.parametrize('is_new_runner', [True, False])
@pytest.mark.parametrize('kind', ['epoch', 'iter'])
def test_a_training_that_ends_where_it_was_resumed_says_so(tmp_path, kind, is_new_runner):
    runner, _ = _train(tmp_path, kind)
    name = 'epoch_2.pth' if kind == 'epoch' else 'iter_8.pth'
    if is_new_runner:
        settings = {'load_from': str(tmp_path / name), 'resume': True}
        _, trained = _train(tmp_path, kind, [StopsAtOnce()], **settings)
    else:
        runner.register_hook(StopsAtOnce())
        runner.resume(str(tmp_path / name))
        runner.train()
        trained = 0 if runner.iter == 8 else None
    assert trained == 0
    assert Path((tmp_path / 'last_checkpoint').read_text()).name == name
    assert torch.load(tmp_path / name)['meta']['ended']['by'] == 'stop_training'
    before = _files(tmp_path)
    assert _train(tmp_path, kind, resume=True)[1] == 0
    assert _files(tmp_path) == before
