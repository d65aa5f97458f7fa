"""Where users import a class or function from, which may not be where it is defined."""

from __future__ import annotations

import sys
from typing import Any


def public_module(component: Any) -> str:
    """The module from which ``component`` is imported; empty if it has none.

    A package may define its classes in a private module: Python 3.13 has the paths in
    ``pathlib._local``, which other versions do not have. Then it is the package, if that has the
    same object.

    Args:
        component: A class or function.
    """
    module: str = getattr(component, '__module__', None) or ''
    parts = module.split('.')
    private = next((at for at, part in enumerate(parts) if part.startswith('_')), 0)
    package = '.'.join(parts[:private])
    first = getattr(component, '__qualname__', '').partition('.')[0]
    # Not getattr, by which some packages import what they have.
    here, above = (
        getattr(sys.modules.get(name), '__dict__', {}).get(first) for name in (module, package)
    )
    return package if above is not None and above is here else module


def public_name(component: Any) -> str:
    """The import path of a class or function."""
    return f'{public_module(component)}.{component.__qualname__}'
