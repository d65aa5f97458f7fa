"""Local files that appear whole or not at all."""

import errno
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from mmengine.utils._process_identity import parse_identity, this_process

# Files of earlier versions have names without a process.
_TEMPORARY = re.compile(r'\.[0-9a-f]{32}(?:\.([^.]+))?\.tmp')
_FORGOTTEN_AFTER_S = 24 * 3600.0
# Readable too: a checkpoint is hashed while it is synced.
_CREATE = os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, 'O_BINARY', 0)


@contextmanager
def atomic_write(
    path: str | Path, mode: str = 'wb', encoding: str | None = None, newline: str | None = None
) -> Iterator[IO[Any]]:
    """Open a file for writing that is replaced only when the block ends without an error.

    The bytes are written to a temporary file in the same folder, synced to the disk (fsync), and
    then renamed in one step: a reader of ``path`` gets the old content or the new one. A crash, an
    error or a full disk does not change the old file. A link stays a link and its target is
    replaced. An existing file keeps its permissions; a new one gets its permissions from the umask.
    Pipes and devices are written to directly.

    Args:
        path: The file; its folder must exist.
        mode: ``'wb'`` or ``'w'``.
        encoding: Encoding of the text, in mode ``'w'``; UTF-8 by default.
        newline: As in :func:`open`.

    Yields:
        The open file.

    Raises:
        PermissionError: If the file exists and is write-protected.
        ValueError: If ``mode`` is neither ``'wb'`` nor ``'w'``.
    """
    if mode not in ('wb', 'w'):
        raise ValueError(f"A file is written whole, in mode 'wb' or 'w', got {mode!r}.")
    if mode == 'w':
        encoding = encoding or 'utf-8'
    target = os.path.realpath(path)
    old_mode = _mode_of(target)
    if old_mode is not None and not stat.S_ISREG(old_mode):
        with open(target, mode, encoding=encoding, newline=newline) as file:
            yield file
        return
    if old_mode is not None and not os.access(target, os.W_OK):
        # Renaming over a file checks the permissions of the folder only, not of the file.
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    temporary = temporary_beside(target)
    # os.open applies the umask. A process can read the umask only by changing it.
    try:
        descriptor = os.open(temporary, _CREATE, 0o666)
    except OSError as error:
        # Name the file that the user asked for, not the temporary one.
        raise OSError(error.errno, error.strerror, str(path)) from None
    try:
        with open(descriptor, mode, encoding=encoding, newline=newline) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if old_mode is not None:
            os.chmod(temporary, stat.S_IMODE(old_mode))
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
    sync_folder(os.path.dirname(target))


def temporary_beside(path: str | Path) -> str:
    """A name for a temporary file of this process in the folder of ``path``."""
    return os.path.join(os.path.dirname(path), f'.{uuid.uuid4().hex}.{this_process()}.tmp')


def replaced_beside(path: str | Path) -> str:
    """The name that a folder has while another one takes its place; see :func:`replace_folder`."""
    folder, name = os.path.split(os.path.abspath(path))
    return os.path.join(folder, f'.{name}.replaced')


def replace_folder(draft: str | Path, target: str | Path) -> None:
    """Give the folder ``draft`` the name ``target``, and remove what had that name.

    No system call exchanges a folder for another one everywhere. What had the name is called
    :func:`replaced_beside` for a moment, so a reader that does not find ``target`` looks there.
    """
    with set_aside(target):
        os.rename(draft, target)


@contextmanager
def set_aside(target: str | Path) -> Iterator[None]:
    """Context in which a file or folder gets the name ``target``; what has it now is removed then.

    If the block fails, it has its name again.
    """
    old = replaced_beside(target)
    if os.path.lexists(target):
        remove_path(old)
        os.rename(target, old)
    try:
        yield
    except BaseException:
        if os.path.lexists(old) and not os.path.lexists(target):
            os.rename(old, target)
        raise
    sync_folder(os.path.dirname(os.path.abspath(target)))
    remove_path(old)


def remove_path(path: str | Path) -> None:
    """Remove a file or a folder, if it is there."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    elif os.path.lexists(path):
        os.unlink(path)


def remove_temporaries(folder: str | Path) -> list[str]:
    """Remove temporary files and folders of processes that were killed; returns their names.

    What belongs to a living process stays. Where that cannot be found out, as for a process on
    another host, it stays until it has not changed for a day.
    """
    removed = []
    try:
        found = [entry for entry in os.scandir(folder) if _TEMPORARY.fullmatch(entry.name)]
        restore_replaced(folder)
    except OSError:  # it is not there, or is not a folder
        return []
    for entry in found:
        with suppress(OSError):  # another process removed it, or may write where this one may not
            if not entry.is_symlink() and _is_abandoned(entry):
                remove_path(entry.path)
                removed.append(entry.name)
    return removed


def restore_replaced(folder: str | Path) -> None:
    """Give folders back their names, where a process was killed in :func:`replace_folder`."""
    for old in list(Path(folder).glob('.*.replaced')):
        target = old.with_name(old.name.removeprefix('.').removesuffix('.replaced'))
        with suppress(OSError):  # another process did it
            if os.path.lexists(target):
                remove_path(old)
            else:
                os.rename(old, target)


def _is_abandoned(entry: os.DirEntry[str]) -> bool:
    match = _TEMPORARY.fullmatch(entry.name)
    owner = parse_identity(match[1]) if match is not None and match[1] else None
    is_alive = None if owner is None else owner.is_alive()
    if is_alive is not None:
        return not is_alive
    return time.time() - entry.stat(follow_symlinks=False).st_mtime > _FORGOTTEN_AFTER_S


def _mode_of(path: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def sync_folder(folder: str | Path) -> None:
    """Sync the folder, so that the rename survives a power cut. Not all systems support this."""
    if os.name != 'posix':
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems have no fsync for folders
        pass
    finally:
        os.close(descriptor)
