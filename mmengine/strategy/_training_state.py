"""Loading of optimizer and scheduler state from the checkpoint of a resumed run."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmengine.strategy._optimizer_resume import OptimizerResume
from mmengine.strategy._resume_report import ResumeReport
from mmengine.strategy._schedule_chains import refuse_numbers, scheduled_names
from mmengine.strategy._schedule_resume import (
    ScheduleResume,
    keep_scheduled_values,
    position_of,
    restore_schedulers,
)
from mmengine.strategy._schedule_steps import advance_schedulers, flattened

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
    entries are removed from ``checkpoint``. What differs between the checkpoint and the run, and
    what is used, is added to ``strategy.state.resume_report``.
    """
    state, schedulers = strategy.state, strategy.param_schedulers
    epoch, iteration = position_of(checkpoint)
    state.load_counts(checkpoint.get('meta') or {}, iteration)
    report, request = state.resume_report, state.resume_request
    saved_schedulers = checkpoint.get('param_schedulers')
    decision = OptimizerResume(
        then=(checkpoint.get('meta') or {}).get('optimizer_options') or {},
        now=state.built_options(),
        choice=request.optimizer,
        report=report or ResumeReport(),
        scheduled_then=scheduled_names(saved_schedulers or []) if resume_param_scheduler else {},
        scheduled_now=scheduled_names(schedulers),
    )
    is_loaded = False

    def load_optimizer() -> None:
        nonlocal is_loaded
        if resume_optimizer and 'optimizer' in checkpoint and strategy.optim_wrapper is not None:
            saved = decision.fit(strategy.optim_wrapper, checkpoint.pop('optimizer'))
            if saved is not None:
                strategy.load_optim_state_dict(saved)
                is_loaded = True
        elif resume_optimizer and iteration and strategy.optim_wrapper is not None:
            strategy.logger.warning(
                'The checkpoint has no state of the optimizer, as a published copy: the optimizer '
                'begins anew, without its momentum buffers and step counts.'
            )

    if not resume_param_scheduler or not has_any(schedulers):
        if resume_param_scheduler and request.schedule == 'checkpoint' and saved_schedulers:
            refuse_numbers('', len(flattened(saved_schedulers)), 0)
        load_optimizer()
        return
    is_known = 'iter' in (checkpoint.get('meta') or {})
    is_moved = False
    resumed = state.resumed_position
    if resumed is not None and resumed.iteration is not None:
        iteration, is_moved = resumed.iteration, resumed.is_moved
    checkpoint.pop('param_schedulers', None)
    if saved_schedulers is None and decision.then:  # a run of this engine without schedules
        saved_schedulers = {name: [] for name in schedulers} if isinstance(schedulers, dict) else []
    if saved_schedulers is not None:
        load_optimizer()
        restore_schedulers(
            schedulers,
            saved_schedulers,
            epoch=epoch if is_known else None,
            iteration=iteration if is_known else None,
            logger=strategy.logger,
            resume=ScheduleResume(
                choice=request.schedule,
                optimizer=decision,
                report=report,
                is_loaded=is_loaded,
                is_moved=is_moved,
                units_in_this_run=state.units_in_this_run,
            ),
            **state.lengths,
        )
    else:
        advance_schedulers(schedulers, epoch, iteration, state.lengths['epoch_length'])
        keep_scheduled_values(schedulers, load_optimizer, strategy.logger.warning)


def has_any(schedulers: Any) -> bool:
    """Whether a list, or the lists by optimizer name, contain a scheduler."""
    return any(schedulers.values()) if isinstance(schedulers, dict) else bool(schedulers)
