"""Hashes of files, by which a reader can tell what was written from what was damaged."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import IO

# Larger ones are new memory from the system each time, which takes longer than the hash.
_CHUNK = 2**20


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


def hash_of_file(path: str | Path) -> str:
    """The xxh3 hash of 128 bits of a file, in hexadecimal digits."""
    with open(path, 'rb') as file:
        return _hash_of_open(file.fileno())


def hash_of(content: bytes) -> str:
    """The same hash of ``content``."""
    import xxhash

    return str(xxhash.xxh3_128(content).hexdigest())


def _hash_of_open(descriptor: int) -> str:
    import xxhash

    found = xxhash.xxh3_128()
    position = 0
    while chunk := os.pread(descriptor, _CHUNK, position):
        found.update(chunk)
        position += len(chunk)
    return str(found.hexdigest())
