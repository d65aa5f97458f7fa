"""Types that a config names by their import path."""

import sys
from typing import Any

from mmengine.utils import get_object_from_string


def is_loaded(path: str) -> bool:
    """Whether ``a.b.C`` is an object of a module of a package that is imported already."""
    module_name, _, attribute = path.rpartition('.')
    return '.' in module_name and callable(getattr(sys.modules.get(module_name), attribute, None))


def imported(path: str) -> Any:
    """What ``package.module.Class`` means in Python; None if it means nothing."""
    module_name, _, attribute = path.rpartition('.')
    found = getattr(sys.modules.get(module_name), attribute, None)
    if found is None and all(part.isidentifier() for part in path.split('.')):
        found = get_object_from_string(path)
    return found
