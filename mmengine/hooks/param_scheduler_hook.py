"""ParamSchedulerHook: steps the parameter schedulers."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from mmengine.hooks.hook import DataBatch, Hook
from mmengine.hooks.run import evaluates_alone
from mmengine.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.hooks.run import Run


@HOOKS.register_module()
class ParamSchedulerHook(Hook):
    """Steps each scheduler after every iteration or every epoch, depending on its ``by_epoch``.

    Schedulers with ``unit='step'`` step after each step of their optimizer. Schedulers with
    ``unit='sample'`` step once for each sample that was trained on.

    Schedulers with ``need_val_args`` (such as ReduceOnPlateau) step twice: once per epoch without
    metrics, which advances their epoch counter, and after each validation with the metrics.
    """

    priority = 'LOW'

    def __init__(self) -> None:
        # A copy: schedulers may be added to the run's own list. Comparing equal lists of the same
        # objects looks at their identities only.
        self._source: Any = None
        self._is_training = False
        self._by_iter: list[Any] = []
        self._by_epoch: list[Any] = []
        self._by_metric: list[Any] = []
        # Schedulers in steps or samples, and how many of these they have counted.
        self._by_count: list[tuple[Any, Callable[[], int]]] = []
        self._counted: list[int] = []

    def before_train(self, runner: Run) -> None:
        """Group the schedulers by the unit that they count."""
        self._by_count, self._counted = [], []
        self._sort(runner)
        self._is_training = True

    def after_train(self, runner: Run) -> None:
        """Ignore the metrics of validations after the training."""
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
        """Step the schedulers that count iterations."""
        if runner.param_schedulers != self._source:
            self._sort(runner)
        for scheduler in self._by_iter:
            scheduler.step()
        for index, (scheduler, units_done) in enumerate(self._by_count):
            seen, self._counted[index] = self._counted[index], units_done()
            for _ in range(self._counted[index] - seen):
                scheduler.step()

    def after_train_epoch(self, runner: Run) -> None:
        """Step the schedulers that count epochs."""
        if runner.param_schedulers != self._source:
            self._sort(runner)
        for scheduler in self._by_epoch:
            scheduler.step()

    def after_val_epoch(self, runner: Run, metrics: dict[str, float] | None = None) -> None:
        """Step the schedulers that need metrics, unless the validation reported none."""
        if metrics is None or not self._is_training or evaluates_alone(runner):
            return
        if runner.param_schedulers != self._source:
            self._sort(runner)
        for scheduler in self._by_metric:
            scheduler.step(metrics)

    def _sort(self, runner: Run) -> None:
        self._source = _copied(runner.param_schedulers)
        counted = {
            id(scheduler): seen
            for (scheduler, _), seen in zip(self._by_count, self._counted, strict=True)
        }
        self._by_iter, self._by_epoch, self._by_metric, self._by_count = [], [], [], []
        for scheduler in _flattened(self._source):
            if getattr(scheduler, 'need_val_args', False):
                self._by_metric.append(scheduler)
            if getattr(scheduler, 'unit', None) is not None:
                units_done = runner.state.counter_of(scheduler)
                assert units_done is not None
                self._by_count.append((scheduler, units_done))
            elif scheduler.by_epoch:
                self._by_epoch.append(scheduler)
            else:
                self._by_iter.append(scheduler)
        self._counted = [
            counted.get(id(scheduler), units_done()) for scheduler, units_done in self._by_count
        ]


def _copied(schedulers: Any) -> Any:
    """Other containers with the same schedulers."""
    if isinstance(schedulers, dict):
        return {name: _copied(part) for name, part in schedulers.items()}
    if isinstance(schedulers, list):
        return [_copied(part) for part in schedulers]
    return schedulers


def _flattened(schedulers: Any) -> Iterator[Any]:
    """Those that are built: whoever calls the hook by hand may do so before the run builds them."""
    if isinstance(schedulers, Mapping):
        schedulers = schedulers.values()
    if isinstance(schedulers, Iterable) and not isinstance(schedulers, str):
        for part in schedulers:
            yield from _flattened(part)
    elif hasattr(schedulers, 'step'):
        yield schedulers
