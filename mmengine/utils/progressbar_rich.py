"""A loop over tasks, in one process or several, with a progress bar drawn by rich."""

from collections.abc import Callable, Iterable, Iterator, Sized
from itertools import count
from multiprocessing import Pool
from typing import Any

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    Task,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from mmengine.utils.errors import ArgumentError


class _Worker:
    """Calls a function with a task and keeps the task's index; picklable, for pools.

    Args:
        func: Called with the task; a tuple is spread over its arguments, a dict over its keywords.
    """

    def __init__(self, func: Callable[..., Any]) -> None:
        self.func = func

    def __call__(self, inputs: tuple[Any, int]) -> tuple[Any, int]:
        task, index = inputs
        match task:
            case tuple():
                result = self.func(*task)
            case dict():
                result = self.func(**task)
            case _:
                result = self.func(task)
        return result, index


class _SkipFirstTimeRemainingColumn(TimeRemainingColumn):
    """The remaining time, not shown before the first tasks (which warm up) are done.

    Args:
        args: Passed on to rich.
        skip_times: Number of tasks to wait for.
        kwargs: Passed on to rich.
    """

    def __init__(self, *args: Any, skip_times: int = 0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.skip_times = skip_times

    def render(self, task: Task) -> Text:
        """The text shown for a task."""
        warmed_up = task.completed >= self.skip_times
        return super().render(task) if warmed_up else Text('warming up')


def _tasks_with_index(tasks: Iterable[Any]) -> Iterator[tuple[Any, int]]:
    """Each task with its place in the order."""
    return zip(tasks, count(), strict=False)


def track_progress_rich(
    func: Callable[..., Any],
    tasks: Iterable[Any] = (),
    task_num: int | None = None,
    nproc: int = 1,
    chunksize: int = 1,
    description: str = 'Processing',
    color: str = 'blue',
) -> list[Any]:
    """Call a function with each task while a bar shows how far.

    Args:
        func: Called with a task; a tuple is spread over its arguments, a dict over its keywords.
            Must be picklable when there is more than one process.
        tasks: The tasks. When there are none, ``func`` is called ``task_num`` times without
            arguments.
        task_num: Number of tasks; needed for the bar if ``tasks`` has no length.
        nproc: Number of processes; with 1 everything runs in this one.
        chunksize: How many tasks a process gets at a time.
        description: Text in front of the bar.
        color: Colour of the bar.

    Returns:
        The results, in the order of the tasks.

    Raises:
        TypeError: If ``tasks`` cannot be iterated, or ``nproc`` is not an integer.
        ArgumentError: If ``nproc`` is below 1, or neither tasks nor their number are given.
    """
    if not callable(func):
        raise TypeError(f'func must be callable, got {type(func).__name__}.')
    if not isinstance(tasks, Iterable):
        raise TypeError(f'tasks must be iterable, got {type(tasks).__name__}.')
    if not isinstance(nproc, int) or nproc < 1:
        raise ArgumentError(f'nproc must be an integer of at least 1, got {nproc!r}.')
    if isinstance(tasks, Sized):
        if len(tasks) == 0:
            if task_num is None:
                raise ArgumentError(
                    'There are no tasks: pass tasks, or task_num to call func that often.'
                )
            tasks = [()] * task_num
        elif task_num is not None and task_num != len(tasks):
            raise ArgumentError(f'task_num is {task_num}, but there are {len(tasks)} tasks.')
        task_num = len(tasks)

    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        _SkipFirstTimeRemainingColumn(skip_times=nproc),
        MofNCompleteColumn(),
        TaskProgressColumn(show_speed=True),
    )
    worker = _Worker(func)
    indexed = _tasks_with_index(tasks)
    results: dict[int, Any] = {}
    with Progress(*columns) as progress:
        bar = progress.add_task(f'[{color}]{description}', total=task_num)
        for result, index in _outputs(worker, indexed, nproc, chunksize):
            results[index] = result
            progress.advance(bar)
    return [results[index] for index in range(len(results))]


def _outputs(
    worker: _Worker, indexed: Iterable[tuple[Any, int]], nproc: int, chunksize: int
) -> Iterator[tuple[Any, int]]:
    if nproc == 1:
        yield from map(worker, indexed)
        return
    with Pool(nproc) as pool:
        yield from pool.imap_unordered(worker, indexed, chunksize)
        pool.close()
        pool.join()
