"""Signals that ask a run to stop, and how a run leaves that has stopped for them.

While a stage of a run is at work, SIGINT, SIGTERM, SIGUSR1 and SIGHUP do not end the process: the
run stops after the present batch, saves its state, closes its trackers and log, and raises
:class:`RunStopped`. Nothing of this happens for a signal that the program handles by itself.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Any

from mmengine.utils._settings import check_keys
from mmengine.utils.errors import ArgumentError, did_you_mean

# Those that the platform has: Windows has neither SIGUSR1 nor SIGHUP.
DEFAULT_SIGNALS = tuple(
    name for name in ('SIGINT', 'SIGTERM', 'SIGUSR1', 'SIGHUP') if hasattr(signal, name)
)


class RunStopped(SystemExit):
    """The run has stopped on request; it can be resumed.

    It is raised by ``train``, ``val`` and ``test`` after everything is closed. A script that does
    not catch it ends with the exit status ``code``, without a traceback. :class:`RunInterrupted` is
    its form for SIGINT.

    Attributes:
        code: The exit status of the process.
        reason: Who asked, for example ``signal SIGTERM``.
    """

    def __init__(self, reason: str, code: int = 0) -> None:
        super().__init__(code)
        self.reason = reason

    def __str__(self) -> str:
        return f'The run was stopped by {self.reason}.'


class RunInterrupted(RunStopped, KeyboardInterrupt):
    """The run has stopped because of Ctrl-C; ``except KeyboardInterrupt`` catches it too."""


@dataclass(frozen=True)
class Preempt:
    """How a run reacts to requests to stop.

    Attributes:
        signals: Names of the signals that ask for a stop.
        exit_code: Exit status of a run that has stopped on request.
        save_within_s: Seconds from the signal after which the process ends even if the state is not
            saved yet; None waits.
    """

    signals: tuple[str, ...] = DEFAULT_SIGNALS
    exit_code: int = 0
    save_within_s: float | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any] | Preempt | None) -> Preempt:
        """The settings in ``preempt=dict(...)``, checked; None means the defaults.

        Raises:
            ArgumentError: If a key or the name of a signal is unknown, or a value is wrong.
        """
        if isinstance(settings, Preempt):
            return settings
        if settings is not None and not isinstance(settings, Mapping):
            raise ArgumentError(
                'preempt is a dict of signals, exit_code and save_within_s, '
                f'got {type(settings).__name__}.'
            )
        given = dict(settings or {})
        check_keys('preempt', given, cls.__dataclass_fields__)
        if 'signals' in given:
            given['signals'] = _signal_names(given['signals'])
        code, seconds = given.get('exit_code', 0), given.get('save_within_s')
        if isinstance(code, bool) or not isinstance(code, int) or not 0 <= code <= 255:
            raise ArgumentError(f'preempt.exit_code must be an int from 0 to 255, got {code!r}.')
        if seconds is not None and not (isinstance(seconds, (int, float)) and seconds > 0):
            raise ArgumentError(f'preempt.save_within_s must be positive or None, got {seconds!r}.')
        return cls(**given)


@contextmanager
def handled(
    names: Sequence[str], handler: Callable[[int, FrameType | None], None]
) -> Iterator[None]:
    """Pass the signals ``names`` to ``handler`` within this context.

    A signal that has a handler of the program, or that is ignored (as SIGHUP under ``nohup``),
    keeps it. In a thread other than the main thread no signal is handled: Python cannot do so.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    replaced: dict[int, Any] = {}
    try:
        for name in names:
            number = getattr(signal, name)
            present = signal.getsignal(number)
            if present in (signal.SIG_DFL, signal.default_int_handler):
                replaced[number] = present
                signal.signal(number, handler)
        yield
    finally:
        for number, previous in replaced.items():
            # A handler that the program has set in the meantime stays.
            if signal.getsignal(number) == handler:
                signal.signal(number, previous)


def say(text: str) -> None:
    """Write a line to standard error from within a signal handler.

    A ``print`` may be interrupted by the signal, and cannot be entered a second time. On a terminal
    the line before may hold a progress display and ``^C``.
    """
    try:
        begin = '\n' if os.isatty(2) else ''
        os.write(2, f'{begin}{text}\n'.encode())
    except OSError:  # no terminal any more, as after SIGHUP
        return


def _signal_names(given: Any) -> tuple[str, ...]:
    entries = [given] if isinstance(given, (str, int)) else list(given)
    names = []
    for entry in entries:
        try:
            number = getattr(signal, entry) if isinstance(entry, str) else entry
            names.append(signal.Signals(number).name)
        except (AttributeError, ValueError):
            known = [one.name for one in signal.Signals]
            raise ArgumentError(
                f'preempt.signals has {entry!r}, which is not a signal of this system.'
                f'{did_you_mean(str(entry), known)}'
            ) from None
    if 'SIGKILL' in names or 'SIGSTOP' in names:
        raise ArgumentError('preempt.signals has SIGKILL or SIGSTOP, which no process can handle.')
    return tuple(names)
