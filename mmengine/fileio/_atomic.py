"""Local files that appear whole or not at all."""

import errno
import os
import stat
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, 'O_BINARY', 0)


@contextmanager
def atomic_write(
    path: str | Path, mode: str = 'wb', encoding: str | None = None, newline: str | None = None
) -> Iterator[IO[Any]]:
    """Open a file for writing that takes its place only when the block ends without an error.

    The bytes go to a temporary file in the same folder, reach the disk (fsync), and then the name
    moves to them in one step: whoever opens ``path`` finds the old content or the new one. A crash,
    an error or a full disk leaves the old file as it was. A link stays a link and its target is
    replaced; a file that exists keeps its permissions, a new one gets those of the umask. Pipes and
    devices are written to directly.

    Args:
        path: The file; its folder must exist.
        mode: ``'wb'`` or ``'w'``.
        encoding: Encoding of the text, in mode ``'w'``; UTF-8 by default.
        newline: As in :func:`open`.

    Yields:
        The open file.

    Raises:
        PermissionError: If the file is there and may not be written.
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
        # Renaming over a file asks the folder only; whoever protected the file meant this too.
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    temporary = os.path.join(os.path.dirname(target), f'.{uuid.uuid4().hex}.tmp')
    # os.open applies the umask, which a process can otherwise read only by changing it.
    try:
        descriptor = os.open(temporary, _CREATE, 0o666)
    except OSError as error:
        # The user knows the file's own name, not the temporary one.
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
    _sync_folder(os.path.dirname(target))


def _mode_of(path: str) -> int | None:
    try:
        return os.stat(path).st_mode
    except FileNotFoundError:
        return None


def _sync_folder(folder: str) -> None:
    """Make the move itself survive a power cut, where the system lets folders be synced."""
    if os.name != 'posix':
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems have no fsync for folders
        pass
    finally:
        os.close(descriptor)
