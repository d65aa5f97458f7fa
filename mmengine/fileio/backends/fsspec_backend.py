"""Files at every kind of address that fsspec supports: ``s3://``, ``gs://``, ``hf://``, ..."""

import posixpath
import shutil
from collections.abc import Iterator, Mapping
from typing import IO, Any, NoReturn

from mmengine.fileio.backends.base import BaseStorageBackend, Location, check_suffix, is_listed
from mmengine.utils.errors import ArgumentError

# Folders of object stores are prefixes of names. "Making" one could create a bucket.
_OBJECT_STORES = frozenset(
    {'abfs', 'adl', 'az', 'gcs', 'gs', 'hf', 'memory', 'oci', 'oss', 's3', 's3a', 'tos'}
)
_LOCAL = frozenset({'file', 'local'})


class FsspecBackend(BaseStorageBackend):
    """Reads and writes through `fsspec <https://filesystem-spec.readthedocs.io>`_.

    Which addresses work depends on the packages installed beside it: s3fs for ``s3://``, gcsfs for
    ``gs://``, huggingface_hub for ``hf://``; ``memory://`` and ``ftp://`` need none. Chains such as
    ``simplecache::s3://bucket/a.pth`` work too. An object appears whole or not at all in object
    stores; elsewhere that is up to the server.

    Each process (data loader workers too) makes one file system for the same arguments. Files
    written by another process are visible at once, because listings are not cached.

    Args:
        path_mapping: Prefixes of paths and their replacements, so that a local path in a config can
            mean an object.
        kwargs: Arguments of fsspec's file system, such as ``key``, ``secret`` and ``endpoint_url``
            of ``s3://``.

    Raises:
        TypeError: If ``path_mapping`` is not a mapping.

    Example:
        >>> backend = FsspecBackend(path_mapping={'data/': 'memory://example/'})
        >>> backend.put(b'pixels', 'data/image.jpg')
        >>> backend.get('memory://example/image.jpg')
        b'pixels'
    """

    def __init__(self, path_mapping: Mapping[str, str] | None = None, **kwargs: Any) -> None:
        if path_mapping is not None and not isinstance(path_mapping, Mapping):
            raise TypeError(f'path_mapping must be a mapping, got {type(path_mapping).__name__}.')
        self.path_mapping = dict(path_mapping or {})
        self.kwargs = kwargs

    def get(self, filepath: Location) -> bytes:
        """The content of a file.

        Raises:
            FileNotFoundError: If there is none.
        """
        filesystem, path = self._open(filepath)
        return bytes(filesystem.cat_file(path))

    def put(self, obj: bytes, filepath: Location) -> None:
        """Write a file; missing folders are made, missing buckets are not."""
        filesystem, path = self._open_for_writing(filepath)
        filesystem.pipe_file(path, bytes(obj))

    def exists(self, filepath: Location) -> bool:
        """Whether there is a file or a folder."""
        filesystem, path = self._open(filepath)
        return bool(filesystem.exists(path))

    def isdir(self, filepath: Location) -> bool:
        """Whether there is a folder."""
        filesystem, path = self._open(filepath)
        return bool(filesystem.isdir(path))

    def isfile(self, filepath: Location) -> bool:
        """Whether there is a file."""
        filesystem, path = self._open(filepath)
        return bool(filesystem.isfile(path))

    def remove(self, filepath: Location) -> None:
        """Delete a file.

        Raises:
            FileNotFoundError: If it is missing.
            IsADirectoryError: If it is a folder.
        """
        filesystem, path = self._open(filepath)
        # Check first, because object stores do not report that an object is missing.
        if filesystem.info(path)['type'] == 'directory':
            raise IsADirectoryError(
                f'remove deletes files, and {filepath} is a folder: use rmtree.'
            )
        filesystem.rm_file(path)

    def rmtree(self, dir_path: Location) -> None:
        """Delete a folder and all that is in it, hidden files too.

        Raises:
            FileNotFoundError: If it is missing.
            NotADirectoryError: If it is a file.
        """
        filesystem, path = self._open_folder(dir_path)
        filesystem.rm(path, recursive=True)

    def list_dir_or_file(
        self,
        dir_path: Location,
        list_dir: bool = True,
        list_file: bool = True,
        suffix: str | tuple[str, ...] | None = None,
        recursive: bool = False,
    ) -> Iterator[str]:
        """See :meth:`BaseStorageBackend.list_dir_or_file`; sorted by name."""
        check_suffix(suffix, list_dir)
        return (
            path
            for path, is_folder in self._entries(dir_path, recursive)
            if (
                list_dir if is_folder else list_file and is_listed(posixpath.basename(path), suffix)
            )
        )

    def copyfile_from_local(self, src: Location, dst: Location) -> Location:
        """Upload a local file, in parts when it is large; into ``dst`` when that is a folder.

        Returns:
            The path of the copy.
        """
        target = self._copy_target(src, dst)
        filesystem, path = self._open_for_writing(target)
        filesystem.put_file(str(src), path)
        return target

    def generate_presigned_url(
        self, url: str, client_method: str = 'get_object', expires_in: int = 3600
    ) -> str:
        """A public address of a file that works for ``expires_in`` seconds.

        Raises:
            NotImplementedError: If the storage has no such addresses.
        """
        filesystem, path = self._open(url)
        # Only S3 calls the operation by this name; the others sign for reading.
        options = {} if client_method == 'get_object' else {'client_method': client_method}
        return str(filesystem.sign(path, expiration=expires_in, **options))

    def _download(self, filepath: Location, file: IO[bytes]) -> None:
        filesystem, path = self._open(filepath)
        with filesystem.open(path, 'rb') as source:
            shutil.copyfileobj(source, file, length=1 << 23)

    def _copy(self, src: Location, dst: Location) -> None:
        filesystem, source = self._open(src)
        other, target = self._open_for_writing(dst)
        if other is filesystem:
            filesystem.cp_file(source, target)  # the server copies
        else:
            super()._copy(src, dst)

    def _files_below(self, dir_path: Location) -> list[str]:
        # Hidden files are copied with a folder, though they are not listed.
        return [path for path, is_folder in self._entries(dir_path, True) if not is_folder]

    def _entries(self, dir_path: Location, recursive: bool) -> Iterator[tuple[str, bool]]:
        """What is in a folder: relative paths, and whether each is a folder."""
        filesystem, folder = self._open_folder(dir_path)
        if recursive:
            entries = filesystem.find(folder, withdirs=True, detail=True).values()
        else:
            entries = filesystem.ls(folder, detail=True)
        skipped = len(folder.strip('/'))
        for entry in sorted(entries, key=lambda entry: str(entry['name'])):
            relative = str(entry['name']).strip('/')[skipped:].lstrip('/')
            if relative:  # an empty object may stand for the folder itself
                yield relative, entry['type'] == 'directory'

    def _open_folder(self, dir_path: Location) -> tuple[Any, str]:
        filesystem, path = self._open(dir_path)
        if filesystem.info(path)['type'] != 'directory':
            raise NotADirectoryError(f'{dir_path} is a file, not a folder.')
        return filesystem, path

    def _open_for_writing(self, filepath: Location) -> tuple[Any, str]:
        filesystem, path = self._open(filepath)
        protocols = filesystem.protocol
        if isinstance(protocols, str):
            protocols = (protocols,)
        folder = posixpath.dirname(path)
        if folder and _OBJECT_STORES.isdisjoint(protocols):
            filesystem.makedirs(folder, exist_ok=True)
        return filesystem, path

    def _open(self, location: Location) -> tuple[Any, str]:
        """The file system of an address and the path in it."""
        import fsspec

        address = self._address(location)
        try:
            # fsspec caches file systems by their arguments, and drops the cache after a fork.
            filesystem, path = fsspec.url_to_fs(address, **self.kwargs)
        except ImportError as error:
            _raise_missing_package(address, error)
        filesystem.invalidate_cache(path)
        return filesystem, path

    def _address(self, location: Location) -> str:
        address = str(location)
        for start, replacement in self.path_mapping.items():
            if address.startswith(start):
                address = replacement + address[len(start) :]
                break
        kind, separator, _ = address.partition('://')
        if not separator and '::' not in kind:
            raise ArgumentError(
                f'FsspecBackend needs an address such as s3://bucket/name, got {address!r}. '
                "Plain paths are for the backend 'local', or need a path_mapping here."
            )
        if kind in _LOCAL:
            raise ArgumentError(
                f'Local files are named by their plain path: drop {kind}:// from {address!r}.'
            )
        if ':' in kind.replace('::', ''):
            raise ArgumentError(
                f'{kind.partition(":")[0]!r} in {address!r} is a cluster of the petrel client: '
                "take it away, or choose that client with backend_args=dict(backend='petrel')."
            )
        return address


def serves_prefix(prefix: str) -> bool:
    """Whether fsspec has a file system for this prefix, even if its package is not installed."""
    import fsspec

    return prefix not in _LOCAL and prefix in fsspec.available_protocols()


def _raise_missing_package(address: str, error: ImportError) -> NoReturn:
    from fsspec.registry import known_implementations

    kind = address.partition('://')[0].rpartition('::')[2]
    package = known_implementations.get(kind, {}).get('class', '').partition('.')[0]
    advice = '' if package in ('', 'fsspec') else f' pip install {package}'
    raise ImportError(f'Files at {kind}:// need another package. {error}.{advice}') from error
