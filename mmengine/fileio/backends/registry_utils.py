"""Backends by name and by the prefix of an address."""

import sys
from collections.abc import Callable, Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeVar, overload

from mmengine.fileio.backends.base import BaseStorageBackend
from mmengine.fileio.backends.fsspec_backend import FsspecBackend, serves_prefix
from mmengine.fileio.backends.http_backend import HTTPBackend
from mmengine.fileio.backends.lmdb_backend import LmdbBackend
from mmengine.fileio.backends.local_backend import LocalBackend
from mmengine.fileio.backends.memcached_backend import MemcachedBackend
from mmengine.fileio.backends.petrel_backend import PetrelBackend
from mmengine.utils.errors import ArgumentError

B = TypeVar('B', bound=type[BaseStorageBackend])

backends: dict[str, type[BaseStorageBackend]] = {}
prefix_to_backends: dict[str, type[BaseStorageBackend]] = {}


def _parse_uri_prefix(uri: str | Path) -> str:
    """The part before ``://`` without a cluster name (``cluster:s3://``); empty for a plain path.

    In a chain (``simplecache::s3://``) the first part counts.
    """
    prefix, separator, _ = str(uri).partition('://')
    if not separator:
        return ''
    chained, chain, _ = prefix.partition('::')
    return chained if chain else prefix.rpartition(':')[2]


def backend_of_prefix(
    prefix: str, table: Mapping[str, type[BaseStorageBackend]]
) -> type[BaseStorageBackend] | None:
    """The backend for a prefix: from the table, or the fsspec backend if it supports the prefix.

    The table maps ``s3`` to the petrel client. Only a few clusters have that client; if it cannot
    be imported, fsspec is used.
    """
    backend = table.get(prefix)
    if backend is PetrelBackend and prefix == 's3' and not _has_petrel_client():
        return FsspecBackend
    if backend is None and serves_prefix(prefix):
        return FsspecBackend
    return backend


def _has_petrel_client() -> bool:
    if 'petrel_client' in sys.modules:
        return sys.modules['petrel_client'] is not None
    return find_spec('petrel_client') is not None


def _register_backend(
    name: str,
    backend: type[BaseStorageBackend],
    force: bool = False,
    prefixes: str | Iterable[str] | None = None,
) -> None:
    _add_backend(backends, prefix_to_backends, name, backend, force, prefixes)


def _add_backend(
    by_name: dict[str, type[BaseStorageBackend]],
    by_prefix: dict[str, type[BaseStorageBackend]],
    name: str,
    backend: type[BaseStorageBackend],
    force: bool,
    prefixes: str | Iterable[str] | None,
) -> None:
    """Add a backend to both tables. On an error neither table changes."""
    if not isinstance(name, str):
        raise TypeError(f'The name of a backend must be a string, got {type(name).__name__}.')
    if not (isinstance(backend, type) and issubclass(backend, BaseStorageBackend)):
        raise TypeError(f'A backend must be a subclass of BaseStorageBackend, got {backend!r}.')
    if prefixes is None:
        prefixes = ()
    elif isinstance(prefixes, str):
        prefixes = (prefixes,)
    elif not isinstance(prefixes, Iterable):
        raise ArgumentError(f'prefixes must be a string or a list of strings, got {prefixes!r}.')
    prefixes = tuple(prefixes)
    if not force:
        taken = [f'prefix {prefix!r}' for prefix in prefixes if prefix in by_prefix]
        if name in by_name:
            taken.insert(0, f'name {name!r}')
        if taken:
            raise ArgumentError(
                f'Another backend has the {" and the ".join(taken)}; force=True replaces it.'
            )
    by_name[name] = backend
    by_prefix.update(dict.fromkeys(prefixes, backend))


@overload
def register_backend(
    name: str,
    backend: type[BaseStorageBackend],
    force: bool = False,
    prefixes: str | Iterable[str] | None = None,
) -> None: ...


@overload
def register_backend(
    name: str,
    backend: None = None,
    force: bool = False,
    prefixes: str | Iterable[str] | None = None,
) -> Callable[[B], B]: ...


def register_backend(
    name: str,
    backend: Any = None,
    force: bool = False,
    prefixes: str | Iterable[str] | None = None,
) -> Any:
    """Register a backend under a name, and under prefixes of addresses.

    Args:
        name: The name, for ``backend_args=dict(backend=name)``.
        backend: The class; without it a decorator for the class is returned.
        force: Replace a backend that has the name or a prefix already.
        prefixes: The part before ``://`` of its addresses.

    Raises:
        TypeError: If the name is not a string or the class is not a backend.
        ArgumentError: If the name or a prefix is taken and ``force`` is False.

    Example:
        >>> @register_backend('memory', prefixes='mem')
        ... class MemoryBackend(BaseStorageBackend):
        ...     def get(self, filepath):
        ...         return b'...'
    """
    if backend is not None:
        _register_backend(name, backend, force=force, prefixes=prefixes)
        return None

    def decorate(cls: B) -> B:
        _register_backend(name, cls, force=force, prefixes=prefixes)
        return cls

    return decorate


_register_backend('local', LocalBackend, prefixes='')
_register_backend('memcached', MemcachedBackend)
_register_backend('lmdb', LmdbBackend)
_register_backend('petrel', PetrelBackend, prefixes=['petrel', 's3'])
_register_backend('fsspec', FsspecBackend)
_register_backend('http', HTTPBackend, prefixes=['http', 'https'])
