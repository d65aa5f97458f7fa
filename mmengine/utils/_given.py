"""Which arguments a caller gave, for defaults that depend on what is not known yet."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, TypeVar

_Init = TypeVar('_Init', bound=Callable[..., None])


def notes_given(init: _Init) -> _Init:
    """Let a constructor note the names of the arguments that it is called with.

    A default value in a signature cannot tell whether the caller chose it. :func:`is_given` can. If
    the constructors of a class and of its bases note, the call of the first one counts. An argument
    that a constructor passes on to one that notes is given.
    """
    names = [*inspect.signature(init).parameters][1:]

    @functools.wraps(init)
    def noting(self: Any, *args: Any, **kwargs: Any) -> None:
        if '_given' not in vars(self):
            self._given = {*names[: len(args)], *kwargs}
        init(self, *args, **kwargs)

    noting.takes_the_same = True  # type: ignore[attr-defined]  # for readers of signatures
    return noting  # type: ignore[return-value]  # it has the signature of `init`


def is_given(owner: Any, name: str) -> bool:
    """Whether the constructor of ``owner`` was called with the argument ``name``.

    True for an object whose constructor does not note it, for example because a subclass does not
    call the constructor of its base: such an object stays as it is.
    """
    given = getattr(owner, '_given', None)
    return given is None or name in given


def follow(owner: Any, name: str, value: bool) -> bool:
    """Set an attribute whose argument was not given, and whose default in the signature is True.

    An attribute that was assigned since the constructor, or since the last call, keeps its value.

    Returns:
        Whether the attribute has ``value`` because of this or an earlier call.
    """
    followed: dict[str, bool] = vars(owner).setdefault('_followed', {})
    if is_given(owner, name) or getattr(owner, name) is not followed.get(name, True):
        return False
    setattr(owner, name, value)
    followed[name] = value
    return True
