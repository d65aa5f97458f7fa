"""The states of all hooks of a run, as a checkpoint holds them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mmengine.hooks.run import Run


def hooks_state(runner: Run) -> dict[str, list[Any]]:
    """State of the hooks that have one, by class name; several of a class in their order."""
    states: dict[str, list[Any]] = {}
    for hook in runner.hooks:
        if hasattr(hook, 'state_dict'):
            states.setdefault(type(hook).__name__, []).append(hook.state_dict())
    return states


def load_hooks_state(runner: Run, states: Mapping[str, list[Any]]) -> None:
    """Give each hook its state back; a hook without a saved state starts anew."""
    remaining = {name: list(entries) for name, entries in states.items()}
    for hook in runner.hooks:
        entries = remaining.get(type(hook).__name__)
        if entries and hasattr(hook, 'load_state_dict'):
            hook.load_state_dict(entries.pop(0))
