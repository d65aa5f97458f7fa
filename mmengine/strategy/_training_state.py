"""Loading of optimizer and scheduler state from the checkpoint of a resumed run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmengine.strategy._schedule_resume import (
    advance_schedulers,
    keep_scheduled_values,
    position_of,
    restore_schedulers,
)

if TYPE_CHECKING:
    from mmengine.strategy.base import BaseStrategy


def load_training_state(
    strategy: BaseStrategy,
    checkpoint: dict[str, Any],
    *,
    resume_optimizer: bool,
    resume_param_scheduler: bool,
) -> None:
    """Load the state of optimizers and schedulers, if requested and present in ``checkpoint``.

    If the checkpoint has no scheduler state, the schedulers step to its epoch and iteration. Loaded
    entries are removed from ``checkpoint``.
    """
    schedulers = strategy.param_schedulers
    epoch, iteration = position_of(checkpoint)
    strategy.state.load_counts(checkpoint.get('meta') or {}, iteration)

    def load_optimizer() -> None:
        if resume_optimizer and 'optimizer' in checkpoint and strategy.optim_wrapper is not None:
            strategy.load_optim_state_dict(checkpoint.pop('optimizer'))

    if not resume_param_scheduler or not has_any(schedulers):
        load_optimizer()
        return
    if 'param_schedulers' in checkpoint:
        is_known = 'iter' in (checkpoint.get('meta') or {})
        load_optimizer()
        restore_schedulers(
            schedulers,
            checkpoint.pop('param_schedulers'),
            epoch=epoch if is_known else None,
            iteration=iteration if is_known else None,
            logger=strategy.logger,
            **strategy.state.lengths,
        )
    else:
        advance_schedulers(schedulers, epoch, iteration)
        keep_scheduled_values(schedulers, load_optimizer, strategy.logger.warning)


def has_any(schedulers: Any) -> bool:
    """Whether a list, or the lists by optimizer name, contain a scheduler."""
    return any(schedulers.values()) if isinstance(schedulers, dict) else bool(schedulers)
