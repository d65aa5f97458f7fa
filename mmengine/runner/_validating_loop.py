"""ValidatingLoop: when a train loop validates, and the validation that it owes."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.hooks._units import Interval
from mmengine.runner._resumable_loop import ResumableLoop
from mmengine.runner._stopping import evaluate
from mmengine.runner.utils import as_positive, calc_dynamic_intervals, interval_at
from mmengine.utils.errors import ArgumentError, did_you_mean

_UNITS = ('iter', 'step', 'sample')


def checked_val_unit(val_unit: str | None) -> str | None:
    """Return ``val_unit``.

    Raises:
        ArgumentError: If validations cannot be counted in it.
    """
    if val_unit is not None and val_unit not in _UNITS:
        raise ArgumentError(
            f'val_unit must be {", ".join(map(repr, _UNITS))} or None, got {val_unit!r}.'
            f'{did_you_mean(str(val_unit), _UNITS)}'
        )
    return val_unit


class ValidatingLoop(ResumableLoop):
    """A train loop that validates at an interval, in its own unit or in ``val_unit``."""

    # Subclasses of the API may call the constructor of BaseLoop alone, and set these by themselves.
    val_begin = 1
    val_interval = 1
    val_unit: str | None = None
    owes_validation = False
    dynamic_milestones: Sequence[int]
    dynamic_intervals: Sequence[int]
    _validated_at = -1
    _turns_of_validation: Interval
    _iter: int

    def _set_validations(
        self,
        val_begin: int,
        val_interval: int,
        dynamic_intervals: Sequence[tuple[int, int]] | None,
        val_unit: str | None,
    ) -> None:
        self.val_unit = checked_val_unit(val_unit)
        self.val_begin = as_positive('val_begin', val_begin)
        self.val_interval = as_positive('val_interval', val_interval)
        self.dynamic_milestones, self.dynamic_intervals = calc_dynamic_intervals(
            val_interval, dynamic_intervals
        )
        for interval in self.dynamic_intervals:
            as_positive('dynamic_intervals', interval)

    def validates_at(self, epoch: int, iteration: int, by_epoch: bool) -> bool:
        """Whether a validation comes next after ``epoch`` epochs and ``iteration`` iterations.

        Args:
            epoch: Finished epochs.
            iteration: Finished iterations.
            by_epoch: Whether the last of these epochs has just ended.
        """
        raise NotImplementedError

    def _validate_owed(self) -> None:
        """Make up for the validation that this run, or the resumed one, had not finished."""
        if self.val_unit is not None:
            self._turns_of_validation.begin(self._done_in_unit(self._iter))
        if self.owes_validation:
            self._validate()

    def _validate_if_due(self, finished: int, last: int) -> None:
        """Validate at each interval and at the end; ``finished`` is in the unit of this loop."""
        if self.val_unit is not None:
            self._validate_in_unit(is_last=finished == last)
            return
        self._decide_current_val_interval()
        if self._is_due(finished, last, self.val_interval):
            self._validate()

    # Subclasses of projects call or override it in their own `run`.
    def _decide_current_val_interval(self) -> None:
        """Set ``val_interval`` to the one of the epoch or iteration that comes next."""
        position = self._position
        # A run that counts iterations has one epoch.
        finished = position.iter if hasattr(self, 'dataloader_iterator') else position.epoch
        self.val_interval = self._interval_at(finished + 1)

    def _validate_in_unit(self, is_last: bool = False) -> None:
        """Validate after an iteration in which a multiple of the interval was reached."""
        done = self._done_in_unit(self._iter)
        is_due = self._is_due_in_unit(done, is_last and self._validated_at != self._iter)
        self._turns_of_validation.begin(done)
        if is_due:
            self._validate()

    def _is_due_in_unit(self, done: int, is_last: bool) -> bool:
        if self._runner.val_loop is None or done < self.val_begin:
            return False
        self._turns_of_validation.every = self.val_interval = self._interval_at(done + 1)
        return is_last or self._turns_of_validation.is_due(done)

    def _done_in_unit(self, iteration: int) -> int:
        if self.val_unit in (None, 'iter'):
            return iteration
        return self._runner.state.finished(self.val_unit)

    def _validate(self) -> None:
        loop = self._runner.val_loop
        if loop is not None:
            self.owes_validation = True
            self._validated_at = self._iter
            if not evaluate(self, loop):
                return
        self.owes_validation = False

    def _is_due(self, finished: int, last: int, interval: int | None = None) -> bool:
        if self._runner.val_loop is None or finished < self.val_begin:
            return False
        if interval is None:
            interval = self._interval_at(finished + 1)
        return finished % interval == 0 or finished == last

    def _interval_at(self, position: int) -> int:
        return interval_at(self.dynamic_milestones, self.dynamic_intervals, position)
