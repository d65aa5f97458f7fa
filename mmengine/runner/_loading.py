"""Loads the checkpoint of a run: its whole state to resume it, or weights alone."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmengine.runner import _resume
from mmengine.runner._config_changes import begin_comparison, tell_changes
from mmengine.runner._preparing import prepare_training
from mmengine.runner._unused_average import use_raw_weights

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner


def load_or_resume(runner: Runner) -> None:
    """Resume a run or load weights, as set in the constructor of ``runner``."""
    state, load_from = runner.state, runner._load_from
    source = runner.strategy.find_resume_source(load_from, runner._resume)
    trains = runner._train_loop is not None and state.stage in (None, 'train')
    if source is not None and not trains:
        load_from, source = source, None
    elif source is not None and state.stage is None:
        prepare_training(runner)
    if runner._overrides('resume') or runner._overrides('load_checkpoint'):
        if source is not None:
            runner.resume(source)
        elif load_from is not None:
            runner.load_checkpoint(load_from)
    else:
        with state.resuming(source is not None):
            checkpoint = runner.strategy.load_or_resume(load_from=load_from, resume=source or False)
        if source is not None and checkpoint is not None:
            go_on_from(runner, checkpoint)
    # A validation before the training leaves the resuming to the training.
    runner._has_loaded = trains or not runner._resume or runner._train_loop is None


def go_on_from(runner: Runner, checkpoint: dict[str, Any]) -> None:
    """Take up the part of ``checkpoint`` that the strategy does not load."""
    _resume.unpack(runner, checkpoint)
    tell_changes(runner)
    runner._has_loaded = True
    if runner.state.stage != 'train':
        # `before_run` of the training to come lets hooks begin anew.
        runner._states_of_hooks = checkpoint.get('hooks', {})


def show_loaded(runner: Runner, checkpoint: dict[str, Any]) -> None:
    """Compare a checkpoint with the run, and pass it to the hooks, before anything uses it."""
    begin_comparison(runner, checkpoint)
    runner.call_hook('after_load_checkpoint', checkpoint=checkpoint)
    use_raw_weights(runner, checkpoint)
