"""A process that ``mmengine launch`` started: runs the target, and ends as the launcher needs it.

``python -m mmengine.launch._rank script FILE ARGS`` or ``... module NAME ARGS``. A run that stopped
on request ends with 0 here, whatever its ``preempt.exit_code``: the agent of torchrun would take
another code for a failure, and start the run again. The launcher ends with the code of the run.
"""

from __future__ import annotations

import ctypes
import os
import runpy
import signal
import sys
from pathlib import Path

from mmengine.launch._notes import FROM_SIGNAL, Notes, Stopped

_PR_SET_PDEATHSIG = 1


def main(words: list[str]) -> int:
    """Run the target as this process."""
    notes = Notes.of_environment()
    if notes is None:
        sys.exit('This module is started by mmengine launch.')
    local_rank = int(os.environ.get('LOCAL_RANK', 0))
    # In this order: the launcher writes its note first and then looks for ranks.
    notes.join(local_rank)
    number = notes.asked()
    if number is not None:
        name = signal.Signals(number).name
        notes.leave(local_rank, Stopped(FROM_SIGNAL + number, f'signal {name}, before its start'))
        return 0
    _end_with_parent()
    try:
        _run(words)
    except SystemExit as error:
        stopped = _stopped_by(error)
        if stopped is None:
            raise
        notes.leave(local_rank, stopped)
    return 0


def _run(words: list[str]) -> None:
    kind, target, *arguments = words
    sys.argv = [target, *arguments]
    if kind == 'script':
        sys.path[0] = str(Path(target).resolve().parent)  # as for `python FILE`
        runpy.run_path(target, run_name='__main__')
    else:
        runpy.run_module(target, run_name='__main__', alter_sys=True)


def _stopped_by(error: SystemExit) -> Stopped | None:
    signals = sys.modules.get('mmengine.process.signals')
    if signals is None or not isinstance(error, signals.RunStopped):
        return None
    code = error.code if isinstance(error.code, int) else int(error.code is not None)
    return Stopped(code, error.reason)


def _end_with_parent() -> None:
    """Ask the system for SIGTERM when the launcher is killed: the run saves its state and ends."""
    if not sys.platform.startswith('linux'):
        return
    parent = os.getppid()
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:  # it was killed before
        os.kill(os.getpid(), signal.SIGTERM)


if __name__ == '__main__':
    sys.exit(main(sys.argv[1:]))
