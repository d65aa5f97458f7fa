"""Files in object stores, through the petrel client (``s3://`` and ``petrel://``)."""

import re
from collections.abc import Iterator
from typing import Any

from mmengine.fileio.backends.base import BaseStorageBackend, Location, check_suffix, is_listed


class PetrelBackend(BaseStorageBackend):
    """Reads and writes objects through ``petrel_client``.

    A folder is a prefix of names that ends in ``/``.

    Args:
        path_mapping: Prefixes of paths and their replacements, so that a local path in a config can
            mean an object.
        enable_mc: Let the client cache in memcached.
        conf_path: Configuration file of the client; the client's own default when None.

    Raises:
        ImportError: If the client is not installed.
    """

    def __init__(
        self,
        path_mapping: dict[str, str] | None = None,
        enable_mc: bool = True,
        conf_path: str | None = None,
    ) -> None:
        try:
            from petrel_client import client
        except ImportError as error:
            raise ImportError(
                'PetrelBackend needs petrel_client, which comes with your cluster; '
                'no public index has it.'
            ) from error
        if path_mapping is not None and not isinstance(path_mapping, dict):
            raise TypeError(f'path_mapping must be a dict, got {type(path_mapping).__name__}.')
        self._client: Any = client.Client(conf_path=conf_path, enable_mc=enable_mc)
        self.path_mapping = path_mapping or {}

    def _address(self, path: Location) -> str:
        """The address of an object: mapped, with forward slashes only."""
        address = str(path)
        for start, replacement in self.path_mapping.items():
            if address.startswith(start):
                address = replacement + address[len(start) :]
                break
        # The client supports s3:// alone, with or without the name of a cluster before it.
        return re.sub(r'^([^/]*)petrel://', r'\1s3://', address.replace('\\', '/'))

    def _folder(self, path: Location) -> str:
        address = self._address(path)
        return address if address.endswith('/') else address + '/'

    def get(self, filepath: Location) -> bytes:
        """The content of an object.

        Raises:
            FileNotFoundError: If there is none.
        """
        content = self._client.Get(self._address(filepath))
        if content is None:
            raise FileNotFoundError(f'There is no object {self._address(filepath)}.')
        return bytes(content)

    def put(self, obj: bytes, filepath: Location) -> None:
        """Write an object."""
        self._client.put(self._address(filepath), obj)

    def exists(self, filepath: Location) -> bool:
        """Whether there is an object or a folder."""
        return self.isfile(filepath) or self.isdir(filepath)

    def isdir(self, filepath: Location) -> bool:
        """Whether there is a folder: an object whose name starts so."""
        return bool(self._client.isdir(self._address(filepath)))

    def isfile(self, filepath: Location) -> bool:
        """Whether there is an object."""
        return bool(self._client.contains(self._address(filepath)))

    def remove(self, filepath: Location) -> None:
        """Delete an object.

        Raises:
            FileNotFoundError: If there is none.
            IsADirectoryError: If it is a folder.
        """
        if self.isdir(filepath):
            raise IsADirectoryError(
                f'remove deletes files, and {filepath} is a folder: use rmtree.'
            )
        if not self.isfile(filepath):
            raise FileNotFoundError(f'There is no object {self._address(filepath)}.')
        self._client.delete(self._address(filepath))

    def rmtree(self, dir_path: Location) -> None:
        """Delete all objects of a folder."""
        folder = self._folder(dir_path)
        for path in list(self.list_dir_or_file(folder, list_dir=False, recursive=True)):
            self._client.delete(folder + path)

    def list_dir_or_file(
        self,
        dir_path: Location,
        list_dir: bool = True,
        list_file: bool = True,
        suffix: str | tuple[str, ...] | None = None,
        recursive: bool = False,
    ) -> Iterator[str]:
        """See :meth:`BaseStorageBackend.list_dir_or_file`."""
        check_suffix(suffix, list_dir)
        return self._list(self._folder(dir_path), '', list_dir, list_file, suffix, recursive)

    def _list(
        self,
        root: str,
        below: str,
        list_dir: bool,
        list_file: bool,
        suffix: str | tuple[str, ...] | None,
        recursive: bool,
    ) -> Iterator[str]:
        for name in self._client.list(root + below):
            if name.endswith('/'):
                if list_dir:
                    yield below + name.rstrip('/')
                if recursive:
                    yield from self._list(
                        root, below + name, list_dir, list_file, suffix, recursive
                    )
            elif list_file and is_listed(name, suffix):
                yield below + name

    def generate_presigned_url(
        self, url: str, client_method: str = 'get_object', expires_in: int = 3600
    ) -> str:
        """A public address of an object that works for ``expires_in`` seconds."""
        return str(
            self._client.generate_presigned_url(self._address(url), client_method, expires_in)
        )
