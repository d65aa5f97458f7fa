"""``torch.compile`` for one method of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


def compile_method(model: nn.Module, settings: Mapping[str, Any] | bool) -> nn.Module:
    """Let :func:`torch.compile` take over one method of ``model``, in place.

    Args:
        model: A placed model.
        settings: True, or arguments of ``torch.compile`` and ``target``, the method's name
            ('forward' by default).

    Raises:
        ValueError: If the model has no method called ``target``.
    """
    options = dict(settings) if isinstance(settings, Mapping) else {}
    target = options.pop('target', 'forward')
    method = getattr(model, target, None)
    if not callable(method):
        raise ValueError(f'{type(model).__name__} has no method {target!r} to compile.')
    setattr(model, target, torch.compile(method, **options))
    return model
