"""Interruption: lets a thread that looks on end a block that another thread runs."""

from __future__ import annotations

import ctypes
import threading


class Interruption:
    """Raises an error in the thread that made it, while that thread is in its block.

    The thread calls :meth:`leave` when it leaves the block, and is not interrupted any more.

    Args:
        error: What is raised, at the next step of Python of the thread.

    Attributes:
        reason: Why the thread was interrupted; None if it was not.
        has_left: Set when the thread has left its block.
    """

    def __init__(self, error: type[BaseException]) -> None:
        self.reason: str | None = None
        self.has_left = threading.Event()
        self._error = error
        self._thread_id = threading.get_ident()
        # Held while the thread is interrupted, so that it cannot leave the block meanwhile.
        self._lock = threading.Lock()

    def interrupt(self, reason: str) -> bool:
        """Raise the error; returns False, and does nothing, if the thread has left its block."""
        with self._lock:
            if self.has_left.is_set():
                return False
            self.reason = reason
            self._set_error(self._error)
            return True

    def leave(self) -> None:
        """The thread leaves its block. An error that it has not raised yet is taken back."""
        try:
            with self._lock:
                self.has_left.set()
                self._set_error(None)
        except self._error:  # it came on the way here
            self.has_left.set()

    def _set_error(self, error: type[BaseException] | None) -> None:
        ctypes.pythonapi.PyThreadState_SetAsyncExc(
            ctypes.c_ulong(self._thread_id), None if error is None else ctypes.py_object(error)
        )
