"""Questions about classes, and objects found by their dotted name."""

import importlib
import warnings
from collections.abc import Iterable
from types import ModuleType
from typing import Any

from mmengine.utils.errors import ArgumentError


def has_method(obj: object, method: str) -> bool:
    """Whether ``obj`` has a method with this name."""
    return callable(getattr(obj, method, None))


def is_method_overridden(method: str, base_class: type, derived_class: Any) -> bool:
    """Whether a class, or the class of an instance, overrides a method of ``base_class``.

    Args:
        method: Name of the method.
        base_class: The class that defines the method.
        derived_class: A subclass, or an instance of one.

    Raises:
        ArgumentError: If ``base_class`` is not a class.
    """
    if not isinstance(base_class, type):
        raise ArgumentError(
            f'base_class must be a class, got an instance of {type(base_class).__name__}.'
        )
    owner = derived_class if isinstance(derived_class, type) else type(derived_class)
    return getattr(owner, method) is not getattr(base_class, method)


def get_object_from_string(obj_name: str) -> Any:
    """The module, class, function or attribute that a dotted name means; None when there is none.

    An error raised by importing one of the modules is not hidden.

    Example:
        >>> get_object_from_string('collections.OrderedDict.items')
        <method 'items' of 'collections.OrderedDict' objects>
    """
    parts = obj_name.split('.')
    for depth in range(len(parts), 0, -1):
        module_name = '.'.join(parts[:depth])
        try:
            found: Any = importlib.import_module(module_name)
        except ModuleNotFoundError as error:
            # Look for an attribute only if the module itself is missing, not one that it imports.
            if error.name is None or not (module_name + '.').startswith(error.name + '.'):
                raise
            continue
        for attribute in parts[depth:]:
            found = getattr(found, attribute, None)
        return found
    return None


def import_modules_from_strings(
    imports: str | list[str] | None, allow_failed_imports: bool = False
) -> ModuleType | list[ModuleType | None] | None:
    """Import modules given by name.

    Args:
        imports: One module name, or a list of them; nothing happens when it is empty.
        allow_failed_imports: A module that cannot be imported gives a warning and None in place of
            an error.

    Returns:
        The module for one name, the modules in order for a list, None for an empty argument.

    Raises:
        TypeError: If ``imports`` is neither a string nor a list of strings.
        ImportError: If a module cannot be imported.
    """
    if not imports:
        return None
    if isinstance(imports, str):
        return _import_one(imports, allow_failed_imports)
    if not isinstance(imports, Iterable):
        raise TypeError(
            f'imports must be a module name or a list of them, got {type(imports).__name__}.'
        )
    names = list(imports)
    for name in names:
        if not isinstance(name, str):
            raise TypeError(f'imports must hold module names, got {name!r} among them.')
    return [_import_one(name, allow_failed_imports) for name in names]


def _import_one(name: str, may_fail: bool) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        message = f'Could not import {name!r}: {error}'
        if not may_fail:
            raise ImportError(message, name=error.name, path=error.path) from error
        warnings.warn(message, UserWarning, stacklevel=3)
        return None
