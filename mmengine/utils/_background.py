"""Threads whose work has to be finished before a process may end."""

from __future__ import annotations

import threading
from collections.abc import Callable

_NAME = 'checkpoint writer'


def start_writer(work: Callable[[], None]) -> threading.Thread:
    """Start a thread that writes a checkpoint; the interpreter waits for it before it exits."""
    thread = threading.Thread(target=work, name=_NAME, daemon=False)
    thread.start()
    return thread


def is_writing() -> bool:
    """Whether a thread writes a checkpoint."""
    return any(thread.name == _NAME for thread in threading.enumerate())
