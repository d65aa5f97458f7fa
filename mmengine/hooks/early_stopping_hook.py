"""EarlyStoppingHook: ends training when a metric stops improving."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from mmengine.hooks._best import WORST, check_rule, infer_rule
from mmengine.hooks.hook import Hook
from mmengine.hooks.run import evaluates_alone
from mmengine.logging._numbers import float_of
from mmengine.registry import HOOKS
from mmengine.utils._quantities import counted
from mmengine.utils.errors import ArgumentError, unknown_metric

if TYPE_CHECKING:
    from mmengine.hooks.run import Run


@HOOKS.register_module()
class EarlyStoppingHook(Hook):
    """Ends training after ``patience`` consecutive validations without an improvement.

    An improvement is a value that is better than the best so far by ``min_delta`` or more.

    Args:
        monitor: The metric to watch, such as 'coco/bbox_mAP'.
        rule: Whether 'greater' or 'less' is better; None infers it from the name of the metric.
        min_delta: Smallest change that counts as an improvement, 0 or more.
        strict: Raise an error if the metric is not reported, instead of a warning.
        check_finite: Also end training when the metric is NaN or infinite.
        patience: Validations to wait for an improvement.
        stopping_threshold: Also end training when the metric is better than this.

    Raises:
        ArgumentError: If the rule is wrong or cannot be inferred, or ``patience`` is negative.
    """

    priority = 'LOWEST'
    # The hook learns from metrics. CheckpointHook writes the states of hooks again after each
    # validation, so that a checkpoint contains the updated wait count.
    need_val_args = True
    rule_map: dict[str, Callable[[float, float], bool]] = {
        'greater': lambda new, old: new >= old,
        'less': lambda new, old: new <= old,
    }

    def __init__(
        self,
        monitor: str,
        rule: str | None = None,
        min_delta: float = 0.1,
        strict: bool = False,
        check_finite: bool = True,
        patience: int = 5,
        stopping_threshold: float | None = None,
    ) -> None:
        if not isinstance(monitor, str):
            raise TypeError(
                f'monitor must be the name of one metric, got {type(monitor).__name__}.'
            )
        if patience < 0:
            raise ArgumentError(f'patience must be 0 or more validations, got {patience}.')
        self.monitor = monitor
        self.rule = infer_rule(monitor) if rule is None else check_rule(rule)
        self.min_delta = abs(min_delta) if self.rule == 'greater' else -abs(min_delta)
        self.strict = strict
        self.check_finite = check_finite
        self.patience = patience
        self.stopping_threshold = stopping_threshold
        self.wait_count = 0
        self.best_score = WORST[self.rule]

    def before_run(self, runner: Run) -> None:
        """Reset the wait count; a resumed run loads its wait count later."""
        self.wait_count = 0
        self.best_score = WORST[self.rule]

    def before_train(self, runner: Run) -> None:
        """Wait again with full patience if the run had stopped early and is to go on."""
        if runner.state.is_reopened:
            self.wait_count = 0

    def after_val_epoch(self, runner: Run, metrics: dict[str, float] | None = None) -> None:
        """Compare the metric with the best value, and end training if it has stopped improving."""
        if evaluates_alone(runner):
            return
        if not metrics or self.monitor not in metrics:
            self._report_missing(runner, metrics or {})
            return
        reason = self._reason_to_stop(float_of(metrics[self.monitor]))
        if reason is not None:
            runner.train_loop.stop_training = True
            runner.logger.info(f'Training ends early: {self.monitor} {reason}.')

    def state_dict(self) -> dict[str, Any]:
        """The best value and the wait count."""
        return {'wait_count': self.wait_count, 'best_score': self.best_score}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue with the best value and the wait count of the saved run."""
        self.wait_count = int(state_dict['wait_count'])
        self.best_score = float(state_dict['best_score'])

    def _reason_to_stop(self, score: float) -> str | None:
        if self.check_finite and not math.isfinite(score):
            return f'is {score}; the best was {self.best_score:g}'
        is_as_good = self.rule_map[self.rule]
        threshold = self.stopping_threshold
        if threshold is not None and score != threshold and is_as_good(score, threshold):
            self.best_score, self.wait_count = score, 0
            return f'is {score:g}, better than the threshold {threshold:g}'
        if is_as_good(score - self.min_delta, self.best_score):
            self.best_score, self.wait_count = score, 0
        else:
            self.wait_count += 1
        if self.wait_count and self.wait_count >= self.patience:
            return (
                f'has not improved on {self.best_score:g} by {abs(self.min_delta):g} for '
                f'{counted(self.wait_count, "validation")}'
            )
        return None

    def _report_missing(self, runner: Run, metrics: dict[str, float]) -> None:
        message = unknown_metric('EarlyStoppingHook', self.monitor, metrics)
        if self.strict:
            raise RuntimeError(f'{message} strict=False makes this a warning.')
        runner.logger.warning(message)
