"""What the learning rate and the momentum of a run will be."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.fileio import atomic_write
from mmengine.plan._length import Length
from mmengine.strategy._schedule_steps import advance_schedulers, flattened
from mmengine.utils.errors import ArgumentError

_MOST_POINTS = 400
_MOST_STEPS = 5_000_000


@dataclass(frozen=True)
class Schedule:
    """Values of the first parameter group of each optimizer.

    Attributes:
        iterations: Finished iterations at each point, evenly spaced.
        values: The values at the points by name: ``lr``, ``momentum``, with the name of the
            optimizer in front if there are several.
        note: Why there are no points, if there are none.
    """

    iterations: list[int] = field(default_factory=list)
    values: dict[str, list[float]] = field(default_factory=dict)
    note: str = ''

    def rows(self, count: int = 9) -> list[int]:
        """Numbers of points for a table: evenly spaced ones, and the largest of each value."""
        last = len(self.iterations) - 1
        if last < 0:
            return []
        chosen = {round(last * number / (count - 1)) for number in range(count)}
        for values in self.values.values():
            chosen.add(max(range(len(values)), key=values.__getitem__))
        return sorted(chosen)


def schedule_of(runner: Any, length: Length) -> Schedule:
    """Step the schedulers of ``runner`` through the run; its optimizers keep the last values.

    Schedulers that learn from metrics do not step.
    """
    total = length.iterations
    if total is None:
        return Schedule(note='The number of iterations is not known.')
    counts = {'step': length.steps, 'sample': length.samples}
    schedulers = flattened(runner.param_schedulers) if runner.param_schedulers else []
    steps = sum(counts.get(getattr(each, 'unit', None) or '') or total for each in schedulers)
    if steps > _MOST_STEPS:
        return Schedule(note=f'It would take {steps:,} steps of schedulers to show.')
    stride = max(total // _MOST_POINTS, 1)
    found = Schedule()

    def record(done: int) -> None:
        if done < total and (done % stride == 0 or done == total - 1):
            found.iterations.append(done)
            wrapper = runner.optim_wrapper
            for name, values in {**wrapper.get_lr(), **wrapper.get_momentum()}.items():
                if values:
                    value = values[0]
                    first = value[0] if isinstance(value, (tuple, list)) else value
                    found.values.setdefault(name, []).append(float(first))

    record(0)
    advance_schedulers(
        schedulers,
        length.epochs or 0,
        total,
        length.iterations_of_epoch,
        lambda scheduler: counts.get(getattr(scheduler, 'unit', None) or ''),
        record,
    )
    return found


def draw_schedule(schedule: Schedule, path: str) -> None:
    """Write a picture of ``schedule``; the suffix of ``path`` is its format.

    Raises:
        ArgumentError: If there is nothing to draw, or the format is not known.
        ImportError: If matplotlib is not installed.
    """
    if not schedule.iterations:
        raise ArgumentError(f'There is no schedule to draw. {schedule.note}')
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError('A picture needs matplotlib: pip install matplotlib') from error
    suffix = Path(path).suffix[1:]
    figure = Figure(figsize=(6, 3 * len(schedule.values)), layout='constrained')
    known = FigureCanvasAgg(figure).get_supported_filetypes()
    if suffix not in known:
        raise ArgumentError(f'{path} should end in one of .{", .".join(sorted(known))}.')
    axes: Any = figure.subplots(len(schedule.values), 1, squeeze=False)
    for panel, (name, values) in zip(axes[:, 0], schedule.values.items(), strict=True):
        panel.plot(schedule.iterations, values)
        panel.set_title(name)
        panel.set_xlabel('iteration')
        panel.grid(alpha=0.3)
    with atomic_write(path) as file:
        figure.savefig(file, format=suffix)
