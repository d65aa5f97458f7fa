"""Schedulers of a resumed run: settings come from the config, the position from the checkpoint.

- The config has not changed: the saved state is loaded bit for bit.
- The config has changed (for example, the run is longer, and the default ``end`` with it): the
  schedulers step again from the start to the saved position, and have the values of an
  uninterrupted run with the new config.
- The checkpoint has no scheduler state (checkpoints of other engines): the schedulers step from the
  start in the same way.
"""

from __future__ import annotations

import copy
import inspect
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from mmengine.optim.scheduler._base import INF, _ParamScheduler, same_value

_Schedulers = list[Any] | dict[str, list[Any]]
_State = dict[str, Any]


@dataclass(frozen=True)
class _Position:
    """Where the checkpoint was saved."""

    epoch: int
    iteration: int
    epoch_length: int | None

    def advance(self, schedulers: list[Any]) -> None:
        advance_schedulers(schedulers, self.epoch, self.iteration, self.epoch_length)


def restore_schedulers(
    schedulers: _Schedulers,
    saved_states: Any,
    *,
    epoch: int | None,
    iteration: int | None,
    logger: logging.Logger,
    epoch_length: int | None = None,
    max_epochs: int | None = None,
    max_iters: int | None = None,
) -> None:
    """Move freshly built schedulers to the position of a checkpoint.

    Call this after the optimizer state is loaded. Schedulers that change the same parameter of the
    same optimizer are restored together, because their factors multiply:

    - If none of their settings has changed, the schedulers load their saved states. The param
      groups keep the values from the checkpoint.
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

    Raises:
        ValueError: If the numbers of schedulers or the names of optimizers differ.
    """
    pairs = _paired(schedulers, saved_states)
    position = _Position(
        _steps_taken(pairs, by_epoch=True) if epoch is None else epoch,
        _steps_taken(pairs, by_epoch=False) if iteration is None else iteration,
        epoch_length,
    )
    for chain in _chains(pairs):
        _restore_chain(chain, position, logger)
        _tell_of_early_end([scheduler for scheduler, _ in chain], max_epochs, max_iters, logger)


