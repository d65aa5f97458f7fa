"""Chains: schedules that change the same value of the same groups, with their saved states."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from mmengine.optim.scheduler._base import _ParamScheduler
from mmengine.strategy._resume_report import WAY_OUT, ResumeReport
from mmengine.utils.errors import ArgumentError

State = dict[str, Any]


@dataclass
class Chain:
    """Schedulers that change the same value of the same groups, in their order.

    Attributes:
        optimizer: Name of the optimizer; ``''`` if the run has one.
        pairs: Each scheduler with its saved state; the state is empty if nothing was saved.
        num_then: The number of schedulers that changed the value in the saved run.
        base_then: Initial values of the groups in the saved run, if known.
    """

    optimizer: str
    num_then: int
    base_then: list[float] | None
    pairs: list[tuple[Any, State]] = field(default_factory=list)

    @property
    def first(self) -> Any:
        """The first scheduler."""
        return self.pairs[0][0]

    @property
    def is_complete(self) -> bool:
        """Whether the saved run had as many schedulers."""
        return len(self.pairs) == self.num_then


def chains_of(
    schedulers: Any, saved_states: Any, is_strict: bool, report: ResumeReport | None
) -> list[Chain]:
    """Match schedulers with the saved states.

    Schedulers that change the same value are matched in their order. If their number has changed,
    only schedulers that learn from metrics keep a state.

    Args:
        schedulers: A list, or lists by optimizer name.
        saved_states: The states in the same form.
        is_strict: Whether every state must be loaded by one scheduler.
        report: Receives changed numbers of schedulers.

    Raises:
        ArgumentError: If the optimizers have no name in common, or if ``is_strict`` and the
            optimizers or the numbers of schedulers differ.
    """
    own, saved = _by_name(schedulers), _by_name(saved_states)
    if not own.keys() & saved.keys() or (is_strict and own.keys() != saved.keys()):
        raise ArgumentError(
            f'The checkpoint has schedulers for {_names(saved_states)}, this run has schedulers '
            f'for {_names(schedulers)}. {WAY_OUT}'
        )
    chains: list[Chain] = []
    for name, of_one in own.items():
        states = saved.get(name, [])
        if is_strict and len(states) != len(of_one):
            refuse_numbers(name, len(states), len(of_one))
        chains += _chains_of_one(name, of_one, states, report)
    return chains


def refuse_numbers(optimizer: str, then: int, now: int) -> None:
    """Refuse to continue the saved schedules with another number of schedules.

    Raises:
        ArgumentError: Always.
    """
    of = f' for optimizer {optimizer!r}' if optimizer else ''
    raise ArgumentError(
        f'The checkpoint has {then} parameter schedulers, this run has {now}{of}. Set the '
        "param_scheduler of the checkpoint, or resume with schedule='config' to step the schedules "
        f'of the config to its position. {WAY_OUT}'
    )


def scheduled_names(schedulers: Any) -> dict[str, set[str]]:
    """Names of the values that schedulers, or their states, change; by optimizer name."""
    names: dict[str, set[str]] = {}
    for optimizer, of_one in _by_name(schedulers).items():
        found = names.setdefault(optimizer, set())
        for each in of_one:
            settings = each if isinstance(each, dict) else getattr(each, '__dict__', {})
            name = settings.get('param_name')
            if name is not None:
                found.add(str(name))
            if name == 'momentum':
                found.add('betas')
    return names


def steps_taken(states: list[State], *, by_epoch: bool) -> int | None:
    """Steps of schedulers with this unit in the saved run; None if there were none."""
    steps = [
        state['_global_step']
        for state in states
        if state.get('by_epoch') is by_epoch
        and state.get('unit') is None
        and '_global_step' in state
    ]
    return max(steps, default=None)


def _chains_of_one(
    optimizer: str, schedulers: list[Any], states: list[State], report: ResumeReport | None
) -> list[Chain]:
    by_value: dict[Any, list[Any]] = {}
    for scheduler in schedulers:
        by_value.setdefault(_value_of(scheduler), []).append(scheduler)
    states_by_value: dict[Any, list[State]] = {}
    for state in states:
        states_by_value.setdefault(state.get('param_name'), []).append(state)
    chains: dict[Any, Chain] = {}
    for value, of_value in by_value.items():
        saved = states_by_value.pop(value, [])
        if len(saved) != len(of_value):
            if value is None:
                refuse_numbers(optimizer, len(saved), len(of_value))
            _tell_of_numbers(optimizer, value, len(saved), len(of_value), report)
        for scheduler, state in zip(of_value, _matched(of_value, saved), strict=True):
            # A wrapper may return a new list each time; its items are always the same groups.
            key: Any = id(scheduler)
            if isinstance(scheduler, _ParamScheduler):
                key = (id(scheduler.optimizer.param_groups[0]), value)
            base = next((each['base_values'] for each in saved if 'base_values' in each), None)
            num_then = len(saved) if isinstance(scheduler, _ParamScheduler) else 1
            chain = chains.setdefault(key, Chain(optimizer, num_then, base))
            chain.pairs.append((scheduler, state))
    for value, left in states_by_value.items():
        _tell_of_numbers(optimizer, value, len(left), 0, report)
    return list(chains.values())


def _matched(schedulers: list[Any], states: list[State]) -> list[State]:
    if len(schedulers) == len(states):
        return states
    learned = [state for state in states if 'num_bad_epochs' in state]
    learning = [each for each in schedulers if getattr(each, 'need_val_args', False)]
    if len(learned) != len(learning):
        learned = [{}] * len(learning)
    remaining = iter(learned)
    return [next(remaining) if getattr(each, 'need_val_args', False) else {} for each in schedulers]


def _tell_of_numbers(
    optimizer: str, value: Any, then: int, now: int, report: ResumeReport | None
) -> None:
    if report is not None:
        of = f' of optimizer {optimizer!r}' if optimizer else ''
        report.add(f'number of schedulers of {value!r}{of}', then, now, 'config', 'param_scheduler')


def _value_of(scheduler: Any) -> Any:
    return scheduler.param_name if isinstance(scheduler, _ParamScheduler) else None


def _by_name(schedulers: Any) -> dict[str, list[Any]]:
    lists = schedulers if isinstance(schedulers, dict) else {'': schedulers}
    return {
        name: list(each) if isinstance(each, (list, tuple)) else [each]
        for name, each in lists.items()
    }


def _names(schedulers: Any) -> str:
    return f'optimizers {sorted(schedulers)}' if isinstance(schedulers, dict) else 'one optimizer'
