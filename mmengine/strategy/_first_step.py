"""Calls a check of gradients before the first step of an optimizer, and leaves nothing behind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from torch import nn


def before_first_step(optimizer: Any, check: Callable[[], None]) -> None:
    """Call ``check`` before the next step of ``optimizer``, and not again.

    Its hook is then removed, because an optimizer without hooks steps faster. While torch goes
    through the hooks of a step, only the last one can be removed: with hooks behind it, which make
    the step slow anyway, it stays and does nothing.

    Args:
        optimizer: An optimizer of torch.
        check: What to call; what it raises ends the step before it begins.
    """
    is_due = True

    def run(optimizer: Any, args: Any, kwargs: Any) -> None:
        nonlocal is_due
        if next(reversed(optimizer._optimizer_step_pre_hooks)) == handle.id:
            handle.remove()
        if is_due:
            is_due = False
            check()

    handle = optimizer.register_step_pre_hook(run)


def optimized_parameters(optimizer: Any, model: nn.Module) -> dict[str, nn.Parameter]:
    """The parameters of ``model`` that ``optimizer`` changes, by their names."""
    optimized = {id(param) for group in optimizer.param_groups for param in group['params']}
    return {name: param for name, param in model.named_parameters() if id(param) in optimized}
