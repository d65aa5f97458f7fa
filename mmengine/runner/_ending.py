"""The way out of a run: the end of a training, and a stage that fails."""

from __future__ import annotations

import os
import re
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from mmengine.dist import is_distributed, is_main_process
from mmengine.fileio._atomic import remove_temporaries
from mmengine.logging import MMLogger, _run_end
from mmengine.logging.logger import FILES_ONLY
from mmengine.process._lock import holding
from mmengine.process._stop_requests import StopRequests
from mmengine.process.failure import stop_together
from mmengine.process.signals import RunStopped
from mmengine.runner._stopping import clear_stop_file
from mmengine.runner._unsuited import explained
from mmengine.runner._watching import watched_stage
from mmengine.utils._background import is_writing

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner

# How long hooks may take to close what a failed run has open, where other ranks may be gone.
_CLOSING_S = 30.0
_TIMESTAMP = re.compile(r'[0-9]{8}_[0-9]{6}')


@contextmanager
def stage_of(runner: Runner, name: str) -> Iterator[bool]:
    """Run a stage (``train``, ``val`` or ``test``), and close it: hooks get ``after_run``.

    Within, the value says whether the stage is the outermost one, before which hooks get
    ``before_run``.

    An error leaves through one path. Other ranks are stopped, the error is logged, then all hooks
    get ``on_exception(runner, error)``, then those whose ``after_run`` was not called yet get it.
    The error goes on to the caller. A stage within a stage (a hook may call ``runner.test()``) does
    none of this: its caller may catch the error, and the run goes on.

    A training holds the lock of its work dir meanwhile.

    Raises:
        RunStopped: After everything is closed, if there was a request to stop.
        WorkDirInUseError: If another run trains in the work dir. Nothing has begun then.
    """
    lock = runner.strategy.session.lock if name == 'train' else False
    is_outermost = runner.state.stage is None
    with holding(runner.work_dir, lock), _begun(runner, name):
        yield is_outermost


@contextmanager
def _begun(runner: Runner, name: str) -> Iterator[None]:
    state = runner.state
    outer, state.stage = state.stage, name
    state.is_training |= name == 'train'
    closed: list[Any] = []
    if outer is None:
        _hold_log(runner, True)
        # A test in the work dir of a training does not take the training's stop file.
        state.stops = StopRequests(runner.preempt, runner.work_dir if name == 'train' else None)
        if name == 'train':
            clear_stop_file(runner)
            if is_main_process():
                _remove_temporaries(runner.work_dir)
    try:
        with (
            state.stops.active() if outer is None else nullcontext(),
            stop_together(runner.log_dir) if outer is None else nullcontext(),
            watched_stage(runner, name) if outer is None else nullcontext(),
        ):
            yield
            if outer is None:
                _log_end(runner, name)
                for method in runner._hooks.acting['after_run']:
                    closed.append(method)
                    method(runner)
    except BaseException as error:
        better = explained(runner, error)
        if outer is None:
            state.error = error
            _log_error(runner, name, error, better)
            _leave_after(runner, error, closed)
        if better is None:
            raise
        raise better from error
    finally:
        state.stage = outer
        if outer is None:
            state.error, state.is_training = None, False
            _hold_log(runner, False)
    if outer is None:
        state.stops.raise_if_asked()


def _log_end(runner: Runner, stage: str) -> None:
    """Log that a stage ended without an error; :func:`_stopping.report` logs interruptions."""
    stops = runner.state.stops
    if stage == 'train' and not stops.interrupts:
        runner.logger.info(_run_end.ended(runner.iter, runner.max_iters))
    elif stage != 'train' and stops.interrupts and stops.request is not None:
        runner.logger.warning(_run_end.stopped(stage, runner.iter, stops.request.reason))


def _log_error(
    runner: Runner, stage: str, error: BaseException, better: BaseException | None
) -> None:
    """Log with which error a stage ends; the process itself shows it on the console.

    Args:
        runner: The run.
        stage: The stage, or the one around it.
        error: The error.
        better: An error that explains it.
    """
    iterations = getattr(runner.state.position, 'iter', 0)
    if isinstance(error, RunStopped):
        runner.logger.warning(_run_end.stopped(stage, iterations, error.reason))
    elif isinstance(error, (KeyboardInterrupt, SystemExit)):
        reason = 'Ctrl-C' if isinstance(error, KeyboardInterrupt) else f'SystemExit({error.code})'
        text = _run_end.stopped(stage, iterations, reason)
        runner.logger.warning(text, extra=FILES_ONLY)
    else:
        text = _run_end.failed(stage, iterations, better or error)
        runner.logger.error(text, exc_info=error, extra=FILES_ONLY)


def _hold_log(runner: Runner, hold: bool) -> None:
    if isinstance(runner.logger, MMLogger):  # a user may set another logger
        runner.logger.hold_files(hold)


def _remove_temporaries(work_dir: str) -> None:
    """Remove what killed starts of the run have left, in the work dir and the folders of logs."""
    for folder in (work_dir, *(os.path.join(work_dir, name) for name in os.listdir(work_dir))):
        if folder == work_dir or _TIMESTAMP.fullmatch(os.path.basename(folder)):
            remove_temporaries(folder)
            remove_temporaries(os.path.join(folder, 'vis_data'))


def flush_open_windows(runner: Any) -> None:
    """Let gradients that are still being accumulated at the end of a training make their step.

    The stock loops call it after their last batch. It is also the first thing that happens at
    ``after_train``, whichever loop ends and why. A checkpoint that was written before the step is
    out of date then.

    A run that is interrupted keeps its window open: the resumed run has the gradients of the
    unbroken one, from the checkpoint.
    """
    if not runner.state.stops.interrupts and runner.optim_wrapper.flush():
        runner.state.num_changes += 1


def _leave_after(runner: Runner, error: BaseException, closed: list[Any]) -> None:
    """Call ``on_exception`` of all hooks and ``after_run`` of those that are not ``closed``."""
    if runner.state.stage == 'train':
        runner.state.num_changes += 1  # a batch may be half done
    has_left = threading.Event()
    if is_distributed():
        threading.Thread(target=_end_unless, args=(has_left,), daemon=True).start()
    try:
        for point, arguments in (('on_exception', {'error': error}), ('after_run', {})):
            for method in runner._hooks.acting[point]:
                if method in closed:
                    continue
                try:
                    method(runner, **arguments)
                except BaseException as further:  # it must not hide `error` nor keep others open
                    _report(runner, point, method, further)
    finally:
        has_left.set()


def _report(runner: Runner, point: str, method: Any, error: BaseException) -> None:
    owner = getattr(method, '__self__', method)
    text = ''.join(traceback.format_exception(error))
    runner.logger.error(f'{type(owner).__name__}.{point} failed after the run had failed:\n{text}')


def _end_unless(has_left: threading.Event) -> None:
    """End the process if hooks wait for ranks that are gone, and not for a checkpoint."""
    while not has_left.wait(_CLOSING_S):
        if is_writing():
            continue
        print(f'Hooks did not close within {_CLOSING_S:g} s.', file=sys.stderr, flush=True)
        os._exit(1)
