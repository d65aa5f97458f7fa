"""The states of all hooks of a run, in the form that a checkpoint holds."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from mmengine._checkpoint.validation_record import hyperparameters_of, make_record
from mmengine.logging._numbers import float_of

if TYPE_CHECKING:
    from mmengine.hooks.run import Run


def hooks_state(runner: Run) -> dict[str, list[Any]]:
    """States of the hooks that have a state: lists by class name, in the order of the hooks."""
    states: dict[str, list[Any]] = {}
    for hook in runner.hooks:
        if hasattr(hook, 'state_dict'):
            states.setdefault(type(hook).__name__, []).append(hook.state_dict())
    return states


def load_hooks_state(runner: Run, states: Mapping[str, list[Any]]) -> None:
    """Load the saved states into the hooks; a hook without a saved state does not change."""
    remaining = {name: list(entries) for name, entries in states.items()}
    for hook in runner.hooks:
        entries = remaining.get(type(hook).__name__)
        if entries and hasattr(hook, 'load_state_dict'):
            hook.load_state_dict(entries.pop(0))


def plain_numbers(values: Mapping[str, Any]) -> dict[str, float]:
    """The entries of ``values`` that are numbers, as floats."""
    return {
        key: float_of(value)
        for key, value in values.items()
        if isinstance(value, (int, float, Fraction, Decimal))
    }


def validation_record(runner: Run, metrics: Mapping[str, float]) -> dict[str, Any]:
    """What a validation changes in a checkpoint that was written before it."""
    return make_record(
        meta={'validation_due': False, 'metrics': dict(metrics)},
        param_schedulers=runner.strategy.scheduler_state_dict(),
        optimizer=hyperparameters_of(runner.optim_wrapper),
        hooks=hooks_state(runner),
        message_hub=runner.message_hub.state_dict(),
    )
