"""Trade compute for memory: recompute a module's activations in the backward pass."""

from collections.abc import Callable
from functools import wraps
from typing import Any

from torch import nn
from torch.utils.checkpoint import checkpoint

from mmengine.utils.errors import did_you_mean


def wrap_forward(forward: Callable[..., Any]) -> Callable[..., Any]:
    """``forward`` that keeps its inputs alone and runs a second time during backward."""

    @wraps(forward)
    def recomputing(*args: Any, **kwargs: Any) -> Any:
        return checkpoint(forward, *args, use_reentrant=False, **kwargs)

    return recomputing


def turn_on_activation_checkpointing(model: nn.Module, modules: str | list[str]) -> None:
    """Recompute the activations of the named sub-modules of ``model`` instead of keeping them.

    Args:
        model: Changed in place.
        modules: Full names as in :meth:`torch.nn.Module.named_modules`, one or several.

    Raises:
        KeyError: If a name is no sub-module; nothing is changed then.
    """
    names = [modules] if isinstance(modules, str) else list(modules)
    known = dict(model.named_modules())
    for name in names:
        if name not in known:
            raise KeyError(
                f'{type(model).__name__} has no sub-module {name!r}.{did_you_mean(name, known)}'
            )
    for name in names:
        known[name].forward = wrap_forward(known[name].forward)
