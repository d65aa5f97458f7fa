"""Custom learning rate hooks, written for MMCV 1.x, under Runner."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mmengine.hooks import Hook
from mmengine.hooks.hook import DataBatch
from mmengine.migrate._legacy_hook import counts_iterations
from mmengine.migrate._schedule.legacy_schedule import LegacySchedule, Run

if TYPE_CHECKING:
    from mmengine.hooks.run import Run as TrainingRun


class LegacyLrUpdaterHook(Hook):
    """Base of hooks that say each learning rate in ``get_lr(runner, base_lr)``.

    It sets the learning rate outright: at the begin of each epoch, or of each iteration, and
    during the warm-up at each iteration in any case. Code for this engine writes a parameter
    scheduler instead; this class runs what is there. A run of iterations had no epochs in MMCV 1.x,
    so that with ``by_epoch=True`` nothing is set there, in the warm-up neither.

    Args:
        by_epoch: Whether the learning rate stays the same over an epoch.
        warmup: 'linear', 'constant', 'exp' or None.
        warmup_iters: Length of the warm-up.
        warmup_ratio: Factor at its first iteration.
        warmup_by_epoch: Whether ``warmup_iters`` counts epochs.

    Raises:
        ArgumentError: If the warm-up cannot be understood.
    """

    # Before the hook that records the learning rate, after hooks of the priority HIGHEST.
    priority = 9  # type: ignore[assignment]  # a number between two names is one as well

    def __init__(
        self,
        by_epoch: bool = True,
        warmup: str | None = None,
        warmup_iters: int = 0,
        warmup_ratio: float = 0.1,
        warmup_by_epoch: bool = False,
    ) -> None:
        self.by_epoch = by_epoch
        self._warmup = LegacySchedule(
            'fixed',
            warmup=warmup,
            warmup_iters=warmup_iters,
            warmup_ratio=warmup_ratio,
            warmup_by_epoch=warmup_by_epoch,
        )

    def get_lr(self, runner: TrainingRun, base_lr: float) -> float:
        """The learning rate for a parameter group that began with ``base_lr``, without warm-up."""
        raise NotImplementedError(f'{type(self).__name__} defines no get_lr(runner, base_lr).')

    def before_run(self, runner: TrainingRun) -> None:
        """Note the learning rates to begin with."""
        for group in _groups(runner):
            group.setdefault('initial_lr', group['lr'])

    def before_train_epoch(self, runner: TrainingRun) -> None:
        """Set the learning rates of the epoch."""
        if self.by_epoch and not counts_iterations(runner):
            self._set(runner, 1.0)

    def before_train_iter(
        self, runner: TrainingRun, batch_idx: int, data_batch: DataBatch = None
    ) -> None:
        """Set the learning rates of the iteration, if they change."""
        if self.by_epoch and counts_iterations(runner):
            return
        length = self._warmup.warmup_length(_run_of(runner))
        if not self.by_epoch or runner.iter <= length > 0:
            factor = self._warmup.values([1.0], runner.iter, _run_of(runner))[0]
            self._set(runner, factor)

    def _set(self, runner: TrainingRun, factor: float) -> None:
        for group in _groups(runner):
            group['lr'] = self.get_lr(runner, group['initial_lr']) * factor


def _groups(runner: TrainingRun) -> Iterator[dict[str, Any]]:
    wrapper: Any = runner.optim_wrapper
    for each in wrapper.values() if hasattr(wrapper, 'values') else [wrapper]:
        yield from each.param_groups


def _run_of(runner: TrainingRun) -> Run:
    epochs = max(runner.max_epochs, 1)
    return Run(runner.max_iters, max(runner.max_iters // epochs, 1), epochs)
