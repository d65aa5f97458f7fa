"""Stopwatches: ``Timer`` objects, and named ones for quick measurements."""

from time import perf_counter
from typing import Any

from typing_extensions import Self


class TimerError(Exception):
    """A timer was read before it was started."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class Timer:
    """A stopwatch, also as a context manager that prints how long its block took.

    Args:
        start: Start at once.
        print_tmpl: What the context manager prints, with a place for the seconds; ``'{:.3f}'`` by
            default.

    Example:
        >>> timer = Timer()
        >>> timer.since_start() >= timer.since_last_check() >= 0
        True
    """

    def __init__(self, start: bool = True, print_tmpl: str | None = None) -> None:
        self._started_at: float | None = None
        self._checked_at = 0.0
        self.print_tmpl = print_tmpl or '{:.3f}'
        if start:
            self.start()

    @property
    def is_running(self) -> bool:
        """Whether the timer was started."""
        return self._started_at is not None

    def start(self) -> None:
        """Start. If the timer is running, only the time of the last check is reset."""
        self._checked_at = perf_counter()
        if self._started_at is None:
            self._started_at = self._checked_at

    def since_start(self) -> float:
        """Seconds since the start; counts as a check.

        Raises:
            TimerError: If the timer was not started.
        """
        started_at = self._running_since()
        self._checked_at = perf_counter()
        return self._checked_at - started_at

    def since_last_check(self) -> float:
        """Seconds since the last check, or since the start when this is the first.

        Raises:
            TimerError: If the timer was not started.
        """
        self._running_since()
        before, self._checked_at = self._checked_at, perf_counter()
        return self._checked_at - before

    def _running_since(self) -> float:
        if self._started_at is None:
            raise TimerError('This timer does not run. Call start() first.')
        return self._started_at

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        print(self.print_tmpl.format(self.since_start()))
        self._started_at = None


_last_calls: dict[str, float] = {}


def check_time(timer_id: str) -> float:
    """Seconds since the last call with the same name; 0 at the first one.

    Example:
        >>> check_time('load')
        0.0
    """
    now = perf_counter()
    before = _last_calls.get(timer_id, now)
    _last_calls[timer_id] = now
    return now - before
