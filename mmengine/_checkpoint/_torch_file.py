"""Reads a file in the form of ``torch.save``, of any age, without running code from it."""

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any
from zipfile import is_zipfile

import torch

from mmengine._checkpoint._outside import (
    CheckpointReadError,
    check_unpacked_size,
    names_bytearray,
)
from mmengine._checkpoint.legacy import READ_ERRORS, load_without_running_code
from mmengine.logging import print_log

_maps_files = False


def read_torch_file(file: IO[bytes], map_location: Any, name: str) -> Any:
    """What ``torch.save`` has written; no code in the file is executed.

    Args:
        file: Seekable, at the start of the content, which ends with the file.
        map_location: As in :func:`torch.load`.
        name: Name of the file, for messages.

    Raises:
        CheckpointReadError: If the file is truncated or is something else.
    """
    start = file.tell()
    check_unpacked_size(file, name)
    try:
        # torch makes a bytearray of any length that a file states; legacy.py does not.
        if not names_bytearray(file):
            return _open_plain(file, map_location)
    except (RuntimeError, EOFError, OSError) as error:
        raise _unreadable(name, file, start, error) from error
    except READ_ERRORS:
        file.seek(start)  # It names classes that torch refuses; see legacy.py.
    try:
        checkpoint, left_out = load_without_running_code(file, map_location)
    except READ_ERRORS as error:
        raise _unreadable(name, file, start, error) from error
    if left_out:
        print_log(
            f'{name} contains objects that were not rebuilt, because reading a checkpoint runs no '
            f'code from it: {", ".join(sorted(left_out))}.',
            logger='current',
            level=logging.WARNING,
        )
    return checkpoint


@contextmanager
def mapped_reads() -> Iterator[None]:
    """Context in which a local checkpoint that is read to the CPU is mapped into memory.

    Its tensors are read from the disk when they are used, and the system may drop them again. The
    file must not be changed in place while they exist. Files in the format before torch 1.6, and
    open files without a path, are read as usual.
    """
    global _maps_files
    before, _maps_files = _maps_files, True
    try:
        yield
    finally:
        _maps_files = before


def maps_files() -> bool:
    """Whether this is in the context of :func:`mapped_reads`."""
    return _maps_files


def _open_plain(file: IO[bytes], map_location: Any) -> Any:
    with warnings.catch_warnings():
        # torch warns about a suspicious file; if the file is broken, it also raises an error.
        warnings.simplefilter('ignore')
        path = getattr(file, 'name', None)
        if _maps_files and map_location == 'cpu' and isinstance(path, str) and is_zipfile(path):
            return torch.load(path, map_location='cpu', weights_only=True, mmap=True)
        return torch.load(file, map_location=map_location, weights_only=True)


def _unreadable(name: str, file: IO[bytes], start: int, error: Exception) -> CheckpointReadError:
    size = file.seek(0, io.SEEK_END) - start
    cause = (str(error).splitlines() or [''])[0]
    if 'TorchScript' in cause:
        return CheckpointReadError(
            f'{name} is a TorchScript program, not a checkpoint. Open it with torch.jit.load, and '
            'save the state_dict() of the result.'
        )
    return CheckpointReadError(
        f'{name} ({size:,} bytes) is not a readable checkpoint: it was truncated while it was '
        'written or copied, or it is another kind of file. Use an earlier checkpoint or copy it '
        'again. '
        f'({type(error).__name__}: {cause})'
    )
