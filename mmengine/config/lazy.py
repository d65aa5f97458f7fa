"""Names that a config imports lazily: they are resolved when they are first used."""

from __future__ import annotations

import importlib
from importlib.util import find_spec
from typing import Any

from mmengine.config.errors import ConfigImportError
from mmengine.utils.errors import did_you_mean


class LazyObject:
    """A name from ``import module`` or ``from module import imported`` in a config.

    Its attributes are :class:`LazyAttr`. Nothing is imported before :meth:`build`.

    Args:
        module: Dotted module name.
        imported: Name taken from the module; None for the module itself.
        location: File and line of the import, for errors.
    """

    def __init__(
        self,
        module: str | list[str] | tuple[str, ...],
        imported: str | None = None,
        location: str | None = None,
    ) -> None:
        names = (module,) if isinstance(module, str) else module
        if (
            not isinstance(names, (list, tuple))
            or not all(isinstance(n, str) for n in names)
            or not names
        ):
            raise TypeError(f'module must be a module name (or several), got {module!r}')
        if imported is not None and not isinstance(imported, str):
            raise TypeError(f'imported must be a name, got {imported!r}')
        # `import a.b` and `import a.c` bind the one name `a`, and import both modules below it.
        self._modules = tuple(names)
        self._module = module if isinstance(module, str) else names[0].partition('.')[0]
        self._imported = imported
        self.location = location

    @property
    def module(self) -> str:
        return self._module

    def build(self) -> Any:
        """Import, and return the module or the name taken from it.

        Raises:
            ImportError: If the module or the name in it does not exist. The message says where the
                config imports it.
        """
        for name in self._modules:
            _import(name, self.location)
        loaded = importlib.import_module(self._module)
        if self._imported is None:
            return loaded
        if hasattr(loaded, self._imported):
            return getattr(loaded, self._imported)
        if _is_module(loaded, self._imported):
            return _import(dotted_name(self), self.location)
        raise _no_such_name(loaded, self._imported, self.location)

    def __getattr__(self, name: str) -> LazyAttr:
        if _is_protocol(name):
            raise AttributeError(name)
        return LazyAttr(name, self, self.location)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise _called(self, self.location)

    def __deepcopy__(self, memo: Any) -> LazyObject:
        return LazyObject(self._given_module(), self._imported, self.location)

    def __eq__(self, other: object) -> bool:
        return _stands_for_same(self, other)

    def __hash__(self) -> int:
        return hash(dotted_name(self))

    def __repr__(self) -> str:
        return self._imported or self._module

    def _given_module(self) -> str | tuple[str, ...]:
        return self._module if self._modules == (self._module,) else self._modules

    def __reduce__(self) -> tuple[Any, ...]:
        return LazyObject, (self._given_module(), self._imported, self.location)


class LazyAttr:
    """An attribute of a lazy name, itself lazy: ``nn.Conv2d`` after ``import torch.nn as nn``."""

    def __init__(
        self, name: str, source: LazyObject | LazyAttr, location: str | None = None
    ) -> None:
        if not isinstance(name, str) or not isinstance(source, (LazyObject, LazyAttr)):
            raise TypeError(
                f'a lazy attribute has a name and a lazy source, got {name!r} of {source!r}'
            )
        self._name = name
        self.source = source
        self.location = location

    @property
    def name(self) -> str:
        return self._name

    @property
    def module(self) -> str:
        """Import path of what the attribute is read from."""
        return dotted_name(self.source)

    def build(self) -> Any:
        """Import what is needed, and return the attribute.

        Raises:
            ImportError: If the module or the attribute does not exist. The message says where the
                config uses it.
        """
        owner = self.source.build()
        try:
            return getattr(owner, self._name)
        except AttributeError:
            raise _no_such_name(owner, self._name, self.location) from None

    def __getattr__(self, name: str) -> LazyAttr:
        if _is_protocol(name):
            raise AttributeError(name)
        return LazyAttr(name, self, self.location)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise _called(self, self.location)

    def __deepcopy__(self, memo: Any) -> LazyAttr:
        return LazyAttr(self._name, self.source, self.location)

    def __eq__(self, other: object) -> bool:
        return _stands_for_same(self, other)

    def __hash__(self) -> int:
        return hash(dotted_name(self))

    def __repr__(self) -> str:
        return self._name

    def __reduce__(self) -> tuple[Any, ...]:
        return LazyAttr, (self._name, self.source, self.location)


def built(value: Any) -> Any:
    """``value`` itself, or the imported object if it is lazy."""
    return value.build() if isinstance(value, (LazyObject, LazyAttr)) else value


def dotted_name(lazy: LazyObject | LazyAttr) -> str:
    """The full import path, as a text-style config writes it: ``'torch.optim.SGD'``."""
    if isinstance(lazy, LazyAttr):
        return f'{dotted_name(lazy.source)}.{lazy.name}'
    return lazy.module if lazy._imported is None else f'{lazy.module}.{lazy._imported}'


def _stands_for_same(lazy: LazyObject | LazyAttr, other: object) -> bool:
    if isinstance(other, (LazyObject, LazyAttr)):
        return dotted_name(lazy) == dotted_name(other)
    # Import for the comparison only when the names agree.
    name = getattr(other, '__name__', '')
    is_candidate = (
        isinstance(name, str) and name.rpartition('.')[2] == repr(lazy).rpartition('.')[2]
    )
    return is_candidate and lazy.build() is other


def _is_protocol(name: str) -> bool:
    """Names that Python (``__len__``) and notebooks (``_repr_html_``) use to probe an object."""
    return name.startswith('_') and name.endswith('_')


def _is_module(parent: Any, name: str) -> bool:
    return hasattr(parent, '__path__') and find_spec(f'{parent.__name__}.{name}') is not None


def _import(name: str, location: str | None) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigImportError(f'cannot import {name!r}{_at(location)}: {error}') from error


def _no_such_name(owner: Any, name: str, location: str | None) -> ConfigImportError:
    owner_name = getattr(owner, '__name__', type(owner).__name__)
    return ConfigImportError(
        f'{owner_name!r} has no {name!r}{_at(location)}.{did_you_mean(name, dir(owner))}'
    )


def _called(lazy: LazyObject | LazyAttr, location: str | None) -> RuntimeError:
    return RuntimeError(
        f'{dotted_name(lazy)} is imported only when the config is used, so the config file cannot '
        f'call it{_at(location)}. Write dict(type={lazy}, ...), or load with lazy_import=False.'
    )


def _at(location: str | None) -> str:
    return f' ({location})' if location else ''
