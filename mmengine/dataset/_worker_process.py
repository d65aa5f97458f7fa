"""The process of a dataloader worker: its process group, and its end."""

from __future__ import annotations

import contextlib
import os
import threading
import time
import weakref
from typing import Any

_PARENT_EVERY_S = 1.0
# How long a request to stop may take to arrive here once workers were ended by the same signal.
_SAME_SIGNAL_S = 2.0


def leave_process_group() -> None:
    """Called in a worker: it gets a process group of one process."""
    if hasattr(os, 'setpgid'):
        with contextlib.suppress(OSError):  # it leads a session
            os.setpgid(0, 0)


def move_to_own_groups(batches: Any) -> None:
    """The same from the parent, for workers that are not so far yet.

    Args:
        batches: An iterator of a DataLoader.
    """
    for worker in getattr(batches, '_workers', ()):
        if hasattr(os, 'setpgid') and worker.pid is not None:
            with contextlib.suppress(OSError):  # it has begun another program, or has ended
                os.setpgid(worker.pid, worker.pid)


def keep_queues(batches: Any) -> None:
    """Keep the queues to the workers until ``batches``, an iterator of a DataLoader, is gone.

    An iterator that is left in a reference cycle, as after an error, is ended by the garbage
    collector. Its queues would be closed before it can tell its workers to end, and it waits five
    seconds for each of them.
    """
    queues = getattr(batches, '_index_queues', None)
    if queues:
        weakref.finalize(batches, _let_go, list(queues)).atexit = False


def _let_go(queues: list[Any]) -> None:
    """Called before the iterator ends its workers; it has the queues too."""


def end_with_parent() -> None:
    """Called in a worker: it ends when its parent has ended, whatever it is doing.

    A worker that waits for its next batch looks for its parent by itself; one that hangs in a
    sample does not.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(_PARENT_EVERY_S)
        os._exit(1)

    threading.Thread(target=watch, name='parent-watcher', daemon=True).start()


def are_workers_gone(error: BaseException) -> bool:
    """Whether the loading of a batch raised ``error`` because workers have ended.

    Torch says so where it waits for a batch. A batch that a worker had sent before it ended cannot
    be fetched from it either: its memory is passed over a connection to the worker.
    """
    if isinstance(error, RuntimeError):
        text = str(error)
        is_of_loader = text.startswith('DataLoader worker (pid')
        return is_of_loader and ('exited unexpectedly' in text or 'is killed by signal' in text)
    if not isinstance(error, (ConnectionError, EOFError, FileNotFoundError)):
        return False
    traceback = error.__traceback__
    while traceback is not None:
        if traceback.tb_frame.f_code.co_filename.endswith('multiprocessing/resource_sharer.py'):
            return True
        traceback = traceback.tb_next
    return False


def ended_by_a_request(error: BaseException, stops: Any) -> bool:
    """Whether workers have ended by a signal that also asked the run to stop."""
    if not are_workers_gone(error):
        return False
    deadline = time.monotonic() + _SAME_SIGNAL_S
    while not stops.is_asked and time.monotonic() < deadline:
        time.sleep(0.02)
    return bool(stops.is_asked)
