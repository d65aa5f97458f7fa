"""Checkpoint files: written atomically, read without running code, found by a pointer file."""

import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from zipfile import is_zipfile

import torch

from mmengine._checkpoint._ledger import LEDGER
from mmengine._checkpoint._outside import (
    CheckpointReadError,
    check_unpacked_size,
    names_bytearray,
)
from mmengine._checkpoint._save_error import explained
from mmengine._checkpoint._verify import UNCHANGED, Digest, change_of, checksum_fault, hashing
from mmengine._checkpoint.legacy import READ_ERRORS, load_without_running_code
from mmengine.fileio import atomic_write, get_file_backend
from mmengine.logging import print_log

LAST_CHECKPOINT = 'last_checkpoint'

_maps_files = False


def save_checkpoint(
    checkpoint: Mapping[str, Any],
    filename: str | Path,
    file_client_args: dict[str, Any] | None = None,
    backend_args: dict[str, Any] | None = None,
) -> None:
    """Write ``checkpoint`` so that ``filename`` holds the old file or the whole new one, never a
    part.

    Args:
        checkpoint: Tensors and plain values under string keys.
        filename: A local path, or a URL for which there is a file backend.
        file_client_args: The old name of ``backend_args``.
        backend_args: Arguments of the file backend; None selects a backend by ``filename``.

    Raises:
        CheckpointSaveError: If the disk is full.
        ValueError: If both ``file_client_args`` and ``backend_args`` are given.
    """
    write_hashed(checkpoint, filename, one_of(backend_args, file_client_args))


def one_of(
    backend_args: dict[str, Any] | None, file_client_args: dict[str, Any] | None
) -> dict[str, Any] | None:
    """The arguments of a file backend, under their present or their old name.

    Raises:
        ValueError: If both are given.
    """
    if file_client_args is not None and backend_args is not None:
        raise ValueError('Pass backend_args only: file_client_args is its old name.')
    return backend_args or file_client_args


def write_hashed(
    checkpoint: Mapping[str, Any], filename: str | Path, backend_args: dict[str, Any] | None
) -> Digest | None:
    """Like :func:`save_checkpoint`; returns the size and the hash of a local file."""
    if not is_remote(filename) and not backend_args:
        Path(filename).parent.mkdir(parents=True, exist_ok=True)
        try:
            return _write_local(checkpoint, filename)
        except (OSError, RuntimeError) as error:
            known = explained(error, checkpoint, filename)
            if known is error:
                raise
            raise known from error
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    backend = get_file_backend(filename, backend_args=backend_args)
    backend.put(buffer.getvalue(), filename)
    return None


def _write_local(checkpoint: Mapping[str, Any], filename: str | Path) -> Digest:
    with atomic_write(filename) as file:
        torch.save(checkpoint, file)
        file.flush()
        with hashing(file) as digest:
            os.fsync(file.fileno())
    return digest


def read_checkpoint(
    file: str | Path | IO[bytes], map_location: Any = None, name: str = 'the given data'
) -> Any:
    """Read a checkpoint. No code in the file is executed; this includes old files.

    Args:
        file: A local path or an open binary file.
        map_location: As in :func:`torch.load`.
        name: Name of an open file, for messages.

    Raises:
        FileNotFoundError: If the file does not exist.
        CheckpointReadError: If the file is truncated or is not a checkpoint.
    """
    if not isinstance(file, (str, Path)):
        return _read(file, map_location, name)
    path = Path(file)
    if not path.is_file():
        raise FileNotFoundError(_missing(path))
    _check_content(path)
    with path.open('rb') as opened:
        return _read(opened, map_location, name=str(path))


def _check_content(path: Path) -> None:
    """Raise if the file is damaged; warn if somebody has written another file in its place."""
    size = path.stat().st_size
    change = change_of(path)
    if change == UNCHANGED:
        return
    damage = checksum_fault(path) if size else 'it is empty, truncated while it was written'
    if damage is not None:
        raise CheckpointReadError(
            f'{path} ({size:,} bytes) is not a readable checkpoint: {damage}. Use an earlier '
            'checkpoint or copy it again.'
        )
    if change is not None:
        print_log(
            f'{path} is not the file that the run wrote, as {LEDGER} beside it tells: {change}.',
            logger='current',
            level=logging.WARNING,
        )


def check_is_there(filename: str) -> None:
    """Raise if a local checkpoint is missing, before a run is built. URLs are not checked.

    Raises:
        FileNotFoundError: If the file does not exist; the message lists checkpoints in its folder.
    """
    path = Path(filename).expanduser()
    if not is_remote(filename) and not path.is_file():
        raise FileNotFoundError(_missing(path))


def find_latest_checkpoint(path: str) -> str | None:
    """The newest checkpoint in the work dir ``path``, read from its pointer file, or None.

    If the work dir was moved or copied, a file with the same name in ``path`` is used, not the file
    of the old work dir.
    """
    pointer = Path(path, LAST_CHECKPOINT)
    if not pointer.is_file():
        print_log(
            f'{path} has no {LAST_CHECKPOINT} file, so there is nothing to resume.',
            logger='current',
        )
        return None
    recorded = pointer.read_text(encoding='utf-8').strip()
    own = Path(path, Path(recorded).name)
    if is_remote(recorded) or not own.exists():
        return recorded
    # With `out_dir` of CheckpointHook the checkpoints are in a folder that is not a work dir.
    folder = Path(recorded).parent
    is_of_old_work_dir = (folder / LAST_CHECKPOINT).exists() and not folder.samefile(path)
    return str(own) if is_of_old_work_dir or not Path(recorded).exists() else recorded


def is_remote(filename: str | Path) -> bool:
    """Whether ``filename`` is a URL, not a local path."""
    return isinstance(filename, str) and '://' in filename


def _read(file: IO[bytes], map_location: Any, name: str) -> Any:
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


def _missing(path: Path) -> str:
    message = f'There is no checkpoint at {path}.'
    if not path.parent.is_dir():
        return f'{message} Its folder does not exist either.'
    others = sorted(other.name for other in path.parent.glob('*.pth'))
    if others:
        message += f' The folder has {", ".join(others[:6])}{", ..." if len(others) > 6 else ""}.'
    return message
