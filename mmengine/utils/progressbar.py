"""A progress bar in plain text, and loops that show one."""

import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from multiprocessing import Pool
from multiprocessing.pool import Pool as PoolType
from typing import Any, TextIO, TypeVar

from mmengine.utils.errors import ArgumentError
from mmengine.utils.timer import Timer

T = TypeVar('T')

_STDOUT_AT_IMPORT = sys.stdout
_SECONDS_BETWEEN_DRAWINGS = 0.05


class ProgressBar:
    """Shows how many tasks are done, the speed, and the remaining time.

    On a terminal the line is redrawn, at most twenty times a second. Elsewhere (a log file, a
    notebook, TERM=dumb) a line is written after each tenth of the tasks.

    Args:
        task_num: Number of tasks; 0 when it is not known.
        bar_width: Width of the bar, in characters, on a wide terminal.
        start: Start the clock at once.
        file: Where to write; standard output by default.
    """

    def __init__(
        self, task_num: int = 0, bar_width: int = 50, start: bool = True, file: TextIO = sys.stdout
    ) -> None:
        self.task_num = task_num
        self.bar_width = bar_width
        self.completed = 0
        # The default was bound at import. If sys.stdout was replaced since, use the new one.
        self.file = sys.stdout if file is _STDOUT_AT_IMPORT else file
        self._drawn_at = 0.0
        self._drawn_completed = -1
        if start:
            self.start()

    @property
    def terminal_width(self) -> int:
        """Number of columns of the terminal."""
        return shutil.get_terminal_size().columns

    def start(self) -> None:
        """Start the clock and draw the empty bar."""
        self.timer = Timer()
        self._draw(0.0)

    def update(self, num_tasks: int = 1) -> None:
        """Count tasks as done.

        Args:
            num_tasks: How many were done since the last call, at least 1.

        Raises:
            ArgumentError: If ``num_tasks`` is below 1.
        """
        if num_tasks < 1:
            raise ArgumentError(f'update needs the number of finished tasks, got {num_tasks}.')
        self.completed += num_tasks
        elapsed = self.timer.since_start()
        if self._should_draw(elapsed):
            self._draw(elapsed)

    def _should_draw(self, elapsed: float) -> bool:
        if self.completed >= self.task_num > 0:
            return True
        if self._can_redraw() or self.task_num <= 0:
            return elapsed - self._drawn_at >= _SECONDS_BETWEEN_DRAWINGS
        tenth = self.completed * 10 // self.task_num
        return tenth > self._drawn_completed * 10 // self.task_num

    def _can_redraw(self) -> bool:
        return self.file.isatty() and os.environ.get('TERM') != 'dumb'

    def _draw(self, elapsed: float) -> None:
        self._drawn_at, self._drawn_completed = elapsed, self.completed
        line = self._line(elapsed)
        if self._can_redraw():
            # A line that is wrapped cannot be drawn over.
            line = line[: max(self.terminal_width - 1, 1)]
            finished = self.completed >= self.task_num > 0
            self.file.write(f'\r{line}\x1b[K' + ('\n' if finished else ''))
        else:
            self.file.write(line + '\n')
        self.file.flush()

    def _line(self, elapsed: float) -> str:
        speed = self.completed / elapsed if elapsed > 0 else 0.0
        if self.task_num <= 0:
            return f'{self.completed} done, elapsed: {elapsed:.0f}s, {speed:.1f} tasks/s'
        share = min(self.completed / self.task_num, 1.0)
        remaining = f'{(self.task_num - self.completed) / speed:.0f}s' if speed else '?'
        numbers = (
            f' {self.completed}/{self.task_num}, {speed:.1f} tasks/s, '
            f'elapsed: {elapsed:.0f}s, ETA: {remaining}'
        )
        width = max(min(self.bar_width, self.terminal_width - len(numbers) - 3), 2)
        filled = int(width * share)
        return f'[{">" * filled}{" " * (width - filled)}]{numbers}'


