"""Whether a checkpoint file holds what was written to it."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import IO

from mmengine._checkpoint._ledger import Entry, read_entries

_CHUNK = 2**24
# NotImplementedError, of a kind of compression that is not there, is a RuntimeError.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, ValueError, EOFError, RuntimeError)
# A file that was found to be whole, for the reader that opens it next.
_just_verified: tuple[str, int, int, int] | None = None


def fault_of(
    path: str | Path, entries: Mapping[str, Entry] | None = None, *, is_read_next: bool = False
) -> str | None:
    """What is wrong with a checkpoint file, or None.

    A file that has the hash of its line in the ledger is whole. In any other file, which somebody
    may have written in its place, the checksums of the parts decide: zip files have them.

    Args:
        path: The file.
        entries: Of the ledger in its folder; None reads them.
        is_read_next: Whether the caller reads the file at once if it is whole. It is not hashed
            again then.
    """
    global _just_verified
    path = Path(path)
    try:
        if not path.exists():
            return 'it does not exist'
        if path.is_dir():  # a checkpoint of another CheckpointIO, which reads it
            return None if any(path.iterdir()) else 'it is an empty folder'
        if path.stat().st_size == 0:
            return 'it is empty'
        before = _signature(path)
        if change_of(path, entries) != UNCHANGED:
            return checksum_fault(path)
        _just_verified = before if is_read_next else None
        return None
    except OSError as error:
        return f'it cannot be read ({error.strerror or error})'


UNCHANGED = ''


def change_of(path: str | Path, entries: Mapping[str, Entry] | None = None) -> str | None:
    """How a file differs from its line in the ledger; '' if it does not, None without a line."""
    global _just_verified
    path = Path(path)
    verified, _just_verified = _just_verified, None
    if verified is not None and verified == _signature(path):
        return UNCHANGED
    entry = (read_entries(path.parent) if entries is None else entries).get(path.name)
    if entry is None or 'xxh3' not in entry:
        return None
    size = path.stat().st_size
    if size != entry.get('bytes', size):
        return f'it has {size:,} bytes, and {entry["bytes"]:,} were written'
    with path.open('rb') as file:
        found = _hash_of_open(file.fileno())
    return UNCHANGED if found == entry['xxh3'] else 'its hash is another'


def is_verified(path: Path) -> bool:
    """Whether :func:`fault_of` has found just now that the file is the one that was written."""
    return _just_verified is not None and _just_verified == _signature(path)


def _signature(path: Path) -> tuple[str, int, int, int]:
    found = path.stat()
    return os.path.realpath(path), found.st_ino, found.st_size, found.st_mtime_ns


def checksum_fault(path: Path) -> str | None:
    """What the checksums in a zip file say against it; old files in other forms have none."""
    with path.open('rb') as file:
        if file.read(2) != b'PK':
            return None
        try:
            with zipfile.ZipFile(file) as archive:
                damaged = archive.testzip()
        except _UNREADABLE as error:
            return f'it was truncated or changed ({error})'
    return None if damaged is None else f'the checksum of its part {damaged} is wrong'


class Digest:
    """Size and hash of a file that is being written; known when the block ends."""

    size: int
    xxh3: str


@contextmanager
def hashing(file: IO[bytes]) -> Iterator[Digest]:
    """Hash a written file in a second thread, while the block waits for the disk.

    Args:
        file: Opened for reading and writing, everything flushed to the system.
    """
    digest = Digest()
    descriptor = os.dup(file.fileno())

    def work() -> None:
        digest.size = os.fstat(descriptor).st_size
        digest.xxh3 = _hash_of_open(descriptor)

    thread = Thread(target=work, name='checkpoint hash')
    thread.start()
    try:
        yield digest
    finally:
        thread.join()
        os.close(descriptor)


def _hash_of_open(descriptor: int) -> str:
    import xxhash

    found = xxhash.xxh3_128()
    position = 0
    while chunk := os.pread(descriptor, _CHUNK, position):
        found.update(chunk)
        position += len(chunk)
    return str(found.hexdigest())
