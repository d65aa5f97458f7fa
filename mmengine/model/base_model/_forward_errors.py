"""Error messages for batches that do not match a model's ``forward``."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from torch import nn


def unusable_batch(model: nn.Module, data: Any) -> str:
    """The message for a batch that is not a dict, list or tuple."""
    preprocessor = type(getattr(model, 'data_preprocessor', None)).__name__
    return (
        f'{preprocessor} must return a dict (passed to forward by name) or a list or tuple '
        f'(passed by position), got {type(data).__name__}. Return `dict(inputs=...)`, or '
        '`[batch]` for a single value.'
    )


def describe_misfit(model: nn.Module, data: Any, mode: str) -> str | None:
    """Why ``model.forward`` cannot be called with this batch; None if its signature matches."""
    signature = inspect.signature(model.forward)
    name = f'{type(model).__name__}.forward'
    if not _accepts(signature, 'mode'):
        return (
            f'{name}{signature} has no parameter `mode`. It is called with mode={mode!r} here: '
            "training passes 'loss' and needs a dict of losses, validation and test pass "
            "'predict' and need a list of predictions. Add it: `def forward(self, ..., "
            "mode='tensor')`."
        )
    named = isinstance(data, Mapping)
    if named and 'mode' in data:
        return (
            f"The batch has the key 'mode', but {name} uses the argument `mode` to select what to "
            'compute. '
            'Rename the key.'
        )
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
