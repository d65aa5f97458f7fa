"""What is looked at in a checkpoint file before it is read, because anybody may have made it."""

import zipfile
from typing import IO

# torch.save compresses nothing. Somebody may have done so afterwards, but not to a twentieth.
_MAX_GROWTH = 20
_ALWAYS_ALLOWED = 256 * 2**20
_CHUNK = 2**24
_WORD = b'bytearray'


class CheckpointReadError(RuntimeError):
    """A checkpoint file exists but cannot be read."""


def check_unpacked_size(file: IO[bytes], name: str) -> None:
    """Refuse a zip file whose entries are many times larger than the file.

    Raises:
        CheckpointReadError: If it is one.
    """
    start = file.tell()
    size = file.seek(0, 2) - start
    unpacked = sum(entry.file_size for entry in _entries(file, start))
    file.seek(start)
    if unpacked > max(_ALWAYS_ALLOWED, _MAX_GROWTH * size):
        raise CheckpointReadError(
            f'{name} has {size:,} bytes and would unpack to {unpacked:,}; no checkpoint does. '
            'It was not read.'
        )


def names_bytearray(file: IO[bytes]) -> bool:
    """Whether the pickle in a checkpoint file mentions ``bytearray``."""
    start = file.tell()
    try:
        entries = [entry for entry in _entries(file, start) if entry.filename.endswith('.pkl')]
        if entries:
            file.seek(start)
            with zipfile.ZipFile(file) as archive:
                return any(_WORD in archive.read(entry) for entry in entries)
        file.seek(start)
        end = b''
        while chunk := file.read(_CHUNK):
            if _WORD in end + chunk:
                return True
            end = chunk[-len(_WORD) :]
        return False
    except (zipfile.BadZipFile, NotImplementedError, EOFError):
        return False  # torch reads, or refuses, what it finds
    finally:
        file.seek(start)


def _entries(file: IO[bytes], start: int) -> list[zipfile.ZipInfo]:
    """The entries of a zip file; none for any other file."""
    file.seek(start)
    if file.read(4) != b'PK\x03\x04':
        return []
    try:
        with zipfile.ZipFile(file) as archive:
            return archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError):
        return []
