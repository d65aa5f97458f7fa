"""Activation checkpointing of the blocks of a sharded model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from mmengine.model._recomputing import wrap_forward
from mmengine.registry import FUNCTIONS
from mmengine.strategy._blocks import find_blocks
from mmengine.utils.errors import ArgumentError


def recompute_activations(model: nn.Module, blocks: list[nn.Module], choice: Any) -> None:
    """Compute the activations of some sub-modules again in the backward pass, in place.

    Args:
        model: The model.
        blocks: Its blocks.
        choice: None or False for none of them, True for all blocks, ``dict(check_fn=function)`` for
            the sub-modules of which ``function``, or the function of that name in ``FUNCTIONS``,
            is True, or a choice as of :func:`find_blocks`.

    Raises:
        ArgumentError: If ``choice`` matches no module.
    """
    if choice is None or choice is False:
        return
    if choice is True:
        chosen = blocks
    elif isinstance(choice, Mapping):
        chosen = find_blocks(model, _check_function(choice))
    else:
        chosen = find_blocks(model, choice)
    if not chosen:
        raise ArgumentError(
            f'activation_checkpointing={choice!r} matches no sub-module of '
            f'{type(model).__name__}; choose blocks, or name classes.'
        )
    for module in chosen:
        module.forward = wrap_forward(module.forward)


def _check_function(settings: Mapping[str, Any]) -> Any:
    unknown = set(settings) - {'check_fn'}
    check = settings.get('check_fn')
    found = FUNCTIONS.get(check) if isinstance(check, str) else check
    if unknown or not callable(found):
        raise ArgumentError(
            'activation_checkpointing as a dict has the key check_fn, a function of a module or '
            f'its name in FUNCTIONS; got {dict(settings)!r}.'
        )
    return found
