"""Schedulers of a resumed run: settings come from the config, the position from the checkpoint.

- The config has not changed: the saved state is loaded bit for bit.
- The config has changed (for example, the run is longer, and the default ``end`` with it): the
  schedulers step again from the start to the saved position, and have the values of an
  uninterrupted run with the new config.
- The checkpoint has no scheduler state (checkpoints of other engines): the schedulers step from the
  start in the same way.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

from mmengine.optim.scheduler._base import _ParamScheduler, same_value
from mmengine.optim.scheduler._torch import TorchSchedule
from mmengine.strategy._learned_factors import learned_factors, scale_values
from mmengine.strategy._optimizer_resume import OptimizerResume
from mmengine.strategy._resume_report import WAY_OUT, ResumeReport
from mmengine.strategy._schedule_chains import Chain, chains_of, steps_taken
from mmengine.strategy._schedule_notes import (
    tell_of_early_end,
    tell_of_other_base,
    tell_of_settings,
)
from mmengine.strategy._schedule_steps import (
    Schedulers,
    advance_schedulers,
    counted_units,
    flattened,
)
from mmengine.utils.errors import ArgumentError

# What ReduceLROnPlateau of torch learns.
_LEARNED_BY_TORCH = ('best', 'num_bad_epochs', 'cooldown_counter', 'last_epoch', '_last_lr')

_State = dict[str, Any]


@dataclass(frozen=True)
class _Position:
    """Where the checkpoint was saved."""

    epoch: int
    iteration: int
    epoch_length: int | None
    units: Callable[[Any], int | None] = counted_units

    def advance(self, schedulers: list[Any]) -> None:
        advance_schedulers(schedulers, self.epoch, self.iteration, self.epoch_length, self.units)


@dataclass(frozen=True)
class ScheduleResume:
    """What decides between the schedules of this run and of the checkpoint.

    Attributes:
        choice: ``resume_request.schedule``.
        optimizer: Decides about the initial values of groups; None uses the values of this run.
        report: Receives the differences; None logs them.
        is_loaded: Whether the groups hold the values of the checkpoint.
        is_moved: Whether the given iteration counts batches of this run, whose epochs have
            another length than in the saved run.
        units_in_this_run: Gives the steps or samples at which a schedule that ends with the run
            would be in a run of the present sizes; None if no size has changed.
    """

    choice: str | None = None
    optimizer: OptimizerResume | None = None
    report: ResumeReport | None = None
    is_loaded: bool = True
    is_moved: bool = False
    units_in_this_run: Callable[[Any], int | None] | None = None

    def units(self, scheduler: Any) -> int | None:
        """Steps or samples at which ``scheduler`` goes on; None if it counts neither."""
        moved = self.moved_units(scheduler)
        return counted_units(scheduler) if moved is None else moved

    def moved_units(self, scheduler: Any) -> int | None:
        """Where a schedule that spans the run goes on; None if it goes on with what was counted."""
        if self.units_in_this_run is None or not getattr(scheduler, '_spans_window', False):
            return None
        return self.units_in_this_run(scheduler)

    def move_end(self, scheduler: Any) -> None:
        """Let a schedule that counted units of other sizes end with the run nevertheless."""
        if self.units_in_this_run is not None and not getattr(scheduler, '_spans_window', False):
            counted, units = counted_units(scheduler), self.units_in_this_run(scheduler)
            if counted is not None and units is not None:
                scheduler.end += counted - units


def restore_schedulers(
    schedulers: Schedulers,
    saved_states: Any,
    *,
    epoch: int | None,
    iteration: int | None,
    logger: logging.Logger,
    epoch_length: int | None = None,
    max_epochs: int | None = None,
    max_iters: int | None = None,
    resume: ScheduleResume | None = None,
) -> None:
    """Move freshly built schedulers to the position of a checkpoint.

    Call this after the optimizer state is loaded. Schedulers that change the same parameter of the
    same optimizer are restored together, because their factors multiply:

    - If none of their settings and initial values has changed, the schedulers load their saved
      states. The param groups keep the values from the checkpoint.
    - Otherwise the schedulers step from the initial values of this run to the saved position, in
      the order of a run. Attributes that do not follow from the steps come from the checkpoint.
    - Schedulers that learn from metrics (``need_val_args``) keep their saved state and take only
      their settings from this run. The factor by which they have already reduced a value is kept.

    Args:
        schedulers: A list, or lists by optimizer name.
        saved_states: The states of the schedulers, in the same form.
        epoch: Finished epochs; None takes the number from the states.
        iteration: Finished iterations; None takes the number from the states.
        logger: Logs changed settings, and schedules that end before the training ends.
        epoch_length: Iterations of an epoch. If None, the epochs are spread evenly over the
            iterations.
        max_epochs: Epochs of this run, if known.
        max_iters: Iterations of this run, if known.
        resume: What wins where this run and the checkpoint differ. None requires a scheduler for
            each state.

    Raises:
        ArgumentError: If the schedulers do not match the states, and have to.
    """
    is_strict = resume is None or resume.choice == 'checkpoint'
    resume = resume or ScheduleResume()
    chains = chains_of(schedulers, saved_states, is_strict, resume.report)
    states = flattened(saved_states)
    # A schedule in iterations counts its own steps. The loop may have counted otherwise.
    saved_iteration = steps_taken(states, by_epoch=False)
    if saved_iteration is None:
        saved_iteration = iteration or 0
    position = _Position(
        (steps_taken(states, by_epoch=True) or 0) if epoch is None else epoch,
        iteration if resume.is_moved and iteration is not None else saved_iteration,
        epoch_length,
        resume.units,
    )
    then = replace(position, iteration=saved_iteration)
    if resume.is_moved:
        then = replace(then, epoch_length=None)
    for chain in chains:
        if resume.choice == 'checkpoint':
            _load_chain(chain, resume)
        else:
            _restore_chain(chain, position, then, logger, resume)
        tell_of_early_end([each for each, _ in chain.pairs], max_epochs, max_iters, logger)


def keep_scheduled_values(
    schedulers: Schedulers, load_optimizer: Callable[[], None], warn: Callable[[str], None]
) -> None:
    """Load the optimizer state, except for the values that ``schedulers`` have set.

    The state may have been saved before or after the schedules stepped. MMCV 1.x sets the
    learning rate at the start of an iteration, so its checkpoints hold the learning rate of the
    previous iteration.

    Args:
        schedulers: Schedulers at the iteration from which the run continues.
        load_optimizer: Loads the optimizer state.
        warn: Called with a message if the saved initial values differ from those in this run.
    """
    kept = [
        (scheduler.optimizer, _keys_of(scheduler), _values(scheduler))
        for scheduler in flattened(schedulers)
    ]
    load_optimizer()
    for optimizer, keys, values in kept:
        for group, present in zip(optimizer.param_groups, values, strict=True):
            initial = keys[1]
            if group.get(initial, present[initial]) != present[initial]:
                warn(
                    f'The checkpoint has {initial}={group[initial]!r}, this run has '
                    f'{present[initial]!r}. The schedule continues with the value of this run.'
                )
            for key, value in present.items():
                held = group.get(key)
                if isinstance(held, Tensor) and held.shape == ():
                    held.fill_(value)
                else:
                    group[key] = value


def position_of(checkpoint: Mapping[str, Any]) -> tuple[int, int]:
    """Finished epochs and finished iterations; 0 if ``meta`` does not contain the number."""
    meta = checkpoint.get('meta') or {}
    counts = [0, 0]
    for index, name in enumerate(('epoch', 'iter')):
        with suppress(TypeError, ValueError):
            counts[index] = max(int(meta.get(name, 0)), 0)
    return counts[0], counts[1]


def _load_chain(chain: Chain, resume: ScheduleResume) -> None:
    """Continue the schedules of the checkpoint, whatever this run has set."""
    for scheduler, state in chain.pairs:
        if _settings_of_another_class(scheduler, state):
            raise ArgumentError(
                f'The checkpoint has another schedule of {scheduler.param_name!r} than the '
                f'{type(scheduler).__name__} of this run, so it cannot continue. Resume with '
                f"schedule='config', or set the schedule of the checkpoint. {WAY_OUT}"
            )
        scheduler.load_state_dict(state)
        if not resume.is_loaded and state.get('_last_value') is not None:
            scheduler._write(state['_last_value'])


def _restore_chain(
    chain: Chain,
    position: _Position,
    then: _Position,
    logger: logging.Logger,
    resume: ScheduleResume,
) -> None:
    for scheduler, _ in chain.pairs:
        resume.move_end(scheduler)
    changes = {
        id(scheduler): _changed_settings(scheduler, state) for scheduler, state in chain.pairs
    }
    stepped = [pair for pair in chain.pairs if not getattr(pair[0], 'need_val_args', False)]
    bases = _base_values(chain, resume)
    if bases is not None:
        tell_of_other_base(chain, bases, logger, resume.report)
    is_changed = bases is not None and (
        any(changes[id(scheduler)] for scheduler, _ in stepped)
        or not same_value(bases, chain.base_then)
        or not chain.is_complete
        or not resume.is_loaded
        or (resume.choice == 'config' and bool(stepped))
        or any(_is_moved(*pair, position, resume) for pair in stepped)
    )
    if is_changed and bases is not None:
        has_learned = len(stepped) < len(chain.pairs) and resume.is_loaded
        factors = learned_factors(chain, then) if has_learned else None
        _restart(chain, bases)
        built = {id(scheduler): scheduler.state_dict() for scheduler, _ in stepped}
        position.advance([scheduler for scheduler, _ in stepped])
        if factors is not None:
            scale_values(chain.first, factors)
        for scheduler, state in stepped:
            scheduler.load_state_dict(_merged(scheduler, built[id(scheduler)], state))
    else:
        for scheduler, state in stepped:
            scheduler.load_state_dict(state)
    for scheduler, state in chain.pairs:
        names = changes[id(scheduler)]
        if getattr(scheduler, 'need_val_args', False) and state:
            initial = scheduler.base_values if is_changed else state.get('base_values')
            scheduler.load_state_dict(
                {**_with_settings(scheduler, state, names), 'base_values': initial}
            )
        tell_of_settings(scheduler, state, names, logger, resume.report)


def _base_values(chain: Chain, resume: ScheduleResume) -> list[float] | None:
    """Initial values of the groups; None for schedulers that do not inherit from ours."""
    first, then = chain.first, chain.base_then
    if not isinstance(first, _ParamScheduler):
        return None
    now = list(first.base_values)
    if then is None and resume.optimizer is not None:
        then = resume.optimizer.options_then(chain.optimizer, first.param_name)
    if then is None or len(then) != len(now) or resume.optimizer is None:
        return now
    return resume.optimizer.base_values(chain.optimizer, first.param_name, then, now)


def _is_moved(scheduler: Any, state: _State, position: _Position, resume: ScheduleResume) -> bool:
    """Whether ``scheduler`` goes on at another count than that at which it was saved."""
    steps = state.get('_global_step')
    if steps is None or state.get('by_epoch') is not False:
        return False
    if state.get('unit') is None:
        return resume.is_moved and bool(steps != position.iteration)
    return resume.moved_units(scheduler) not in (None, steps)


def _restart(chain: Chain, bases: list[float]) -> None:
    """Put the schedulers of ``chain`` where they are after building, with these initial values."""
    schedulers = [scheduler for scheduler, _ in chain.pairs]
    first = schedulers[0]
    has_own_state = any(isinstance(scheduler, TorchSchedule) for scheduler in schedulers)
    if same_value(bases, first.base_values) and not has_own_state:
        for scheduler in schedulers:
            scheduler._rewind()
        return
    for group, base in zip(first.optimizer.param_groups, bases, strict=True):
        group[f'initial_{first.param_name}'] = base
    first._write(bases)
    if hasattr(first, '_write_betas'):
        first._write_betas()
    for scheduler in schedulers:
        scheduler._restart_from(bases)


def _settings_of_another_class(scheduler: Any, state: _State) -> set[str]:
    """Settings in ``state`` that ``scheduler`` does not have."""
    if not isinstance(scheduler, _ParamScheduler) or '_learned' not in state:
        return set()
    return set(state) - set(scheduler._state()) - set(state['_learned']) - scheduler._not_state


def _changed_settings(scheduler: Any, state: _State) -> list[str]:
    """Names of the settings of ``scheduler`` that differ from the settings saved in ``state``."""
    if not isinstance(scheduler, _ParamScheduler):
        return []
    now = scheduler._state()
    ignored = scheduler._progress | {'verbose'} | (scheduler._added_settings - set(state))
    if '_learned' in state:
        settings = set(now) - set(state['_learned'])
    else:
        # Older states do not list their settings: every constructor argument is a setting.
        settings = set(now) & (_constructor_arguments(type(scheduler)) | {'min_values'})
    if _settings_of_another_class(scheduler, state):
        return sorted(settings - ignored)
    return [
        name
        for name in now
        if name in settings
        and name not in ignored
        and not (same_value(now[name], state[name]) if name in state else now[name] is None)
    ]


def _constructor_arguments(cls: type) -> set[str]:
    return {
        name
        for base in cls.__mro__
        if '__init__' in vars(base) and base is not object
        for name in inspect.signature(base).parameters
    }


def _merged(scheduler: _ParamScheduler, built: _State, saved: _State) -> _State:
    """The state after the repeated steps, with the saved attributes that the steps do not set."""
    merged = scheduler.state_dict()
    # Older states do not list learned attributes, and may hold attributes that a project added.
    learned = saved.get('_learned', set(saved) - set(merged))
    for name in learned:
        is_from_stepping = name in built and not same_value(built[name], merged[name])
        if name in saved and not is_from_stepping:
            merged[name] = saved[name]
    return merged


def _with_settings(scheduler: Any, saved: _State, names: list[str]) -> _State:
    """The saved state of a scheduler that learns from metrics, with the settings of this run."""
    settings = {name: getattr(scheduler, name) for name in names}
    if not {'monitor', 'rule'}.isdisjoint(names):
        # The best value belongs to another metric, or to the opposite order.
        restart = ('best', 'num_bad_epochs', 'cooldown_counter')
        settings |= {name: getattr(scheduler, name) for name in restart if hasattr(scheduler, name)}
    if 'arguments' in names:
        # A scheduler of torch: its settings and what it learned are in one state.
        ours, kept = scheduler.scheduler.state_dict(), saved.get('scheduler', {})
        settings['scheduler'] = {
            **ours, **{name: kept[name] for name in _LEARNED_BY_TORCH if name in kept}
        }  # fmt: skip
    return {**saved, **settings}


def _keys_of(scheduler: Any) -> tuple[str, ...]:
    name = scheduler.param_name
    return (name, f'initial_{name}', *(['betas'] if getattr(scheduler, 'use_betas', False) else []))


def _values(scheduler: Any) -> list[dict[str, Any]]:
    return [
        {
            key: group[key].item() if isinstance(group[key], Tensor) else group[key]
            for key in _keys_of(scheduler)
        }
        for group in scheduler.optimizer.param_groups
    ]
