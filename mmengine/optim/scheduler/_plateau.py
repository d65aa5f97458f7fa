"""The schedule that depends on a metric instead of the step."""

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmengine.logging._numbers import float_of
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.utils.errors import ArgumentError, did_you_mean, unknown_metric

from ._base import INF, _ParamScheduler
from ._checks import require_range

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from mmengine.optim.optimizer import BaseOptimWrapper


@PARAM_SCHEDULERS.register_module()
class ReduceOnPlateauParamScheduler(_ParamScheduler):
    """Multiply the parameter by ``factor`` when a validation metric has stopped improving.

    ``step()`` counts a training epoch, ``step(metrics)`` judges a validation; it acts in
    validations that come while ``begin <= epochs trained < end``.

    Args:
        optimizer: See :class:`_ParamScheduler`, as for the other arguments not listed here.
        param_name: Key of the scheduled value.
        monitor: Name of the metric.
        rule: Whether a ``'less'`` or a ``'greater'`` value is better.
        factor: Factor of one reduction, below 1.
        patience: Validations without a better value that are let pass.
        threshold: How much better than the best one a value must be to count.
        threshold_rule: Whether ``threshold`` is a share of the best value (``'rel'``) or a
            difference (``'abs'``).
        cooldown: Validations after a reduction that are not counted.
        min_value: The lowest value, one for all groups or one for each of the optimizer's own.
        eps: A reduction by no more than this is left out.
        begin: First epoch of the window.
        end: Epoch that ends the window.
        last_step: Index of the last validation seen.
        by_epoch: Must be True.
        verbose: Log each reduction.

    Raises:
        ArgumentError: If an argument has no such choice or is out of range, or ``by_epoch`` is
            False.
    """

    need_val_args = True

    def __init__(
        self,
        optimizer: 'Optimizer | BaseOptimWrapper',
        param_name: str,
        monitor: str = 'loss',
        rule: str = 'less',
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_rule: str = 'rel',
        cooldown: int = 0,
        min_value: float | Sequence[float] = 0.0,
        eps: float = 1e-8,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ) -> None:
        if not by_epoch:
            raise ArgumentError(
                f'{type(self).__name__} acts on validations, so it counts epochs: leave '
                'by_epoch=True.'
            )
        require_range(self, 'factor', factor, 0)
        if factor >= 1:
            raise ArgumentError(f'{type(self).__name__} needs factor below 1, got {factor!r}.')
        self._require_choice('rule', rule, ('less', 'greater'))
        self._require_choice('threshold_rule', threshold_rule, ('rel', 'abs'))
        self.monitor = monitor
        self.rule = rule
        self.factor = factor
        self.patience = patience
        self.threshold = threshold
        self.threshold_rule = threshold_rule
        self.cooldown = cooldown
        self.eps = eps
        self.rule_worse = math.inf if rule == 'less' else -math.inf
        self.best = self.rule_worse
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose)
        self.min_values = self._one_per_group(min_value)
        self._note_as_built()

    def _take_first_step(self) -> None:
        # No validation has happened yet, so there is nothing to act on.
        self._global_step = max(self._global_step, 0)

    def step(self, metrics: dict[str, Any] | None = None) -> None:
        """Count a training epoch (without ``metrics``) or evaluate a validation by ``metrics``.

        Raises:
            TypeError: If ``metrics`` is not a dict, or the monitored value is not a number.
            KeyError: If the monitored metric is not among them.
        """
        if metrics is None:
            self._global_step += 1
            return
        if not self.begin <= self._global_step < self.end:
            return
        current = self._monitored(metrics)
        self.last_step += 1
        if self._is_better(current, self.best):
            self.best = current
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0

    def _reduce(self) -> None:
        values = []
        for value, lowest in zip(self._read(), self.min_values, strict=True):
            reduced = max(value * self.factor, lowest)
            values.append(reduced if value - reduced > self.eps else value)
        self._write(values)
        if self.verbose or self._prints_always:
            self._print_values()

    def _monitored(self, metrics: Any) -> float:
        if not isinstance(metrics, dict):
            raise TypeError(
                f'{type(self).__name__}.step expects the dict of metrics of a validation, got '
                f'{type(metrics).__name__}.'
            )
        if self.monitor not in metrics:
            raise KeyError(unknown_metric(type(self).__name__, self.monitor, metrics))
        value = metrics[self.monitor]
        try:
            return float_of(value)
        except (TypeError, ValueError) as error:
            raise TypeError(
                f'{type(self).__name__} monitors {self.monitor!r}, which must be a number, got '
                f'{value!r}.'
            ) from error

    def _is_better(self, a: float, best: float) -> bool:
        """Whether ``a`` is better than ``best`` by more than the threshold."""
        sign = 1.0 if self.rule == 'greater' else -1.0
        if not math.isfinite(best):
            return sign * a > sign * best
        margin = self.threshold * (best if self.threshold_rule == 'rel' else 1.0)
        return sign * a > sign * (best + sign * margin)

    def _require_choice(self, name: str, value: Any, choices: tuple[str, ...]) -> None:
        if value not in choices:
            raise ArgumentError(
                f'{type(self).__name__} needs {name} {" or ".join(map(repr, choices))}, got '
                f'{value!r}.{did_you_mean(str(value), choices)}'
            )

    def _one_per_group(self, min_value: float | Sequence[float]) -> list[float]:
        num_groups = len(self.optimizer.param_groups)
        if not isinstance(min_value, Sequence):
            return [min_value] * num_groups
        # A wrapper adds a group that stands for the base learning rate; nobody configures it.
        num_own = len(getattr(self.optimizer, 'optimizer', self.optimizer).param_groups)
        if len(min_value) not in (num_own, num_groups):
            raise ArgumentError(
                f'{type(self).__name__} needs one min_value for each of the {num_own} parameter '
                f'groups, got {len(min_value)}.'
            )
        return [*min_value, *[min_value[-1]] * (num_groups - len(min_value))]
