"""The way out of a run: the end of a training, and a stage that fails."""

from __future__ import annotations

import os
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mmengine.dist import is_distributed
from mmengine.process.failure import stop_together

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner

# How long hooks may take to close what a failed run has open, where other ranks may be gone.
_CLOSING_S = 30.0


@contextmanager
def stage_of(runner: Runner, name: str) -> Iterator[None]:
    """Run a stage (``train``, ``val`` or ``test``); an error in it leaves through one path.

    Other ranks are stopped, then all hooks get ``on_exception(runner, error)``, then ``after_run``,
    which closes what is open. The error goes on to the caller.
    """
    runner.state.stage = name
    try:
        with stop_together():
            yield
    except BaseException as error:
        _leave_after(runner, error)
        raise
    finally:
        runner.state.stage = None


def flush_open_windows(runner: Any) -> None:
    """Let gradients that are still being accumulated at the end of a training make their step.

    The stock loops call it after their last batch. It is also the first thing that happens at
    ``after_train``, whichever loop ends and why. A checkpoint that was written before the step is
    out of date then.
    """
    if runner.optim_wrapper.flush():
        runner.state.saved_iter = None


def _leave_after(runner: Runner, error: BaseException) -> None:
    if runner.state.stage == 'train':
        runner.state.saved_iter = None  # a batch may be half done
    closed = threading.Event()
    if is_distributed():
        threading.Thread(target=_end_unless, args=(closed,), daemon=True).start()
    try:
        for point, arguments in (('on_exception', {'error': error}), ('after_run', {})):
            for method in runner._hooks.acting[point]:
                try:
                    method(runner, **arguments)
                except Exception as further:  # one hook's failure must not keep the others open
                    _report(runner, point, method, further)
    finally:
        closed.set()


def _report(runner: Runner, point: str, method: Any, error: Exception) -> None:
    owner = getattr(method, '__self__', method)
    text = ''.join(traceback.format_exception(error))
    runner.logger.error(f'{type(owner).__name__}.{point} failed after the run had failed:\n{text}')


def _end_unless(closed: threading.Event) -> None:
    """End the process if hooks wait for ranks that are gone."""
    if not closed.wait(_CLOSING_S):
        print(f'Hooks did not close within {_CLOSING_S:g} s.', file=sys.stderr, flush=True)
        os._exit(1)
