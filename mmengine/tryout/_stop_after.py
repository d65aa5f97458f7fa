"""StopAfter: ends a training after some iterations, whatever its length."""

from __future__ import annotations

from typing import Any

from mmengine.hooks import Hook
from mmengine.utils._quantities import counted


class TrainingIsOver(BaseException):
    """Leaves a train loop that does not look for requests to stop."""


class StopAfter(Hook):
    """Ends the training after ``num_iters`` iterations of this start.

    Schedules and the length of the training stay as they are, so each iteration is the one of the
    real run.

    Attributes:
        done: Iterations so far.
    """

    priority = 'LOWEST'

    def __init__(self, num_iters: int) -> None:
        self.num_iters = num_iters
        self.done = 0

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        """Leave a custom loop, which goes on after the request."""
        if self.done >= self.num_iters:
            raise TrainingIsOver

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Ask for the end of the training after the last iteration."""
        self.done += 1
        if self.done == self.num_iters:
            stops = runner.state.stops
            stops.end_training(f'a run of {counted(self.num_iters, "iteration")}')
            stops.look_at = 0.0


def train_until_over(runner: Any) -> None:
    """Train with a :class:`StopAfter` among the hooks."""
    try:
        runner.train()
    except TrainingIsOver:
        return
