"""Decorators that keep old names working and say what to use instead."""

import functools
import inspect
import textwrap
import warnings
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from mmengine.utils.errors import ArgumentError

F = TypeVar('F', bound=Callable[..., Any])


def deprecated_api_warning(
    name_dict: Mapping[str, str], cls_name: str | None = None
) -> Callable[[F], F]:
    """Accept the old names of some arguments, with a ``DeprecationWarning``.

    Args:
        name_dict: New name of each old argument name.
        cls_name: Class that the decorated method belongs to, for the message.

    Raises:
        ArgumentError: When the decorated function is called with both the old and the new name.

    Example:
        >>> @deprecated_api_warning({'size': 'scale'})
        ... def resize(scale): ...
    """

    def decorate(func: F) -> F:
        full_name = f'{cls_name}.{func.__name__}' if cls_name else func.__name__

        @functools.wraps(func)
        def renamed(*args: Any, **kwargs: Any) -> Any:
            for old in kwargs.keys() & name_dict.keys():
                new = name_dict[old]
                if new in kwargs:
                    raise ArgumentError(
                        f'{full_name} got both {old!r} and {new!r}, which mean the same. '
                        f'Pass {new!r} only.'
                    )
                warnings.warn(
                    f'Argument {old!r} of {full_name} is deprecated, use {new!r} instead.',
                    DeprecationWarning,
                    stacklevel=2,
                )
                kwargs[new] = kwargs.pop(old)
            return func(*args, **kwargs)

        return renamed  # type: ignore[return-value]  # same signature as func, through wraps

    return decorate


def deprecated_function(since: str, removed_in: str, instructions: str) -> Callable[[F], F]:
    """Mark a function as deprecated: a warning at each call, a note in its docstring.

    Args:
        since: Version that deprecates it.
        removed_in: Version that removes it.
        instructions: What to do instead, as the rest of a sentence that starts with "Please".
    """

    def decorate(func: F) -> F:
        name = f'{func.__module__}.{func.__qualname__}'

        @functools.wraps(func)
        def warned(*args: Any, **kwargs: Any) -> Any:
            warnings.warn(
                f'{name} is deprecated since version {since} and goes in version {removed_in}. '
                f'Please {instructions}.',
                DeprecationWarning,
                stacklevel=2,
            )
            return func(*args, **kwargs)

        note = textwrap.indent(f'Goes in version {removed_in}.\nPlease {instructions}.', ' ' * 4)
        own = inspect.cleandoc(func.__doc__ or '')
        warned.__doc__ = f'.. deprecated:: {since}\n{note}\n\n{own}'.rstrip() + '\n'
        return warned  # type: ignore[return-value]  # same signature as func, through wraps

    return decorate
