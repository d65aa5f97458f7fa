"""The disk of the work dir: whether checkpoints can be written there, and how fast."""

from __future__ import annotations

import os
import shutil
import statistics
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from mmengine.doctor._finding import FAIL, OK, WARN, Finding, bytes_text

_AREA = 'disk'
_BLOCK = 4 << 20
_BLOCKS = 16
_SLOW_WRITE = 50e6
_SLOW_SYNC_S = 0.1
_LITTLE, _LITTLE_SHARE = 5e9, 0.05
_CLOCK_S = 2.0


def check_disk(folder: Path) -> Iterator[Finding]:
    """Check the disk of a folder; where there is none yet, of the nearest one above it.

    Everything is written into a new folder, which is removed.
    """
    place = nearest_folder(folder)
    if not os.access(place, os.W_OK | os.X_OK):
        yield _not_written(place, 'no permission')
        return
    kind = kind_of(place)
    yield Finding(_AREA, 'work dir', OK, f'{place}' + (f' ({kind})' if kind else ''))
    usage = shutil.disk_usage(place)
    yield space_finding(usage.free, usage.total)
    try:
        scratch = TemporaryDirectory(prefix='.mmengine-doctor-', dir=place)
    except OSError as error:  # a file system of the kernel, or one that is mounted for reading
        yield _not_written(place, str(error.strerror))
        return
    with scratch:
        yield from _check_written(Path(scratch.name))


def _check_written(scratch: Path) -> Iterator[Finding]:
    written, sync, read = speeds(scratch / 'file')
    yield write_finding(written, sync)
    yield Finding(_AREA, 'read', OK, f'{bytes_text(read)}/s')
    yield _names(scratch)
    yield clock_finding(_modified(scratch / 'now') - time.time())


def _not_written(place: Path, why: str) -> Finding:
    advice = 'Choose another folder with --work-dir.'
    return Finding(_AREA, 'work dir', FAIL, f'{place} cannot be written to: {why}', advice)


def nearest_folder(folder: Path) -> Path:
    """``folder``, or the nearest one above it that is there."""
    whole = folder.absolute()
    return next(each for each in (whole, *whole.parents) if each.is_dir())


def speeds(file: Path) -> tuple[float, float, float]:
    """Bytes a second of writing with fsync, seconds of a small fsync, bytes a second of reading."""
    block = os.urandom(_BLOCK)
    with file.open('wb', buffering=0) as opened:
        begun = time.perf_counter()
        for _ in range(_BLOCKS):
            opened.write(block)
        os.fsync(opened.fileno())
        written = _BLOCKS * _BLOCK / (time.perf_counter() - begun)
        waits = []
        for _ in range(5):
            opened.write(block[:4096])
            begun = time.perf_counter()
            os.fsync(opened.fileno())
            waits.append(time.perf_counter() - begun)
        if hasattr(os, 'posix_fadvise'):
            with suppress(OSError):  # some file systems have no cache to drop
                os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    begun, number = time.perf_counter(), 0
    with file.open('rb', buffering=0) as opened:
        while part := opened.read(_BLOCK):
            number += len(part)
    return written, statistics.median(waits), number / (time.perf_counter() - begun)


def space_finding(free: int, total: int) -> Finding:
    """Whether there is room for checkpoints."""
    found = f'{bytes_text(free)} of {bytes_text(total)} free'
    if free < min(_LITTLE, _LITTLE_SHARE * total):
        advice = 'Remove old checkpoints, or set max_keep_ckpts of CheckpointHook.'
        return Finding(_AREA, 'space', WARN, found, advice)
    return Finding(_AREA, 'space', OK, found)


def write_finding(written: float, sync_s: float) -> Finding:
    """Whether saving a checkpoint waits long for the disk.

    Args:
        written: Bytes a second.
        sync_s: Seconds of a small fsync.
    """
    found = f'{bytes_text(written)}/s, fsync {sync_s * 1e3:.2g} ms'
    if written < _SLOW_WRITE or sync_s > _SLOW_SYNC_S:
        return Finding(_AREA, 'write', WARN, found,
                       'Save to a faster disk, or in the background: '
                       'checkpoint=dict(async_save=True) in the config.')  # fmt: skip
    return Finding(_AREA, 'write', OK, found)


def clock_finding(ahead_s: float) -> Finding:
    """Whether the disk and this machine have the same time.

    Args:
        ahead_s: How far the time of a file that was just written is ahead.
    """
    found = f'the disk is {abs(ahead_s):.1f} s {"ahead" if ahead_s > 0 else "behind"}'
    if abs(ahead_s) > _CLOCK_S:
        return Finding(_AREA, 'clock', WARN, found,
                       'Synchronise the clocks (timedatectl shows the state): times of files tell '
                       'which checkpoint is the newest.')  # fmt: skip
    return Finding(_AREA, 'clock', OK, 'times of files agree with the clock')


def kind_of(folder: Path, mounts: Path = Path('/proc/mounts')) -> str:
    """The kind of the file system of a folder; empty if unknown."""
    found, longest = '', -1
    with suppress(OSError):
        for line in mounts.read_text(encoding='utf-8', errors='replace').splitlines():
            _, point, kind = line.split(' ')[:3]
            point = point.replace('\\040', ' ')
            if folder.is_relative_to(point) and len(point) >= longest:
                found, longest = kind, len(point)
    return found


def _names(folder: Path) -> Finding:
    """Checkpoints get their names by a rename, and locks and copies by a link."""
    draft, target = folder / 'draft', folder / 'target'
    target.write_bytes(b'old')
    draft.write_bytes(b'new')
    os.replace(draft, target)
    if target.read_bytes() != b'new' or draft.exists():
        return Finding(_AREA, 'rename', FAIL, 'a rename does not replace a file',
                       'Choose another file system for the work dir.')  # fmt: skip
    try:
        os.link(target, folder / 'link')
    except OSError as error:
        return Finding(_AREA, 'rename', OK, f'in one step; no links ({error.strerror}), so a best '
                       'checkpoint is a copy')  # fmt: skip
    return Finding(_AREA, 'rename', OK, 'in one step, and with links')


def _modified(file: Path) -> float:
    file.write_bytes(b'')
    return file.stat().st_mtime
