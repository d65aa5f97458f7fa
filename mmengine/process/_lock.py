"""The lock of a work dir: one training at a time writes there.

The lock is the file ``run.lock`` in the work dir. It says who holds it, and its time of change
moves while the holder lives. Whether a process of this host is alive is clear from its id and its
start time; a holder on another host is alive if the time moves.
"""

from __future__ import annotations

import json
import logging
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from mmengine.dist import broadcast_object_list, get_world_size, is_main_process
from mmengine.fileio._atomic import temporary_beside
from mmengine.logging import print_log
from mmengine.utils._process_identity import ProcessIdentity, parse_identity, this_process
from mmengine.utils.errors import ArgumentError

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows
    fcntl = None

LOCK_FILE = 'run.lock'
FORCE_VARIABLE = 'MMENGINE_LOCK'
_CHOICES = (True, False, 'force')
# How often the holder moves the time of the file, and how old it is when the holder must be dead.
_BEAT_S = 10.0
_DEAD_AFTER_S = 120.0
_POLL_S = 0.5
_held: dict[str, _Held] = {}
_held_lock = threading.Lock()


class WorkDirInUseError(RuntimeError):
    """Another run trains in the work dir."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lock.

    Attributes:
        host: Name of the host.
        pid: Process id on that host.
        since: When the lock was taken.
        identity: The process; None if the file does not tell.
        key: Unique to one taking of the lock.
    """

    host: str
    pid: int
    since: str
    identity: ProcessIdentity | None
    key: str

    def __str__(self) -> str:
        return f'process {self.pid} on {self.host}, since {self.since}'


def check_lock_setting(setting: Any) -> bool | str:
    """``env_cfg['lock']``: True, False for no lock, or 'force' to take it from its holder.

    The environment variable ``MMENGINE_LOCK`` (``on``, ``off`` or ``force``) has precedence.

    Raises:
        ArgumentError: If it is something else.
    """
    given = os.environ.get(FORCE_VARIABLE)
    if given:
        named = {'on': True, 'off': False, 'force': 'force'}
        if given not in named:
            raise ArgumentError(f'{FORCE_VARIABLE} is on, off or force, got {given!r}.')
        return named[given]  # type: ignore[return-value]  # bool or str
    if setting not in _CHOICES:
        raise ArgumentError(f"lock is True, False or 'force', got {setting!r}.")
    return setting  # type: ignore[no-any-return]  # one of the choices


@contextmanager
def holding(work_dir: str, setting: bool | str = True) -> Iterator[None]:
    """Hold the lock of ``work_dir`` within this context. All ranks enter it; rank 0 holds it.

    A process that holds the lock already holds it until the outermost context ends.

    Args:
        work_dir: An existing folder.
        setting: As returned by :func:`check_lock_setting`.

    Raises:
        WorkDirInUseError: On all ranks, if another process holds it.
    """
    held: _Held | None = None
    refusal: BaseException | None = None
    if is_main_process() and setting:
        try:
            held = _acquire(work_dir, force=setting == 'force')
        except (WorkDirInUseError, OSError) as error:
            refusal = error
    try:
        _raise_on_all(refusal)
        yield
    finally:
        if held is not None:
            _release(held)


def refuse_if_held(work_dir: str | Path) -> None:
    """Raise if another process trains in ``work_dir``; nothing is written.

    Raises:
        WorkDirInUseError: If so.
    """
    path = Path(os.path.abspath(os.path.expanduser(work_dir)), LOCK_FILE)
    holder = _read(path)
    if holder is not None and not _is_own(path, holder) and _is_alive(path, holder):
        raise _refusal(path, holder)


def _raise_on_all(error: BaseException | None) -> None:
    text = [None if error is None else str(error)]
    if get_world_size() > 1:
        broadcast_object_list(text)
    if error is not None:
        raise error
    if text[0] is not None:
        raise WorkDirInUseError(text[0])


class _Held:
    """The lock in the hands of this process."""

    def __init__(self, path: Path, key: str) -> None:
        self.path = path
        self.key = key
        self.pid = os.getpid()
        self.depth = 1
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name='work-dir-lock', daemon=True)
        self._thread.start()

    def end(self) -> None:
        """Give the lock back."""
        self._ended.set()
        self._thread.join()
        if self._is_ours():
            with suppress(FileNotFoundError):
                self.path.unlink()

    def _beat(self) -> None:
        while not self._ended.wait(_BEAT_S):
            if not self._is_ours():
                print_log(
                    f'{self.path} was taken by another run (or removed): two runs may write to '
                    'this work dir.',
                    logger='current',
                    level=logging.ERROR,
                )
                return
            with suppress(OSError):  # a storage that is away for a moment
                os.utime(self.path)

    def _is_ours(self) -> bool:
        try:
            holder = _read(self.path)
        except OSError:
            return True  # a storage that is away for a moment
        return holder is not None and holder.key == self.key


