"""Decorators that check for required packages and programs before a function runs."""

import functools
import importlib.util
import shutil
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar('F', bound=Callable[..., Any])


def check_prerequisites(
    prerequisites: str | list[str],
    checker: Callable[[str], bool],
    msg_tmpl: str = 'Prerequisites "{}" are required in method "{}" but not found, '
    'please install them first.',
) -> Callable[[F], F]:
    """Check what a function needs each time it is called.

    Args:
        prerequisites: One name or several.
        checker: Returns whether a name is available.
        msg_tmpl: Message of the error, with two places: the missing names and the function.

    Raises:
        RuntimeError: When the decorated function is called and something is missing.
    """
    names = [prerequisites] if isinstance(prerequisites, str) else list(prerequisites)

    def decorate(func: F) -> F:
        @functools.wraps(func)
        def checked(*args: Any, **kwargs: Any) -> Any:
            missing = [name for name in names if not checker(name)]
            if missing:
                raise RuntimeError(msg_tmpl.format(', '.join(missing), func.__name__))
            return func(*args, **kwargs)

        return checked  # type: ignore[return-value]  # same signature as func, through wraps

    return decorate


def _check_py_package(package: str) -> bool:
    """Whether a Python module of this name can be imported; the module itself is not run."""
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # the parent of a dotted name is missing
        return False


def _check_executable(cmd: str) -> bool:
    """Whether a program of this name is on the PATH."""
    return shutil.which(cmd) is not None


def requires_package(prerequisites: str | list[str]) -> Callable[[F], F]:
    """:func:`check_prerequisites` for Python packages, by import name.

    Example:
        >>> @requires_package('torch')
        ... def train(): return 'trained'
        >>> train()
        'trained'
    """
    return check_prerequisites(prerequisites, checker=_check_py_package)


def requires_executable(prerequisites: str | list[str]) -> Callable[[F], F]:
    """:func:`check_prerequisites` for programs on the PATH."""
    return check_prerequisites(prerequisites, checker=_check_executable)
