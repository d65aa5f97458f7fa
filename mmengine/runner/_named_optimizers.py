"""Models whose train step takes several optimizer wrappers by name, such as a GAN."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmengine.model import BaseModel
from mmengine.optim import OptimWrapperDict
from mmengine.utils.errors import ArgumentError, did_you_mean

if TYPE_CHECKING:
    from torch import nn


def named_in_step(model: type) -> list[str]:
    """The names in ``optim_wrapper['name']`` of the train step of a class, in their order.

    Empty if its source cannot be read, or it takes the wrapper as it is.
    """
    step = getattr(model, 'train_step', None)
    try:
        definition = ast.parse(textwrap.dedent(inspect.getsource(step))).body[0]  # type: ignore[arg-type]  # None has no source
    except (OSError, TypeError, SyntaxError, IndexError):
        return []
    if not isinstance(definition, ast.FunctionDef):
        return []
    arguments = [argument.arg for argument in definition.args.args]
    if len(arguments) < 3:
        return []
    names = [
        node.slice.value
        for node in ast.walk(definition)
        if isinstance(node, ast.Subscript)
        and isinstance(node.value, ast.Name)
        and node.value.id == arguments[2]
        and isinstance(node.slice, ast.Constant)
        and isinstance(node.slice.value, str)
    ]
    return list(dict.fromkeys(names))


def wrong_optimizers(model: type, given: Sequence[str] | None) -> str | None:
    """Why the train step of a model cannot use the optimizers of a run; None if it can.

    Args:
        model: The class of the model.
        given: Names of the optimizer wrappers; None for a single wrapper.
    """
    needed = named_in_step(model)
    step = f'{model.__name__}.train_step'
    if needed and given is None:
        return (
            f'{step} takes the optimizer wrappers {_listed(needed)}, but there is a single one. '
            f'Write optim_wrapper={_example(needed)}.'
        )
    for name in needed:
        if given is not None and name not in given:
            return (
                f'{step} takes the optimizer wrapper {name!r}, but the names are '
                f'{_listed(given)}.{did_you_mean(name, given, limit=1)}'
            )
    if given and getattr(model, 'train_step', None) is BaseModel.train_step:
        return (
            f'{model.__name__} trains by a single optimizer wrapper, but there are '
            f'{_listed(given)}. Write optim_wrapper=dict(optimizer=...), or override train_step, '
            f'which then takes optim_wrapper[{given[0]!r}].'
        )
    return None


def check_optimizers(model: nn.Module, optim_wrapper: Any) -> None:
    """Check the optimizers of a run before its first step.

    Raises:
        ArgumentError: If the train step of ``model`` takes others.
    """
    if isinstance(optim_wrapper, OptimWrapperDict) and type(optim_wrapper) is not OptimWrapperDict:
        return  # it may do for all what the class of this package does for one
    names = list(optim_wrapper) if isinstance(optim_wrapper, OptimWrapperDict) else None
    message = wrong_optimizers(type(model), names)
    if message is not None:
        raise ArgumentError(message)


def _listed(names: Sequence[str]) -> str:
    return ', '.join(map(repr, names)) or 'none'


def _example(names: Sequence[str]) -> str:
    parts = ', '.join(f"{name}=dict(optimizer=dict(type='Adam', lr=1e-3))" for name in names)
    return f'dict({parts})'
