"""The hook that steps schedulers when MMCV 1.x set learning rates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmengine.hooks.hook import DataBatch
from mmengine.hooks.param_scheduler_hook import ParamSchedulerHook, _flattened
from mmengine.migrate._schedulers import LegacyParamScheduler
from mmengine.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.hooks.run import Run


@HOOKS.register_module()
class LegacyParamSchedulerHook(ParamSchedulerHook):
    """Steps each scheduler before the iteration or epoch that its value is for.

    ``ParamSchedulerHook`` steps them after an iteration, so that hooks which run later see the
    next learning rate. Hooks written for MMCV 1.x expect the learning rate of the last iteration
    until the next one begins. Write ``default_hooks=dict(param_scheduler=dict(
    type='LegacyParamSchedulerHook'))``.

    ``LegacyLRScheduler`` and ``LegacyMomentumScheduler`` set values here exactly when MMCV did.
    A policy that counts epochs sets its value at the begin of each epoch, without the warm-up, and
    again at each iteration of the warm-up; other policies set it at each iteration. In between,
    what a hook sets stays. With ``starts_late=True`` the groups have the values that the optimizer
    was built with until then.

    A checkpoint holds schedulers one step behind the schedulers of ``ParamSchedulerHook``. A run
    that resumes from either takes the steps that are missing.
    """

    # Before RuntimeInfoHook, which records the learning rate; after hooks of the priority HIGHEST,
    # which came before the schedule under MMCV as well.
    priority = 9  # type: ignore[assignment]  # a number between two names is one as well

    def before_run(self, runner: Run) -> None:
        """Note the values that the training starts from."""
        for scheduler in _flattened(runner.param_schedulers):
            if isinstance(scheduler, LegacyParamScheduler):
                scheduler.begin_run()

    def before_train_epoch(self, runner: Run) -> None:
        """Step the schedulers whose values change with epochs."""
        if runner.param_schedulers != self._source:
            self._sort(runner)
        _catch_up(self._by_epoch, runner.epoch)
        for scheduler in self._by_iter:
            if isinstance(scheduler, LegacyParamScheduler):
                scheduler.begin_epoch(runner.iter)

    def before_train_iter(self, runner: Run, batch_idx: int, data_batch: DataBatch = None) -> None:
        """Step the schedulers that count iterations."""
        if runner.param_schedulers != self._source:
            self._sort(runner)
        for scheduler in self._by_iter:
            if isinstance(scheduler, LegacyParamScheduler):
                scheduler.begin_iter(runner.iter)
            else:
                _catch_up([scheduler], runner.iter)

    def after_train_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Keep the learning rate of the iteration."""

    def after_train_epoch(self, runner: Run) -> None:
        """Keep the learning rate of the epoch."""


def _catch_up(schedulers: list[Any], position: int) -> None:
    for scheduler in schedulers:
        # After resuming, several steps may be missing.
        while scheduler._global_step < position:
            scheduler.step()
