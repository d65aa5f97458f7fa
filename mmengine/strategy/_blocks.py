"""The choice of the sub-modules of a model that become separate units of a sharded model."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence

from torch import nn

from mmengine.utils.errors import ArgumentError, did_you_mean

# Class names, classes, a minimal number of parameters, or a function; see `find_blocks`.
BlockChoice = str | int | type | Callable[..., bool] | Sequence[str | type] | None


def find_blocks(model: nn.Module, choice: BlockChoice) -> list[nn.Module]:
    """The sub-modules of ``model`` that ``choice`` selects, inner ones before outer ones.

    ``model`` itself is never among them.

    Args:
        model: The model.
        choice: One of

            - names of classes or classes, one or several: all modules of these classes and of their
              subclasses;
            - an integer: modules with at least so many parameters that are not in another block;
            - ``function(module) -> bool``;
            - a wrap policy of torch, ``policy(module, recurse, nonwrapped_numel) -> bool``;
            - None: no block.

    Raises:
        ArgumentError: If a class name or class matches no module.
        TypeError: If ``choice`` has another type.
    """
    if choice is None:
        return []
    if isinstance(choice, bool):
        raise TypeError('blocks is a list of class names, a size or a function; got a bool.')
    if isinstance(choice, int):
        return _by_policy(model, _SizePolicy(choice))
    if isinstance(choice, (str, type)):
        return _by_class(model, [choice])
    if isinstance(choice, (list, tuple, set, frozenset)):
        return _by_class(model, list(choice))
    if not callable(choice):
        raise TypeError(
            f'blocks is a list of class names, a size or a function; got {type(choice).__name__}.'
        )
    if 'recurse' in inspect.signature(choice).parameters:
        return _by_policy(model, choice)
    return [module for module in _inner_first(model) if choice(module)]


def _by_class(model: nn.Module, wanted: list[str | type]) -> list[nn.Module]:
    missing, found = set(wanted), []
    modules = _inner_first(model)
    for module in modules:
        own = {
            key
            for cls in type(module).__mro__
            if issubclass(cls, nn.Module) and cls is not nn.Module
            for key in (cls, cls.__name__)
        }
        matches = own.intersection(wanted)
        missing -= matches
        if matches:
            found.append(module)
    if missing:
        names = sorted({type(module).__name__ for module in modules})
        absent = sorted(getattr(key, '__name__', str(key)) for key in missing)
        raise ArgumentError(
            f'blocks names {", ".join(absent)}, but {type(model).__name__} has no such sub-module; '
            f'it has {", ".join(names)}.' + did_you_mean(absent[0], names)
        )
    return found


def _by_policy(model: nn.Module, policy: Callable[..., bool]) -> list[nn.Module]:
    """Ask ``policy`` as torch's FSDP does: from the root down, and about each module on the way up.

    ``nonwrapped_numel`` are the parameters of a module that are not in a block inside it.
    """
    chosen: list[nn.Module] = []
    seen: set[nn.Module] = set()

    def visit(module: nn.Module, is_root: bool) -> int:
        """Returns the number of parameters in the blocks of ``module``."""
        numel = sum(param.numel() for param in module.parameters())
        if not policy(module=module, recurse=True, nonwrapped_numel=numel):
            return 0
        inside = 0
        for child in module.children():
            if child not in seen:
                seen.add(child)
                inside += visit(child, is_root=False)
        rest = numel - inside
        if not is_root and policy(module=module, recurse=False, nonwrapped_numel=rest):
            chosen.append(module)
            return numel
        return inside

    visit(model, is_root=True)
    return chosen


class _SizePolicy:
    """Blocks of at least ``size`` parameters."""

    def __init__(self, size: int) -> None:
        if size < 1:
            raise ArgumentError(f'blocks as a size is a positive integer, got {size}.')
        self._size = size

    def __call__(self, module: nn.Module, recurse: bool, nonwrapped_numel: int) -> bool:
        # Containers have no forward pass that could gather their parameters.
        is_container = isinstance(module, (nn.ModuleList, nn.ModuleDict))
        return nonwrapped_numel >= self._size and (recurse or not is_container)


def _inner_first(model: nn.Module) -> list[nn.Module]:
    return [module for module in reversed(list(model.modules())) if module is not model]
