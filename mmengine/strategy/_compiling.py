"""``torch.compile`` for one method of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn


def compile_method(model: nn.Module, settings: Mapping[str, Any] | bool) -> nn.Module:
    """Compile one method of ``model`` with :func:`torch.compile`, in place.

    Args:
        model: A model that is already on its device.
        settings: True, or the arguments of ``torch.compile`` together with ``target``, the name of
            the method ('forward' by default).

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
