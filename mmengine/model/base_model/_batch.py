"""Calling a model with a batch, and saying what is wrong when the two do not fit."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from torch import nn

from mmengine._checkpoint.unwrap import unwrap_model


def forward_batch(model: nn.Module, data: Any, mode: str) -> Any:
    """``model(**data, mode=mode)`` for a dict, ``model(*data, mode=mode)`` for a list or tuple.

    Args:
        model: The model or its distributed wrapper.
        data: What the data preprocessor returned.
        mode: ``'loss'``, ``'predict'`` or ``'tensor'``.

    Raises:
        TypeError: If the batch is of another kind, or ``forward`` cannot take it.
    """
    try:
        if isinstance(data, (dict, Mapping)):
            return model(**data, mode=mode)
        if isinstance(data, (list, tuple)):
            return model(*data, mode=mode)
    except TypeError as error:
        # Only a failing call pays for looking at the signature; an error from inside forward goes on untouched.
        misfit = _describe_misfit(unwrap_model(model), data, mode)
        if misfit:
            raise TypeError(misfit) from error
        raise
    _reject_batch(model, data)


def _reject_batch(model: nn.Module, data: Any) -> NoReturn:
    preprocessor = getattr(unwrap_model(model), 'data_preprocessor', None)
    raise TypeError(
        f'{type(preprocessor).__name__} has to return a dict (passed to forward by name) or a list or tuple (passed by '
        f'position), got {type(data).__name__}. Return `dict(inputs=...)`, or `[batch]` for a single value.'
    )


def _describe_misfit(model: nn.Module, data: Any, mode: str) -> str | None:
    """Why ``model.forward`` cannot be called with this batch, or None when the signature would take it."""
    signature = inspect.signature(model.forward)
    name = f'{type(model).__name__}.forward'
    if not _accepts(signature, 'mode'):
        return (
            f'{name}{signature} lacks the parameter `mode`. It is called with mode={mode!r} here: training passes '
            "'loss' and wants a dict of losses, validation and test pass 'predict' and want a list of predictions. "
            f"Add it: `def forward(self, ..., mode='tensor')`."
        )
    named = isinstance(data, Mapping)
    if named and 'mode' in data:
        return f"The batch holds the key 'mode', which is the name of the argument that tells {name} what to compute. Rename the key."
    problem = _binding_problem(signature.bind, () if named else data, data if named else {}, mode)
    if problem is None:
        return None
    contents = f'the keys {list(data)}' if named else f'{len(data)} values'
    return f'{name}{signature} cannot take this batch of {contents}: {problem}.'


def _accepts(signature: inspect.Signature, name: str) -> bool:
    takes_any_name = any(p.kind is p.VAR_KEYWORD for p in signature.parameters.values())
    return takes_any_name or name in signature.parameters


def _binding_problem(
    bind: Callable[..., Any], args: Any, kwargs: Mapping[str, Any], mode: str
) -> str | None:
    try:
        bind(*args, **kwargs, mode=mode)
    except TypeError as error:
        return str(error)
    return None
