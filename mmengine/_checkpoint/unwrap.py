"""Recognises model wrappers (such as DDP), and returns the model inside them."""

from typing import Any

from torch import nn

from mmengine.registry import MODEL_WRAPPERS, Registry


def is_model_wrapper(model: nn.Module, registry: Registry = MODEL_WRAPPERS) -> bool:
    """Whether ``model`` is of a class registered in ``registry`` or in one of its children."""
    registry.import_from_location()
    kinds: list[Any] = list(registry.module_dict.values())
    if isinstance(model, tuple(kinds)):
        return True
    return any(is_model_wrapper(model, child) for child in registry.children.values())


def unwrap_model(model: nn.Module) -> nn.Module:
    """The model inside any number of wrappers with an attribute ``module``."""
    while is_model_wrapper(model) and hasattr(model, 'module'):
        model = model.module  # type: ignore[assignment]  # a wrapper has a module
    return model
