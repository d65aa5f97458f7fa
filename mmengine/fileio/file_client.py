"""``FileClient``, the old interface of backends. New code uses :mod:`mmengine.fileio`."""

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.fileio.backends import (
    BaseStorageBackend,
    FsspecBackend,
    HTTPBackend,
    LmdbBackend,
    LocalBackend,
    MemcachedBackend,
    PetrelBackend,
)
from mmengine.fileio.backends.registry_utils import (
    _add_backend,
    _parse_uri_prefix,
    backend_of_prefix,
)
from mmengine.utils.errors import ArgumentError, did_you_mean

Location = str | Path


class HardDiskBackend(LocalBackend):
    """:class:`LocalBackend` under its old name."""


class FileClient:
    """One backend, chosen by its name or by a prefix; the same arguments return the same client.

    Args:
        backend: ``disk``, ``http``, ``petrel``, ``fsspec``, ``lmdb``, ``memcached``, or a name
            registered here.
        prefix: A prefix that chooses the backend when ``backend`` is None.
        kwargs: Arguments of the backend.

    Raises:
        ArgumentError: If no backend has the name or the prefix.
    """

    _backends: dict[str, type[BaseStorageBackend]] = {
        'disk': HardDiskBackend,
        'memcached': MemcachedBackend,
        'lmdb': LmdbBackend,
        'petrel': PetrelBackend,
        'http': HTTPBackend,
        'fsspec': FsspecBackend,
    }
    _prefix_to_backends: dict[str, type[BaseStorageBackend]] = {
        's3': PetrelBackend,
        'petrel': PetrelBackend,
        'http': HTTPBackend,
        'https': HTTPBackend,
    }
    # By the arguments as text, such as 'disk:None' or 'None:s3:enable_mc:True': what projects read.
    _instances: dict[str, 'FileClient'] = {}
    client: Any
    _made_from: tuple[type[BaseStorageBackend], dict[str, Any]]

    def __new__(
        cls, backend: str | None = None, prefix: str | None = None, **kwargs: Any
    ) -> 'FileClient':
        """The client of a backend, made at the first call."""
        warnings.warn(
            'FileClient and file_client_args are deprecated: use the functions of mmengine.fileio '
            'and their backend_args.',
            DeprecationWarning,
            stacklevel=2,
        )
        if backend is None and prefix is None:
            backend = 'disk'
        made_from = (cls._backend_class(backend, prefix), kwargs)
        parts = [backend, prefix, *(part for item in kwargs.items() for part in item)]
        key = ':'.join(str(part) for part in parts)
        known = cls._instances.get(key)
        # One text may stand for several arguments, and a name may be registered anew.
        if known is not None and known._made_from == made_from:
            return known
        made = super().__new__(cls)
        made.client = made_from[0](**kwargs)
        made._made_from = made_from
        cls._instances[key] = made
        return made

    @classmethod
    def _backend_class(cls, backend: str | None, prefix: str | None) -> type[BaseStorageBackend]:
        if backend is not None:
            kind, wanted, table = 'name', backend, cls._backends
            found = table.get(wanted)
        else:
            kind, wanted, table = 'prefix', str(prefix), cls._prefix_to_backends
            found = backend_of_prefix(wanted, table)
        if found is None:
            raise ArgumentError(
                f'No file client has the {kind} {wanted!r}; known are {sorted(table)}.'
                + did_you_mean(wanted, table)
            )
        return found

    @property
    def name(self) -> str:
        """Name of the backend's class."""
        return str(self.client.name)

    @property
    def allow_symlink(self) -> bool:
        """Whether the backend can make links."""
        return bool(self.client.allow_symlink)

    @staticmethod
    def parse_uri_prefix(uri: Location) -> str | None:
        """The part before ``://``; None for a plain path."""
        return _parse_uri_prefix(uri) or None

    @classmethod
    def infer_client(
        cls, file_client_args: dict[str, Any] | None = None, uri: Location | None = None
    ) -> 'FileClient':
        """The client for arguments, or for the prefix of an address when there are none.

        Raises:
            ArgumentError: If neither is given.
        """
        if file_client_args is not None:
            return cls(**file_client_args)
        if uri is None:
            raise ArgumentError('infer_client needs file_client_args or a uri.')
        return cls(prefix=cls.parse_uri_prefix(uri))

    @classmethod
    def register_backend(
        cls,
        name: str,
        backend: type[BaseStorageBackend] | None = None,
        force: bool = False,
        prefixes: str | Iterable[str] | None = None,
    ) -> Any:
        """Register a backend for file clients; see :func:`mmengine.fileio.register_backend`."""

        def enter(entered: type[BaseStorageBackend]) -> type[BaseStorageBackend]:
            _add_backend(cls._backends, cls._prefix_to_backends, name, entered, force, prefixes)
            return entered

        if backend is None:
            return enter
        enter(backend)
        return None

    def get(self, filepath: Location) -> bytes:
        """The content of a file."""
        content: bytes = self.client.get(filepath)
        return content

    def get_text(self, filepath: Location, encoding: str = 'utf-8') -> str:
        """The content of a file as text."""
        return str(self.client.get_text(filepath, encoding))

    def put(self, obj: bytes, filepath: Location) -> None:
        """Write a file; missing folders are made."""
        self.client.put(obj, filepath)

    def put_text(self, obj: str, filepath: Location) -> None:
        """Write text into a file, in UTF-8; missing folders are made."""
        self.client.put_text(obj, filepath)

    def remove(self, filepath: Location) -> None:
        """Delete a file."""
        self.client.remove(filepath)

    def exists(self, filepath: Location) -> bool:
        """Whether there is a file or a folder."""
        return bool(self.client.exists(filepath))

    def isdir(self, filepath: Location) -> bool:
        """Whether there is a folder."""
        return bool(self.client.isdir(filepath))

    def isfile(self, filepath: Location) -> bool:
        """Whether there is a file."""
        return bool(self.client.isfile(filepath))

    def join_path(self, filepath: Location, *filepaths: Location) -> str:
        """Join the parts of a path."""
        return str(self.client.join_path(filepath, *filepaths))

    @contextmanager
    def get_local_path(self, filepath: Location) -> Iterator[str]:
        """A local path of a file, valid inside the ``with`` block."""
        with self.client.get_local_path(str(filepath)) as path:
            yield str(path)

    def list_dir_or_file(
        self,
        dir_path: Location,
        list_dir: bool = True,
        list_file: bool = True,
        suffix: str | tuple[str, ...] | None = None,
        recursive: bool = False,
    ) -> Iterator[str]:
        """What is in a folder, as paths relative to it."""
        yield from self.client.list_dir_or_file(dir_path, list_dir, list_file, suffix, recursive)
