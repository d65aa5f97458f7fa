"""Redirects the forward pass in the training step of a wrapped model through the wrapper."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

_CALL = '__call__'
# nn.Module.__call__ calls this attribute of a module and nothing else, if there is one.
_CALLED = '_compiled_call_impl'


@contextmanager
def forward_through(wrapper: Any, model: nn.Module) -> Iterator[Redirect]:
    """Context in which a call of ``model`` becomes a call of ``wrapper``, which calls ``model``.

    So the training step of the model, which is written only once, also runs the additional work of
    the wrapper: DDP prepares the exchange of gradients, FSDP gathers parameters. Within the context
    ``model.no_sync`` is ``wrapper.no_sync``. Hooks of the model run once per call. The model keeps
    its class, and no class is made: a family of models may register its subclasses.

    Args:
        wrapper: The wrapper, whose ``forward`` calls ``model``.
        model: The wrapped model.
    """
    is_usual = type(model).__call__ is nn.Module._wrapped_call_impl
    redirect = Redirect(wrapper, model) if is_usual else _ClassRedirect(wrapper, model)
    own = model.__dict__
    if hasattr(wrapper, 'no_sync'):
        own['no_sync'] = NoSync(wrapper)
    redirect.begin()
    try:
        yield redirect
    finally:
        redirect.end()
        own.pop('no_sync', None)


class _NotCopied:
    """Copies and pickles of the model are without the wrapper: they have None in this place."""

    def __reduce__(self) -> tuple[Any, ...]:
        return type(None), ()


class NoSync(_NotCopied):
    """``no_sync`` of the wrapper, as an attribute of the model."""

    def __init__(self, wrapper: Any) -> None:
        self.wrapper = wrapper

    def __call__(self) -> Any:
        return self.wrapper.no_sync()


class Redirect(_NotCopied):
    """Takes over the calls of one model, through the attribute that ``Module.compile`` sets."""

    def __init__(self, wrapper: Any, model: nn.Module) -> None:
        self._wrapper = wrapper
        self._model = model
        self._before: Any = None  # what the attribute was: a compiled call, or nothing

    def begin(self) -> None:
        """From now on calls of the model are calls of the wrapper."""
        own = self._model.__dict__
        self._before = own.get(_CALLED)
        own[_CALLED] = self

    def end(self) -> None:
        """From now on calls of the model are its own."""
        own = self._model.__dict__
        if self._before is None:
            del own[_CALLED]
        else:
            own[_CALLED] = self._before

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.end()  # the wrapper calls the model itself
        try:
            return self._wrapper(*args, **kwargs)
        finally:
            self.begin()


class _ClassRedirect(Redirect):
    """Takes over the calls of a model whose class has a ``__call__`` other than torch's.

    That method should run once per call, inside the wrapper. So the class that defines it has
    another one for the time being, which changes nothing for other objects.
    """

    def __init__(self, wrapper: Any, model: nn.Module) -> None:
        super().__init__(wrapper, model)
        self._owner = next(cls for cls in type(model).__mro__ if _CALL in vars(cls))

    def begin(self) -> None:
        before = self._before = vars(self._owner)[_CALL]

        def call(module: Any, *args: Any, **kwargs: Any) -> Any:
            return (self if module is self._model else before.__get__(module))(*args, **kwargs)

        setattr(self._owner, _CALL, call)

    def end(self) -> None:
        setattr(self._owner, _CALL, self._before)
