"""Signals to a launcher: each goes on to the ranks, which save their state and end."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

from mmengine.launch._notes import FROM_SIGNAL, Notes

# Those that ask a run to stop; Windows does not have all of them.
_NAMES = ('SIGINT', 'SIGTERM', 'SIGUSR1', 'SIGHUP')
# A third Ctrl-C does not wait for the ranks any more.
_KILLS_AT = 3
# How long a launcher that has no rank waits for one to come, which would end at once.
_NO_RANK_S = 5.0
_POLL_S = 0.1


class Forwarding:
    """Passes signals to the ranks on this machine.

    Args:
        notes: The folder that has the ranks.
    """

    def __init__(self, notes: Notes) -> None:
        self._notes = notes
        self._interrupts = 0

    @contextmanager
    def active(self) -> Iterator[None]:
        """Pass signals on within this context, in the main thread.

        A signal that this process ignores, as SIGHUP under ``nohup``, stays ignored, also by the
        ranks.
        """
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        replaced: dict[int, Any] = {}
        try:
            for name in _NAMES:
                number = getattr(signal, name, None)
                if number is not None and signal.getsignal(number) is not signal.SIG_IGN:
                    replaced[number] = signal.signal(number, self._pass_on)
            yield
        finally:
            for number, before in replaced.items():
                signal.signal(number, before)

    def wait(self, has_ended: threading.Event) -> int | None:
        """Wait until the ranks have ended; the exit code if the launcher leaves before."""
        alone_since: float | None = None
        while not has_ended.wait(_POLL_S):
            asked = self._notes.asked()
            if asked is None or self._notes.ranks():
                alone_since = None
                continue
            # It waits for other machines, which may never come.
            now = time.monotonic()
            alone_since = now if alone_since is None else alone_since
            if now - alone_since > _NO_RANK_S:
                return FROM_SIGNAL + asked
        return None

    def _pass_on(self, number: int, frame: FrameType | None) -> None:
        self._notes.ask_to_stop(number)
        if number == signal.SIGINT:
            self._interrupts += 1
        is_over = self._interrupts >= _KILLS_AT
        for pid in self._notes.ranks():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL if is_over else number)
