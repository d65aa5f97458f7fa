"""The operations of a storage backend, most of them built on a few basic ones."""

import os
import posixpath
import shutil
import tempfile
from abc import ABCMeta, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, NoReturn

from mmengine.fileio._atomic import atomic_write

Location = str | Path


class BaseStorageBackend(metaclass=ABCMeta):
    """Base of storage backends: a disk, an object store, a server.

    A backend defines :meth:`get` and, as far as its storage allows, ``put``, ``exists``, ``isdir``,
    ``isfile``, ``remove`` and ``list_dir_or_file``. The other operations are built on these; a
    backend can override them with a faster way. An operation that the storage does not support
    raises ``NotImplementedError``.
    """

    @property
    def name(self) -> str:
        """Name of the class."""
        return type(self).__name__

    @property
    def allow_symlink(self) -> bool:
        """Whether links can be made."""
        return False

    # The basic operations.

    @abstractmethod
    def get(self, filepath: Location) -> bytes:
        """The content of a file."""

    def put(self, obj: bytes, filepath: Location) -> None:
        """Write a file; missing folders are made."""
        self._unsupported('put')

    def exists(self, filepath: Location) -> bool:
        """Whether there is a file or a folder."""
        self._unsupported('exists')

    def isdir(self, filepath: Location) -> bool:
        """Whether there is a folder."""
        self._unsupported('isdir')

    def isfile(self, filepath: Location) -> bool:
        """Whether there is a file."""
        self._unsupported('isfile')

    def remove(self, filepath: Location) -> None:
        """Delete a file.

        Raises:
            FileNotFoundError: If it is missing.
            IsADirectoryError: If it is a folder.
        """
        self._unsupported('remove')

    def list_dir_or_file(
        self,
        dir_path: Location,
        list_dir: bool = True,
        list_file: bool = True,
        suffix: str | tuple[str, ...] | None = None,
        recursive: bool = False,
    ) -> Iterator[str]:
        """What is in a folder, as paths relative to it; hidden files are left out.

        Args:
            dir_path: The folder.
            list_dir: Include folders.
            list_file: Include files.
            suffix: End, or ends, that a file name must have; only without folders.
            recursive: Go into subfolders.

        Raises:
            TypeError: If ``suffix`` is given together with ``list_dir``, or is not a string or a
                tuple of strings.
        """
        self._unsupported('list_dir_or_file')

    def generate_presigned_url(
        self, url: str, client_method: str = 'get_object', expires_in: int = 3600
    ) -> str:
        """A public address of a file that works for ``expires_in`` seconds."""
        self._unsupported('generate_presigned_url')

    # Operations built on them.

    def get_text(self, filepath: Location, encoding: str = 'utf-8') -> str:
        """The content of a file as text."""
        return bytes(self.get(filepath)).decode(encoding)

    def put_text(self, obj: str, filepath: Location, encoding: str = 'utf-8') -> None:
        """Write text into a file; missing folders are made."""
        self.put(obj.encode(encoding), filepath)

    def join_path(self, filepath: Location, *filepaths: Location) -> str:
        """Join the parts of a path; a part that begins with a slash is below the others too."""
        return posixpath.join(str(filepath), *(str(part).lstrip('/') for part in filepaths))

    def get_local_path(self, filepath: Location) -> AbstractContextManager[str]:
        """A local copy of a file, deleted at the end of the ``with`` block."""
        return self._temporary_copy(filepath)

    @contextmanager
    def _temporary_copy(self, filepath: Location) -> Iterator[str]:
        # Keep the suffix, because readers of images and videos depend on it.
        descriptor, path = tempfile.mkstemp(suffix=Path(str(filepath)).suffix)
        try:
            with open(descriptor, 'wb') as file:
                self._download(filepath, file)
            yield path
        finally:
            os.unlink(path)

    def copyfile(self, src: Location, dst: Location) -> Location:
        """Copy a file inside this place; into ``dst`` when that is a folder.

        Returns:
            The path of the copy.
        """
        target = self._copy_target(src, dst)
        if str(target) == str(src):
            raise shutil.SameFileError(f'{src} and {dst} are the same file.')
        self._copy(src, target)
        return target

    def copytree(self, src: Location, dst: Location) -> Location:
        """Copy a folder inside this place to a new folder.

        Returns:
            The path of the copy.

        Raises:
            FileExistsError: If ``dst`` is there already.
        """
        self._require_absent(dst)
        for path in self._files_below(src):
            self._copy(self.join_path(src, path), self.join_path(dst, path))
        return dst

    def copyfile_from_local(self, src: Location, dst: Location) -> Location:
        """Copy a local file to this place; into ``dst`` when that is a folder.

        Returns:
            The path of the copy.
        """
        target = self._copy_target(src, dst)
        self.put(Path(src).read_bytes(), target)
        return target

    def copytree_from_local(self, src: Location, dst: Location) -> Location:
        """Copy a local folder to a new folder of this place.

        Returns:
            The path of the copy.

        Raises:
            FileExistsError: If ``dst`` is there already.
        """
        self._require_absent(dst)
        for file in sorted(Path(src).rglob('*')):
            if file.is_file():
                target = self.join_path(dst, file.relative_to(src).as_posix())
                self.copyfile_from_local(file, target)
        return dst

    def copyfile_to_local(self, src: Location, dst: Location) -> Location:
        """Copy a file to the local disk; into ``dst`` when that is a folder.

        Returns:
            The path of the copy.
        """
        target = dst
        if os.path.isdir(dst):
            target = os.path.join(dst, posixpath.basename(str(src)))
        with atomic_write(target) as file:
            self._download(src, file)
        return target

    def copytree_to_local(self, src: Location, dst: Location) -> Location:
        """Copy a folder to the local disk.

        Returns:
            The path of the copy.
        """
        for path in self._files_below(src):
            target = Path(dst, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            self.copyfile_to_local(self.join_path(src, path), target)
        return dst

    def rmtree(self, dir_path: Location) -> None:
        """Delete a folder and all that is in it."""
        for path in self._files_below(dir_path):
            self.remove(self.join_path(dir_path, path))

    def copy_if_symlink_fails(self, src: Location, dst: Location) -> bool:
        """Make ``dst`` a link to ``src``, or a copy where links cannot be made.

        Returns:
            Whether it is a link.
        """
        if self.isfile(src):
            self.copyfile(src, dst)
        else:
            self.copytree(src, dst)
        return False

    # Steps that backends can override with a faster way.

    def _download(self, filepath: Location, file: IO[bytes]) -> None:
        file.write(self.get(filepath))

    def _copy(self, src: Location, dst: Location) -> None:
        self.put(self.get(src), dst)

    def _files_below(self, dir_path: Location) -> list[str]:
        # A list, because writing while listing may change what is listed.
        return list(self.list_dir_or_file(dir_path, list_dir=False, recursive=True))

    def _copy_target(self, src: Location, dst: Location) -> Location:
        if self.isdir(dst):
            return self.join_path(dst, posixpath.basename(str(src).replace(os.sep, '/')))
        return dst

    def _require_absent(self, dst: Location) -> None:
        if self.exists(dst):
            raise FileExistsError(f'{self.name} copies a folder to a new one, but {dst} exists.')

    def _unsupported(self, operation: str) -> NoReturn:
        raise NotImplementedError(f'{self.name} cannot do `{operation}`.')


def check_suffix(suffix: object, list_dir: bool) -> None:
    """Raise unless ``suffix`` fits the other arguments of ``list_dir_or_file``."""
    if suffix is None:
        return
    if list_dir:
        raise TypeError('A suffix chooses files: with a suffix, list_dir must be False.')
    if not isinstance(suffix, (str, tuple)):
        raise TypeError(
            f'suffix must be a string or a tuple of strings, got {type(suffix).__name__}.'
        )


def is_listed(name: str, suffix: str | tuple[str, ...] | None) -> bool:
    """Whether ``list_dir_or_file`` gives a file of this name."""
    return not name.startswith('.') and (suffix is None or name.endswith(suffix))