def _acquire(work_dir: str, force: bool) -> _Held:
    path = Path(os.path.realpath(work_dir), LOCK_FILE)
    with _held_lock:
        held = _held.get(str(path))
        if held is not None and held.pid == os.getpid():
            held.depth += 1
            return held
        key = uuid.uuid4().hex
        while not _create(path, key):
            holder = _read(path)
            if holder is None:
                continue  # given back at this moment
            if not force and _is_alive(path, holder):
                raise _refusal(path, holder)
            if _remove_of(path, holder):
                how = 'by force ' if force else ''
                why = '' if force else ', which has ended without giving it back'
                print_log(f'Took {path} {how}from {holder}{why}.', logger='current')
        held = _held[str(path)] = _Held(path, key)
        return held


def _release(held: _Held) -> None:
    with _held_lock:
        held.depth -= 1
        if held.depth == 0:
            if _held.get(str(held.path)) is held:
                del _held[str(held.path)]
            held.end()


def _create(path: Path, key: str) -> bool:
    """Make the lock file, whole from the first moment; False if there is one."""
    identity = this_process()
    content = {
        'host': platform.node(),
        'pid': identity.pid,
        'process': str(identity),
        'since': time.strftime('%Y-%m-%d %H:%M:%S'),
        'key': key,
    }
    draft = Path(temporary_beside(path))
    draft.write_text(json.dumps(content) + '\n')
    try:
        os.link(draft, path)
    except FileExistsError:
        return False
    except OSError:  # a file system without links
        try:
            with path.open('x') as file:
                file.write(draft.read_text())
        except FileExistsError:
            return False
    finally:
        draft.unlink()
    return True


def _read(path: Path) -> Holder | None:
    """Who holds the lock; None if nobody does."""
    try:
        content = json.loads(path.read_text())
        return Holder(
            str(content['host']),
            int(content['pid']),
            str(content['since']),
            parse_identity(str(content['process'])),
            str(content['key']),
        )
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (ValueError, KeyError, TypeError):
        # Something else wrote it, or a crash of the machine emptied it: its time of change decides.
        return Holder('an unknown host', 0, 'an unknown time', None, '')


def _is_own(path: Path, holder: Holder) -> bool:
    held = _held.get(os.path.realpath(path))
    return held is not None and held.key == holder.key and held.pid == os.getpid()


def _is_alive(path: Path, holder: Holder) -> bool:
    """Whether the holder lives; waits for its next sign of life if only that can tell."""
    alive = None if holder.identity is None else holder.identity.is_alive()
    if alive is not None:
        return alive
    first = _changed_at(path)
    if first is None:
        return False
    told = False
    while True:
        age = _now_of(path) - first
        if age > _DEAD_AFTER_S:
            return False
        if not told:
            told = True
            print_log(
                f'{path} is held by {holder}. Waiting up to {_DEAD_AFTER_S - age:.0f} s to see '
                'whether that process is alive.',
                logger='current',
            )
        time.sleep(_POLL_S)
        latest = _changed_at(path)
        if latest is None:
            return False
        if latest != first:
            return True


def _changed_at(path: Path) -> float | None:
    """Time of change of the file; opening it makes network file systems look at the server."""
    try:
        with path.open('rb') as file:
            return os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return None


def _now_of(path: Path) -> float:
    """The present time on the clock of the file system, which may be another machine's."""
    probe = Path(temporary_beside(path))
    try:
        probe.touch(exist_ok=False)
        return probe.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            probe.unlink()


def _remove_of(path: Path, holder: Holder) -> bool:
    """Remove the lock file of ``holder``, and not the file of another run that was faster."""
    try:
        with path.open('rb') as file:
            # Two runs may come here with the same file in mind. The second one waits, and then sees
            # that the path is gone, or another file.
            if fcntl is not None:
                with suppress(OSError):  # a file system without such locks
                    fcntl.flock(file, fcntl.LOCK_EX)
            present, opened = path.stat(), os.fstat(file.fileno())
            if not os.path.samestat(present, opened):
                return False
            found = _read(path)
            if found is None or found.key != holder.key:
                return False
            path.unlink()
            return True
    except FileNotFoundError:
        return False


def _refusal(path: Path, holder: Holder) -> WorkDirInUseError:
    return WorkDirInUseError(
        f'The work dir {path.parent} is in use by {holder}. Wait for that run, stop it (mmengine '
        f'runs stop {path.parent}), or choose another work_dir. To take the work dir all the '
        "same, pass --force, or env_cfg=dict(lock='force') to the Runner."
    )