def advance_schedulers(
    schedulers: _Schedulers, epoch: int, iteration: int, epoch_length: int | None = None
) -> None:
    """Step freshly built schedulers through ``epoch`` epochs and ``iteration`` iterations.

    Schedulers by epoch and schedulers by iteration step in the order of a run. Schedulers in
    optimizer steps or samples step to the count of the run, spread evenly over the iterations.
    Schedulers that need metrics do not step, because the metrics were not saved.

    Args:
        schedulers: A list, or lists by optimizer name. The param groups of the optimizers change.
        epoch: Finished epochs.
        iteration: Finished iterations.
        epoch_length: Iterations of an epoch. If None, the epochs are spread evenly.
    """
    if epoch_length is not None and epoch * epoch_length > iteration:
        epoch_length = None  # the epochs of the saved run were shorter
    movable = [each for each in flattened(schedulers) if not getattr(each, 'need_val_args', False)]
    in_units = [each for each in movable if getattr(each, '_units_done', None) is not None]
    counted = [(scheduler, scheduler._units_done()) for scheduler in in_units]
    others = [each for each in movable if each not in in_units]
    by_epoch = [scheduler for scheduler in others if scheduler.by_epoch]
    by_iter = [scheduler for scheduler in others if not scheduler.by_epoch]
    epochs_done = 0
    for done in range(1, iteration + 1):
        for scheduler in by_iter:
            scheduler.step()
        for scheduler, total in counted:
            for _ in range(done * total // iteration - (done - 1) * total // iteration):
                scheduler.step()
        while epochs_done < epoch and (
            (epochs_done + 1) * iteration <= done * epoch
            if epoch_length is None
            else (epochs_done + 1) * epoch_length <= done
        ):
            epochs_done += 1
            for scheduler in by_epoch:
                scheduler.step()
    for _ in range(epochs_done, epoch):
        for scheduler in by_epoch:
            scheduler.step()


def keep_scheduled_values(
    schedulers: _Schedulers, load_optimizer: Callable[[], None], warn: Callable[[str], None]
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


def _paired(schedulers: _Schedulers, saved_states: Any) -> list[tuple[Any, _State]]:
    own: Any = schedulers
    saved: Any = saved_states
    if not isinstance(own, dict) and not isinstance(saved, dict):
        own, saved = {'': own}, {'': saved}
    if not isinstance(own, dict) or not isinstance(saved, dict) or own.keys() != saved.keys():
        raise ValueError(
            f'The checkpoint has schedulers for {_names(saved)}, this run has schedulers for '
            f'{_names(own)}.'
        )
    pairs: list[tuple[Any, _State]] = []
    for name, of_one in own.items():
        states = saved[name]
        if len(of_one) != len(states):
            optimizer = f' for optimizer {name!r}' if name else ''
            raise ValueError(
                f'The checkpoint has {len(states)} parameter schedulers, this run has '
                f'{len(of_one)}{optimizer}. Resume with the same param_scheduler, or load the '
                'weights only with load_from.'
            )
        pairs += zip(of_one, states, strict=True)
    return pairs


def _names(schedulers: Any) -> str:
    return f'optimizers {sorted(schedulers)}' if isinstance(schedulers, dict) else 'one optimizer'


def _steps_taken(pairs: list[tuple[Any, _State]], *, by_epoch: bool) -> int:
    return max(
        (
            state.get('_global_step', 0)
            for _, state in pairs
            if state.get('by_epoch') is by_epoch and state.get('unit') is None
        ),
        default=0,
    )


def _chains(pairs: list[tuple[Any, _State]]) -> list[list[tuple[Any, _State]]]:
    """Group the schedulers that change the same parameter of the same groups; the order is kept.

    A scheduler that does not inherit from ours is a group by itself.
    """
    chains: dict[Any, list[tuple[Any, _State]]] = {}
    for scheduler, state in pairs:
        key: Any = id(scheduler)
        if isinstance(scheduler, _ParamScheduler):
            # A wrapper may return a new list each time; its items are always the same groups.
            key = (id(scheduler.optimizer.param_groups[0]), scheduler.param_name)
        chains.setdefault(key, []).append((scheduler, state))
    return list(chains.values())


def _restore_chain(
    chain: list[tuple[Any, _State]], position: _Position, logger: logging.Logger
) -> None:
    changes = {id(scheduler): _changed_settings(scheduler, state) for scheduler, state in chain}
    stepped = [pair for pair in chain if not getattr(pair[0], 'need_val_args', False)]
    if any(changes[id(scheduler)] for scheduler, _ in stepped):
        _tell_of_other_base(chain, logger, wins='this run')
        factors = _learned_factors(chain, position) if len(stepped) < len(chain) else None
        for scheduler, _ in chain:
            scheduler._rewind_groups()
        built = {id(scheduler): scheduler.state_dict() for scheduler, _ in stepped}
        position.advance([scheduler for scheduler, _ in stepped])
        if factors is not None:
            _scale(chain[0][0], factors)
        for scheduler, state in stepped:
            scheduler.load_state_dict(_merged(scheduler, built[id(scheduler)], state))
    else:
        _tell_of_other_base(chain, logger, wins='the checkpoint')
        for scheduler, state in stepped:
            scheduler.load_state_dict(state)
    for scheduler, state in chain:
        if getattr(scheduler, 'need_val_args', False):
            names = changes[id(scheduler)]
            scheduler.load_state_dict(_with_settings(scheduler, state, names))
        for name in changes[id(scheduler)]:
            logger.info(
                f'{type(scheduler).__name__} of {scheduler.param_name!r} continues with {name}='
                f'{getattr(scheduler, name)!r} of this run; the checkpoint has '
                f'{state.get(name)!r}.'
            )


def _changed_settings(scheduler: Any, state: _State) -> list[str]:
    """Names of the settings of ``scheduler`` that differ from the settings saved in ``state``."""
    if not isinstance(scheduler, _ParamScheduler):
        return []
    now = scheduler._state()
    ignored = scheduler._progress | {'verbose'}
    gone: set[str] = set()
    if '_learned' in state:
        settings = set(now) - set(state['_learned'])
        # The state belongs to another class, which has different settings.
        gone = set(state) - set(now) - set(state['_learned']) - scheduler._not_state
    else:
        # Older states do not list their settings: every constructor argument is a setting.
        settings = set(now) & (_constructor_arguments(type(scheduler)) | {'min_values'})
    if gone:
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
    return {**saved, **settings}


def _learned_factors(chain: list[tuple[Any, _State]], position: _Position) -> list[float] | None:
    """The factor by which schedulers with metrics scaled each group before the checkpoint.

    The factor is the saved value divided by the value that the other schedulers alone produce with
    the saved settings. None if the groups do not match the checkpoint.
    """
    values = chain[0][0]._read()
    if values == chain[-1][0]._values_as_built:
        return None
    alone = _StandIn(chain[0][0].param_name, chain[0][1].get('base_values', values))
    twins = []
    for scheduler, state in chain:
        if not scheduler.need_val_args:
            twin = copy.copy(scheduler)
            known = {key: value for key, value in state.items() if key not in twin._not_state}
            vars(twin).update(copy.deepcopy(known))
            restart = {'last_step': -1, '_global_step': -1, '_last_value': None}
            vars(twin).update(optimizer=alone, _holds_tensors=False, **restart)
            twin.step()
            twins.append(twin)
    position.advance(twins)
    expected = [group[chain[0][0].param_name] for group in alone.param_groups]
    factors = [
        value / other if other else 1.0 for value, other in zip(values, expected, strict=True)
    ]
    return [1.0 if abs(factor - 1) < 1e-9 else factor for factor in factors]


class _StandIn:
    """Param groups without an optimizer, used to compute the values that schedulers produce."""

    def __init__(self, param_name: str, values: list[float]) -> None:
        self.param_groups: list[dict[str, Any]] = [
            {param_name: value, f'initial_{param_name}': value, 'betas': (0.0, 0.0)}
            for value in values
        ]


def _scale(scheduler: Any, factors: list[float]) -> None:
    values = scheduler._read()
    scheduler._write([value * factor for value, factor in zip(values, factors, strict=True)])
    if hasattr(scheduler, '_write_betas'):
        scheduler._write_betas()


def _tell_of_other_base(
    chain: list[tuple[Any, _State]], logger: logging.Logger, *, wins: str
) -> None:
    scheduler, state = chain[0]
    saved = state.get('base_values')
    if not isinstance(scheduler, _ParamScheduler) or saved is None:
        return
    if not same_value(saved, scheduler.base_values):
        logger.warning(
            f'The schedules of {scheduler.param_name!r} start from {_short(saved)} in the '
            f'checkpoint and from {_short(scheduler.base_values)} in this run. They continue with '
            f'the values of {wins}.'
        )


def _short(values: list[float]) -> str:
    different = sorted(set(values))
    return ', '.join(f'{value:g}' for value in different[:4]) + (', ...' * (len(different) > 4))


def _tell_of_early_end(
    chain: list[Any], max_epochs: int | None, max_iters: int | None, logger: logging.Logger
) -> None:
    """Warn if all schedules of a parameter end before the training, or a cosine rises again."""
    known = [each for each in chain if isinstance(each, _ParamScheduler)]
    if any(each.unit is not None for each in known):
        return  # the length of the run in that unit is not known here
    limits = [(each, max_epochs if each.by_epoch else max_iters) for each in known]
    if not limits or any(limit is None for _, limit in limits):
        return
    for each, limit in limits:
        unit = 'epoch' if each.by_epoch else 'iteration'
        turn = each.begin + getattr(each, 'T_max', INF)
        if turn < min(each.end, limit or 0):
            logger.warning(
                f'{type(each).__name__} has T_max={each.T_max}, so {each.param_name!r} '  # type: ignore[attr-defined]  # a cosine
                f'rises again after {unit} {turn}, but training continues to {unit} {limit}.'
            )
    if all(each.end < (limit or 0) for each, limit in limits):
        each, limit = limits[-1]
        unit = 'epoch' if each.by_epoch else 'iteration'
        logger.warning(
            f'{type(each).__name__} has end={each.end}, so {each.param_name!r} keeps its value '
            f'after {unit} {each.end}, but training continues to {unit} {limit}. Remove end from '
            'the config to let the schedule end with the run.'
        )


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


def flattened(schedulers: Any) -> list[Any]:
    """All schedulers of one scheduler, a list, or lists by optimizer name."""
    lists = schedulers.values() if isinstance(schedulers, dict) else [schedulers]
    return [
        scheduler
        for entry in lists
        for scheduler in (entry if isinstance(entry, (list, tuple)) else [entry])
    ]