def _iterable_and_count(tasks: Any) -> tuple[Iterable[Any], int]:
    """The tasks and their number, for a sized iterable or a pair ``(iterable, number)``."""
    if isinstance(tasks, tuple) and len(tasks) == 2 and isinstance(tasks[1], int):
        iterable, count = tasks
        if isinstance(iterable, Iterable):
            return iterable, count
    if not isinstance(tasks, Iterable):
        raise TypeError(
            f'tasks must be iterable, or a pair (iterable, number), got {type(tasks).__name__}.'
        )
    if not isinstance(tasks, Sized):
        raise TypeError(
            f'{type(tasks).__name__} has no length; pass the pair (tasks, number of tasks).'
        )
    return tasks, len(tasks)


def track_iter_progress(
    tasks: Any, bar_width: int = 50, file: TextIO = sys.stdout
) -> Iterator[Any]:
    """Iterate over tasks and show a progress bar.

    Args:
        tasks: A sized iterable, or a pair ``(iterable, number of tasks)``.
        bar_width: Width of the bar.
        file: Where the bar is written.

    Raises:
        TypeError: If the number of tasks is unknown.
    """
    iterable, count = _iterable_and_count(tasks)
    return _tracked(iterable, ProgressBar(count, bar_width, file=file))


def _tracked(iterable: Iterable[T], bar: ProgressBar) -> Iterator[T]:
    for item in iterable:
        yield item
        bar.update()


def track_progress(
    func: Callable[..., T],
    tasks: Any,
    bar_width: int = 50,
    file: TextIO = sys.stdout,
    **kwargs: Any,
) -> list[T]:
    """Call a function with each task and show a progress bar.

    Args:
        func: Called as ``func(task, **kwargs)``.
        tasks: A sized iterable, or a pair ``(iterable, number of tasks)``.
        bar_width: Width of the bar.
        file: Where the bar is written.
        kwargs: Passed on to ``func``.

    Returns:
        The results, in the order of the tasks.

    Raises:
        TypeError: If the number of tasks is unknown.
    """
    return [func(task, **kwargs) for task in track_iter_progress(tasks, bar_width, file)]


def init_pool(
    process_num: int,
    initializer: Callable[..., Any] | None = None,
    initargs: Sequence[Any] | None = None,
) -> PoolType:
    """A pool of processes.

    Args:
        process_num: Number of processes.
        initializer: Called once in each of them.
        initargs: Its arguments.
    """
    return Pool(process_num, initializer, tuple(initargs or ()))


def track_parallel_progress(
    func: Callable[[Any], T],
    tasks: Any,
    nproc: int,
    initializer: Callable[..., Any] | None = None,
    initargs: Sequence[Any] | None = None,
    bar_width: int = 50,
    chunksize: int = 1,
    skip_first: bool = False,
    keep_order: bool = True,
    file: TextIO = sys.stdout,
) -> list[T]:
    """Call a function with each task in several processes and show a progress bar.

    Args:
        func: Called with one task; must be picklable.
        tasks: A sized iterable, or a pair ``(iterable, number of tasks)``.
        nproc: Number of processes.
        initializer: Called once in each process.
        initargs: Arguments of ``initializer``.
        bar_width: Width of the bar.
        chunksize: How many tasks a process gets at a time.
        skip_first: Leave the first task of each process out of the speed, because it warms up.
        keep_order: Return the results in the order of the tasks; otherwise as they finish.
        file: Where the bar is written.

    Raises:
        TypeError: If the number of tasks is unknown.
    """
    iterable, count = _iterable_and_count(tasks)
    warm_up = min(nproc * chunksize, count) if skip_first else 0
    bar = ProgressBar(count - warm_up, bar_width, start=not warm_up, file=file)
    results: list[T] = []
    with init_pool(nproc, initializer, initargs) as pool:
        outputs = (pool.imap if keep_order else pool.imap_unordered)(func, iterable, chunksize)
        for result in outputs:
            results.append(result)
            if len(results) > warm_up:
                bar.update()
            elif len(results) == warm_up:
                bar.start()
        pool.close()
        pool.join()
    return results
