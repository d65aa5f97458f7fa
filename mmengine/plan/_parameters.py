"""The parameters of a model by module, and by parameter group of its optimizers."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from mmengine.optim.optimizer.optimizer_wrapper_dict import wrappers_of

_SETTINGS = ('lr', 'momentum', 'betas', 'weight_decay')


@dataclass(frozen=True)
class ModuleRow:
    """Parameters of a module, with those of the modules in it.

    Attributes:
        name: Of the module; empty for the model.
        kind: Its class.
        parameters: Number of elements, over all ranks.
        trained: Elements that an optimizer changes.
    """

    name: str
    kind: str
    parameters: int
    trained: int


@dataclass(frozen=True)
class GroupRow:
    """Parameters that are trained with the same settings.

    Attributes:
        optimizer: Its class, with its name if there are several.
        settings: Learning rate, momentum and weight decay, as far as there are.
        tensors: Number of parameters.
        parameters: Number of their elements.
    """

    optimizer: str
    settings: dict[str, Any]
    tensors: int
    parameters: int


def parameters_by_module(model: nn.Module, depth: int) -> list[ModuleRow]:
    """A row for the model, and one for each module with parameters up to ``depth`` levels below."""
    rows = []
    for name, module in model.named_modules():
        level = name.count('.') + 1 if name else 0
        count = _elements(module.parameters())
        if level <= depth and (count or not name):
            kind = type(module).__name__.removeprefix('FSDP')
            trained = _elements(param for param in module.parameters() if param.requires_grad)
            rows.append(ModuleRow(name, kind, count, trained))
    return rows


def parameters_by_group(optim_wrapper: Any) -> list[GroupRow]:
    """A row for all groups of an optimizer that have the same settings."""
    named = optim_wrapper.items() if len(wrappers_of(optim_wrapper)) > 1 else None
    pairs = list(named) if named is not None else [('', wrappers_of(optim_wrapper)[0])]
    rows = []
    for name, wrapper in pairs:
        kind = type(wrapper.optimizer).__name__
        found: dict[str, tuple[dict[str, Any], list[Any]]] = {}
        for group in wrapper.optimizer.param_groups:
            settings = {key: group[key] for key in _SETTINGS if key in group}
            found.setdefault(repr(settings), (settings, []))[1].extend(group['params'])
        rows += [
            GroupRow(f'{name}: {kind}' if name else kind, settings, len(params), _elements(params))
            for settings, params in found.values()
        ]
    return rows


def _elements(params: Iterable[Tensor]) -> int:
    return sum({id(param): param.numel() for param in params}.values())
