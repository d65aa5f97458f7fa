"""Activation checkpointing: saves memory by recomputing activations in the backward pass."""

from torch import nn

from mmengine.model._recomputing import wrap_forward
from mmengine.utils.errors import did_you_mean

__all__ = ['turn_on_activation_checkpointing', 'wrap_forward']


def turn_on_activation_checkpointing(model: nn.Module, modules: str | list[str]) -> None:
    """Recompute the activations of sub-modules of ``model`` instead of storing them.

    Args:
        model: Changed in place.
        modules: One or several full names, as in :meth:`torch.nn.Module.named_modules`.

    Raises:
        KeyError: If a name is not a sub-module; the model is not changed then.
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
