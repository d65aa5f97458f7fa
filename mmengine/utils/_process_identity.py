"""ProcessIdentity: tells whether the process that left a file behind is still alive.

A process id alone does not: ids are used again, machines share folders, and containers on one
machine have separate ids. So an identity also has the start time of the process, and a digest of
the host, its present boot and, on Linux, the namespace of process ids.
"""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

_PARTS = 3


@dataclass(frozen=True)
class ProcessIdentity:
    """One process of one host.

    Attributes:
        pid: Process id.
        started: Start time of the process, in the unit of the system; '' if unknown.
        host: Digest of the place in which ``pid`` has a meaning.
    """

    pid: int
    started: str
    host: str

    @property
    def is_local(self) -> bool:
        """Whether the process ids of that process and of this one are of the same kind."""
        return self.host == _host()

    def is_alive(self) -> bool | None:
        """Whether the process runs; None if that cannot be found out from here."""
        if not self.is_local:
            return None
        if os.name != 'posix':
            return True if self.pid == os.getpid() else None
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass  # it belongs to another user
        now = _start_of(self.pid)
        if now == _GONE:
            return False
        return not self.started or not now or now == self.started

    def __str__(self) -> str:
        return f'{self.pid}-{self.started or 0}-{self.host}'


def this_process() -> ProcessIdentity:
    """The identity of this process; a forked child has its own."""
    pid = os.getpid()
    return ProcessIdentity(pid, _start_of_this(pid), _host())


def parent_process() -> ProcessIdentity:
    """The identity of the process that started this one."""
    pid = os.getppid()
    return ProcessIdentity(pid, _start_of(pid), _host())


def parse_identity(text: str) -> ProcessIdentity | None:
    """The identity that ``str`` of one has written; None for any other text."""
    parts = text.split('-')
    if len(parts) != _PARTS or not parts[0].isdecimal() or not all(parts):
        return None
    started = '' if parts[1] == '0' else parts[1]
    return ProcessIdentity(int(parts[0]), started, parts[2])


_GONE = 'gone'


def _start_of(pid: int) -> str:
    """The start time of a process; '' if unknown, ``_GONE`` if it has ended."""
    if Path('/proc/self/stat').exists():
        try:
            text = Path(f'/proc/{pid}/stat').read_text()
        except (FileNotFoundError, ProcessLookupError):
            return _GONE
        except OSError:
            return ''
        # The name of the program, in brackets, may contain spaces and brackets.
        fields = text.rpartition(')')[2].split()
        return _GONE if fields[0] in ('Z', 'X') else fields[19]
    try:
        found = subprocess.run(
            ['ps', '-o', 'lstart=', '-p', str(pid)], capture_output=True, text=True, check=False
        ).stdout
    except OSError:
        return ''
    return _digest(found.strip()) if found.strip() else _GONE


@lru_cache(maxsize=1)
def _start_of_this(pid: int) -> str:
    return _start_of(pid)


@lru_cache(maxsize=1)
def _host() -> str:
    try:
        boot = Path('/proc/sys/kernel/random/boot_id').read_text()
        namespace = os.readlink('/proc/self/ns/pid')
    except OSError:  # another system than Linux
        boot = namespace = ''
    return _digest(f'{platform.node()}/{boot}/{namespace}')


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:8]
