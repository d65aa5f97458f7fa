"""Steps the parameter schedulers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from mmengine.hooks.hook import DataBatch, Hook
from mmengine.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.hooks.run import Run


@HOOKS.register_module()
class ParamSchedulerHook(Hook):
    """Steps schedulers after each iteration or each epoch, whichever they count.

    A scheduler that needs metrics (it has ``need_val_args``) also steps after each validation of
    the training, with them; its steps without metrics count the epochs that its window is given in.
    """

    priority = 'LOW'

    def __init__(self) -> None:
        self._source: Any = None
        self._is_training = False
        self._by_iter: list[Any] = []
        self._by_epoch: list[Any] = []
        self._by_metric: list[Any] = []

    def before_train(self, runner: Run) -> None:
        """Sort the schedulers by what they count."""
        self._sort(runner)
        self._is_training = True

    def after_train(self, runner: Run) -> None:
        """A validation after this tells the schedulers nothing."""
        self._is_training = False

    def on_exception(self, runner: Run, error: BaseException) -> None:
        """No training runs any more."""
        self._is_training = False

    def after_train_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """An iteration is done."""
        if runner.param_schedulers is not self._source:
            self._sort(runner)
        for scheduler in self._by_iter:
            scheduler.step()

    def after_train_epoch(self, runner: Run) -> None:
        """An epoch is done."""
        if runner.param_schedulers is not self._source:
            self._sort(runner)
        for scheduler in self._by_epoch:
            scheduler.step()

    def after_val_epoch(self, runner: Run, metrics: dict[str, float] | None = None) -> None:
        """Metrics are known; a validation that reported none is no step."""
        if metrics is None or not self._is_training:
            return
        if runner.param_schedulers is not self._source:
            self._sort(runner)
        for scheduler in self._by_metric:
            scheduler.step(metrics)

    def _sort(self, runner: Run) -> None:
        self._source = runner.param_schedulers
        self._by_iter, self._by_epoch, self._by_metric = [], [], []
        for scheduler in _flattened(self._source):
            if getattr(scheduler, 'need_val_args', False):
                self._by_metric.append(scheduler)
            if scheduler.by_epoch:
                self._by_epoch.append(scheduler)
            else:
                self._by_iter.append(scheduler)


def _flattened(schedulers: Any) -> Iterator[Any]:
    if schedulers is None:
        return
    if isinstance(schedulers, dict):
        for of_one_optimizer in schedulers.values():
            yield from of_one_optimizer
    else:
        yield from schedulers
