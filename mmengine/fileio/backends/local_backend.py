"""Files on the disks of this machine."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.fileio._atomic import atomic_write
from mmengine.fileio.backends.base import BaseStorageBackend, Location, check_suffix, is_listed
from mmengine.utils.path import mkdir_or_exist, symlink


class LocalBackend(BaseStorageBackend):
    """The local disk; files appear whole or not at all (see :mod:`mmengine.fileio._atomic`)."""

    @property
    def allow_symlink(self) -> bool:
        """Whether links can be made."""
        return True

    def get(self, filepath: Location) -> bytes:
        """The content of a file."""
        with open(filepath, 'rb') as file:
            return file.read()

    def get_text(self, filepath: Location, encoding: str = 'utf-8') -> str:
        """The content of a file as text, line ends as ``\\n``."""
        with open(filepath, encoding=encoding) as file:
            return file.read()

    def put(self, obj: bytes, filepath: Location) -> None:
        """Write a file; missing folders are made."""
        mkdir_or_exist(os.path.dirname(filepath))
        with atomic_write(filepath) as file:
            file.write(obj)

    def put_text(self, obj: str, filepath: Location, encoding: str = 'utf-8') -> None:
        """Write text into a file; missing folders are made."""
        mkdir_or_exist(os.path.dirname(filepath))
        with atomic_write(filepath, 'w', encoding=encoding) as file:
            file.write(obj)

    def exists(self, filepath: Location) -> bool:
        """Whether there is a file or a folder."""
        return os.path.exists(filepath)

    def isdir(self, filepath: Location) -> bool:
        """Whether there is a folder."""
        return os.path.isdir(filepath)

    def isfile(self, filepath: Location) -> bool:
        """Whether there is a file."""
        return os.path.isfile(filepath)

    def join_path(self, filepath: Location, *filepaths: Location) -> str:
        """Join the parts of a path."""
        return os.path.join(filepath, *filepaths)

    @contextmanager
    def get_local_path(self, filepath: Location) -> Iterator[str]:
        """The path itself: nothing is copied."""
        yield str(filepath)

    def copyfile(self, src: Location, dst: Location) -> Location:
        """Copy a file with its times and permissions; into ``dst`` when that is a folder.

        Returns:
            The path of the copy.

        Raises:
            shutil.SameFileError: If both are the same file.
        """
        target = os.path.join(dst, os.path.basename(src)) if os.path.isdir(dst) else dst
        if os.path.exists(target) and os.path.samefile(src, target):
            raise shutil.SameFileError(f'{src} and {target} are the same file.')
        with open(src, 'rb') as source, atomic_write(target) as copy:
            shutil.copyfileobj(source, copy, length=1 << 20)
        shutil.copystat(src, target)
        return target

    def copytree(self, src: Location, dst: Location) -> Location:
        """Copy a folder to a new folder.

        Returns:
            The path of the copy.

        Raises:
            FileExistsError: If ``dst`` is there already.
        """
        shutil.copytree(src, dst)
        return dst

    def copyfile_from_local(self, src: Location, dst: Location) -> Location:
        """:meth:`copyfile`: this place is the local disk."""
        return self.copyfile(src, dst)

    def copytree_from_local(self, src: Location, dst: Location) -> Location:
        """:meth:`copytree`: this place is the local disk."""
        return self.copytree(src, dst)

    def copyfile_to_local(self, src: Location, dst: Location) -> Location:
        """:meth:`copyfile`: this place is the local disk."""
        return self.copyfile(src, dst)

    def copytree_to_local(self, src: Location, dst: Location) -> Location:
        """:meth:`copytree`: this place is the local disk."""
        return self.copytree(src, dst)

    def remove(self, filepath: Location) -> None:
        """Delete a file.

        Raises:
            FileNotFoundError: If it is missing.
            IsADirectoryError: If it is a folder.
        """
        if os.path.isdir(filepath) and not os.path.islink(filepath):
            raise IsADirectoryError(
                f'remove deletes files, and {filepath} is a folder: use rmtree.'
            )
        os.remove(filepath)

    def rmtree(self, dir_path: Location) -> None:
        """Delete a folder and all that is in it."""
        shutil.rmtree(dir_path)

    def copy_if_symlink_fails(self, src: Location, dst: Location) -> bool:
        """Make ``dst`` a link to ``src``, or a copy where links cannot be made.

        An old file or link is replaced.

        Returns:
            Whether it is a link.
        """
        try:
            symlink(os.path.abspath(src), dst)
        except shutil.SameFileError:
            raise
        except OSError:  # file systems such as FAT have no links
            return super().copy_if_symlink_fails(src, dst)
        return True

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
        return self._list(Path(dir_path), '', list_dir, list_file, suffix, recursive)

    def _list(
        self,
        root: Path,
        below: str,
        list_dir: bool,
        list_file: bool,
        suffix: str | tuple[str, ...] | None,
        recursive: bool,
    ) -> Iterator[str]:
        with os.scandir(root / below) as entries:
            for entry in entries:
                relative = os.path.join(below, entry.name)
                if entry.is_dir():
                    if list_dir:
                        yield relative
                    if recursive:
                        yield from self._list(
                            root, relative, list_dir, list_file, suffix, recursive
                        )
                elif list_file and is_listed(entry.name, suffix):
                    yield relative
