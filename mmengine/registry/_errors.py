"""The errors of registries, and how they name classes and functions."""

import inspect
from typing import Any

from mmengine.utils._public_name import public_module


class RegistryKeyError(KeyError):
    """A KeyError that prints its message; a plain KeyError would print the message's repr."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ''


class ComponentArgumentError(TypeError):
    """A config has arguments that its class does not take, or lacks required ones."""


def name_of(component: Any) -> str:
    """Import path of a class or function."""
    name: str | None = getattr(component, '__qualname__', None)
    if name is None:
        return repr(component)
    module = public_module(component)
    return name if module in ('', 'builtins', '__main__') else f'{module}.{name}'


def name_taken(registry_title: str, name: str, registered: Any, component: Any) -> KeyError:
    """The error for registering ``component`` under a name that another component has."""
    old, new = (f'{name_of(c)}{_defined_at(c)}' for c in (registered, component))
    return RegistryKeyError(
        f'{name!r} is already registered in the {registry_title}: it is {old}, and now {new} '
        'wants the same name. Give it another name=..., or replace the first with force=True.'
    )


def _defined_at(component: Any) -> str:
    code = getattr(component, '__code__', None)
    if code is not None:
        return f' ({code.co_filename}:{code.co_firstlineno})'
    try:
        file = inspect.getsourcefile(component)
        line = inspect.getsourcelines(component)[1]
    except (OSError, TypeError):  # made at run time, in a notebook, or in C
        return ''
    return f' ({file}:{line})'
