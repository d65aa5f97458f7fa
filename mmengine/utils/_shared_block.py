"""Memory that a process shares with its workers, forked or spawned, and that has no name.

A block is a file without an entry in any folder. The system frees it when the last process that has
it open ends, however that ends: nothing is left in ``/dev/shm`` after ``kill -9`` of all of them.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import tempfile
import weakref
from multiprocessing import context, reduction
from typing import Any

CAN_SHARE = os.name == 'posix'
"""Whether this system passes open files to the processes that it starts."""


def is_starting_process() -> bool:
    """Whether this thread is pickling the arguments of a process that is about to start."""
    return context.get_spawning_popen() is not None


def anonymous_file() -> int:
    """The descriptor of a new empty file that has no name."""
    if hasattr(os, 'memfd_create'):
        # Not in /dev/shm, which is 64 MB in most containers.
        return os.memfd_create('mmengine', os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class _Descriptor:
    """A file that is closed with this object, and that a starting process gets too."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._close = weakref.finalize(self, _close, fd)
        self._close.atexit = False


class SharedBlock:
    """``size`` bytes, all zero at first, as ``memory``.

    A pickle of it has meaning only for a process that is being started; elsewhere it holds a copy.

    Args:
        size: Positive number of bytes.
    """

    def __init__(self, size: int) -> None:
        fd = anonymous_file()
        self._file = _Descriptor(fd)
        os.ftruncate(fd, size)
        self.memory = mmap.mmap(fd, size)

    def __reduce__(self) -> tuple[Any, ...]:
        if is_starting_process():
            return _block_of, (reduction.DupFd(self._file.fd), len(self.memory))  # type: ignore[attr-defined]  # POSIX
        return _copied_block, (bytes(self.memory),)


class SharedJournal:
    """Lines that processes append, and one of them reads."""

    def __init__(self) -> None:
        self._file = _Descriptor(_appending(anonymous_file()))
        self._read_to = 0

    @property
    def descriptor(self) -> int:
        """What is written to it is appended."""
        return self._file.fd

    def append(self, line: bytes) -> None:
        """Add a line, which ends in a newline, in one piece."""
        os.write(self._file.fd, line)

    def new_lines(self) -> list[bytes]:
        """The lines since the last call."""
        size = os.fstat(self._file.fd).st_size - self._read_to
        if size <= 0:
            return []
        whole, newline, _ = os.pread(self._file.fd, size, self._read_to).rpartition(b'\n')
        self._read_to += len(whole) + len(newline)
        return whole.split(b'\n') if newline else []

    def __reduce__(self) -> tuple[Any, ...]:
        if is_starting_process():
            return _journal_of, (reduction.DupFd(self._file.fd),)  # type: ignore[attr-defined]  # POSIX
        return SharedJournal, ()


def _appending(fd: int) -> int:
    import fcntl

    fcntl.fcntl(fd, fcntl.F_SETFL, fcntl.fcntl(fd, fcntl.F_GETFL) | os.O_APPEND)
    return fd


def _block_of(descriptor: Any, size: int) -> SharedBlock:
    block = SharedBlock.__new__(SharedBlock)
    fd = descriptor.detach()
    block._file = _Descriptor(fd)
    block.memory = mmap.mmap(fd, size)
    return block


def _copied_block(content: bytes) -> SharedBlock:
    block = SharedBlock(len(content))
    block.memory[:] = content
    return block


def _journal_of(descriptor: Any) -> SharedJournal:
    journal = SharedJournal.__new__(SharedJournal)
    journal._file = _Descriptor(descriptor.detach())
    journal._read_to = 0
    return journal


def _close(fd: int) -> None:
    with contextlib.suppress(OSError):  # closed by somebody who closes all descriptors
        os.close(fd)
