"""Mean time of a function or a block, including the work on the device."""

import functools
from collections.abc import Callable
from time import perf_counter
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from typing_extensions import Self

from mmengine.device import ACCELERATORS, get_device
from mmengine.logging.logger import print_log
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    import logging

F = TypeVar('F', bound=Callable[..., Any])


class TimeCounter:
    """Measures a function (a decorator) or a block (a context manager) and logs its mean time.

    Counters with the same tag are one object, created with the arguments of the first call, so that
    a block inside a loop continues to count.

    Args:
        log_interval: Log after every ``log_interval`` runs.
        warmup_interval: Number of the first run that is measured, counted from 1. Earlier runs are
            for warming up.
        with_sync: Wait for the accelerator before the clock is read.
        tag: Name in the log; the name of the function by default. A block needs one.
        logger: Where to log, as in ``print_log``; prints when None.

    Example:
        >>> for image in range(3):
        ...     with TimeCounter(tag='resize', log_interval=100):
        ...         pass  # the work
    """

    instance_dict: ClassVar[dict[str, 'TimeCounter']] = {}

    log_interval: int
    warmup_interval: int
    with_sync: bool
    tag: str | None
    logger: 'logging.Logger | str | None'

    def __new__(
        cls,
        log_interval: int = 1,
        warmup_interval: int = 1,
        with_sync: bool = True,
        tag: str | None = None,
        logger: 'logging.Logger | str | None' = None,
    ) -> 'TimeCounter':
        """The counter of this tag, created if there is none."""
        if tag is not None and tag in cls.instance_dict:
            return cls.instance_dict[tag]
        for name, value in (('log_interval', log_interval), ('warmup_interval', warmup_interval)):
            if not isinstance(value, int) or value < 1:
                raise ArgumentError(f'{name} must be an integer of at least 1, got {value!r}.')
        counter = super().__new__(cls)
        counter.log_interval = log_interval
        counter.warmup_interval = warmup_interval
        counter.with_sync = with_sync
        counter.tag = tag
        counter.logger = logger
        counter._runs = 0
        counter._measured_s = 0.0
        counter._started_at = 0.0
        if tag is not None:
            cls.instance_dict[tag] = counter
        return counter

    _runs: int
    _measured_s: float
    _started_at: float

    def __call__(self, fn: F) -> F:
        """Decorate a function so that each of its calls is a run."""
        if self.tag is None:
            self.tag = fn.__name__

        @functools.wraps(fn)
        def timed(*args: Any, **kwargs: Any) -> Any:
            started_at = self._now()
            result = fn(*args, **kwargs)
            self.print_time(self._now() - started_at)
            return result

        return timed  # type: ignore[return-value]  # same signature as fn, through wraps

    def __enter__(self) -> Self:
        if self.tag is None:
            raise ArgumentError('A block has no name: pass TimeCounter(tag=...).')
        self._started_at = self._now()
        return self

    def __exit__(self, *exc_info: Any) -> None:
        self.print_time(self._now() - self._started_at)

    def print_time(self, elapsed: float) -> None:
        """Count a run, and log the mean after every ``log_interval`` runs.

        Args:
            elapsed: Seconds that the run took.
        """
        self._runs += 1
        if self._runs < self.warmup_interval:
            return
        self._measured_s += elapsed
        if self._runs % self.log_interval:
            return
        measured = self._runs - self.warmup_interval + 1
        print_log(
            f'{self.tag}: {1000 * self._measured_s / measured:.1f} ms a run, '
            f'the mean of {measured} run(s).',
            self.logger,
        )

    def _now(self) -> float:
        if self.with_sync:
            device_type = get_device()
            if device_type in ACCELERATORS:
                ACCELERATORS[device_type].module().synchronize()
        return perf_counter()
