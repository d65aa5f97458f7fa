"""Intervals in optimizer steps or samples, for parts of a training that count these."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmengine.hooks.run import evaluates_alone
from mmengine.optim.optimizer.optimizer_wrapper_dict import wrappers_of
from mmengine.utils.errors import ArgumentError, did_you_mean

if TYPE_CHECKING:
    from mmengine.hooks.run import Run

COUNTED_UNITS = ('step', 'sample')
NAMES = {
    'epoch': 'epochs', 'iter': 'iterations', 'step': 'optimizer steps', 'sample': 'samples'
}  # fmt: skip


def check_unit(
    owner: Any,
    unit: str | None,
    choices: tuple[str, ...] = COUNTED_UNITS,
    is_by_epoch: bool = False,
) -> None:
    """Refuse a unit that ``owner`` cannot count.

    Raises:
        ArgumentError: If ``unit`` is neither None nor in ``choices``, or is given although the
            caller chose epochs.
    """
    if unit is None:
        return
    if unit not in choices:
        raise ArgumentError(
            f'unit of {type(owner).__name__} must be {", ".join(map(repr, choices))} or None, got '
            f'{unit!r}.{did_you_mean(str(unit), choices)}'
        )
    if is_by_epoch:
        raise ArgumentError(
            f'{type(owner).__name__} has unit={unit!r} and by_epoch=True, which contradict each '
            'other. Leave by_epoch out.'
        )


def done_in(runner: Run, unit: str) -> int:
    """Finished epochs, iterations, steps or samples of a training, between two iterations."""
    if unit in COUNTED_UNITS:
        return runner.state.finished(unit)
    return runner.epoch if unit == 'epoch' else runner.iter


def unit_of_validations(runner: Run) -> str | None:
    """The unit in which validations are due, if the train loop has one besides epochs."""
    if evaluates_alone(runner):
        return None  # asking for the train loop would build it, with its data
    unit = getattr(getattr(runner, 'train_loop', None), 'val_unit', None)
    return unit if isinstance(unit, str) else None


class Interval:
    """Every ``every`` units of a training: is it time?

    One iteration may add more than one unit, so that no iteration ends exactly at a multiple of
    ``every``. Then it is time after the iteration in which the multiple was reached. The multiples
    do not depend on earlier answers, so that a resumed run has the same ones.

    Args:
        every: Units between two turns; a number that is not positive gives no turn.
        start: The first turn; other turns are multiples of ``every`` later.

    Example:
        >>> interval = Interval(10)
        >>> [count for count in range(4, 33, 4) if interval.reaches(count)]
        [12, 20, 32]
    """

    def __init__(self, every: int, start: int = 0) -> None:
        self.every = every
        self.start = start
        self._seen = 0

    def begin(self, count: int) -> None:
        """The training begins, or goes on, after ``count`` units."""
        self._seen = count

    def is_due(self, count: int) -> bool:
        """Whether a turn lies between the units seen so far and ``count``."""
        return self.every > 0 and self._turns(count) > self._turns(self._seen)

    def reaches(self, count: int) -> bool:
        """As :meth:`is_due`, and ``count`` units are seen from now on."""
        is_due = self.is_due(count)
        self._seen = count
        return is_due

    def _turns(self, count: int) -> int:
        return (count - self.start) // self.every + 1 if count >= self.start else 0


def steps_of_each(runner: Run) -> tuple[int, ...] | None:
    """Steps taken by each optimizer of ``runner``; None if one of them does not count its steps."""
    wrappers = wrappers_of(getattr(runner, 'optim_wrapper', None))
    counts = tuple(getattr(wrapper, 'num_steps', None) for wrapper in wrappers)
    return counts if all(type(count) is int for count in counts) else None  # type: ignore[return-value]  # ints
