"""Redirects the forward pass in the training step of a wrapped model through the wrapper."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def forward_through(wrapper: nn.Module, model: nn.Module) -> Iterator[None]:
    """Context in which a call of ``model`` becomes a call of ``wrapper``, which calls ``model``.

    So the training step of the model, which is written only once, also runs the additional work of
    the wrapper: DDP prepares the exchange of gradients, FSDP gathers parameters. Within the context
    ``model.no_sync`` is ``wrapper.no_sync``. Hooks of the model run once per call. The class of the
    model is a subclass meanwhile, because a compiler that follows the step sees calls of a class.

    Args:
        wrapper: The wrapper, whose ``forward`` calls ``model``.
        model: The wrapped model.
    """
    own = type(model)
    model.__class__ = _redirected(own)
    model.__dict__['_redirected_to'] = wrapper
    try:
        yield
    finally:
        model.__class__ = own
        model.__dict__.pop('_redirected_to', None)


def _call(self: Any, *args: Any, **kwargs: Any) -> Any:
    redirected, wrapper = type(self), self.__dict__['_redirected_to']
    self.__class__ = redirected._redirected_from  # the wrapper calls the model itself
    try:
        return wrapper(*args, **kwargs)
    finally:
        self.__class__ = redirected


def _reduce_ex(self: Any, protocol: Any) -> Any:
    """Copies and pickles are of the model as it is written, without the wrapper."""
    redirected, wrapper = type(self), self.__dict__.pop('_redirected_to')
    self.__class__ = redirected._redirected_from
    try:
        make, arguments, state, *rest = (*self.__reduce_ex__(protocol), None, None)[:6]
        # The state is the model's own dict, in which the wrapper is again when this returns.
        return make, arguments, dict(state) if state is self.__dict__ else state, *rest[:2]
    finally:
        self.__class__ = redirected
        self.__dict__['_redirected_to'] = wrapper


def _no_sync(self: Any) -> Any:
    return self.__dict__['_redirected_to'].no_sync()


_CLASSES: dict[type, type] = {}


def _redirected(own: type) -> type:
    """A cached subclass of ``own`` whose calls are redirected to the wrapper."""
    made = _CLASSES.get(own)
    if made is None:
        methods: dict[str, Callable[..., Any]] = {
            '__call__': _call, '__reduce_ex__': _reduce_ex, 'no_sync': _no_sync
        }  # fmt: skip
        names = {'__module__': own.__module__, '_redirected_from': own}
        made = _CLASSES[own] = _subclass(own, {**methods, **names})
        made.__qualname__ = own.__qualname__
    return made


def _subclass(own: type, names: dict[str, Any]) -> type:
    """A subclass of ``own`` of which its ``__init_subclass__`` does not hear.

    That method may register subclasses, or need keywords. A class that gets its base later does not
    call it. A class with slots cannot get a base later, so it hears.
    """
    made = type(own)(own.__name__, (nn.Module,), dict(names))
    try:
        made.__bases__ = (own,)
    except TypeError:
        return type(own.__name__, (own,), names)
    return made
