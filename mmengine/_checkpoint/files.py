"""Checkpoints: written atomically, read without running code, found by a pointer file."""

import io
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import torch

from mmengine._checkpoint._digest import Digest, hashing
from mmengine._checkpoint._forms import Form, find, read_stored, room_for
from mmengine._checkpoint._ledger import LEDGER
from mmengine._checkpoint._outside import CheckpointReadError
from mmengine._checkpoint._save_error import explained
from mmengine._checkpoint._torch_file import mapped_reads, read_torch_file
from mmengine._checkpoint._verify import UNCHANGED, change_of
from mmengine.fileio import atomic_write, get_file_backend
from mmengine.logging import print_log

__all__ = [
    'LAST_CHECKPOINT', 'CheckpointReadError', 'check_content',
    'check_is_there', 'find_latest_checkpoint',
    'is_remote', 'mapped_reads', 'one_of', 'read_checkpoint', 'save_checkpoint', 'write_hashed',
]  # fmt: skip

LAST_CHECKPOINT = 'last_checkpoint'


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
    with room_for(filename, is_file=True), atomic_write(filename) as file:
        torch.save(checkpoint, file)
        file.flush()
        with hashing(file) as digest:
            os.fsync(file.fileno())
    return digest


def read_checkpoint(
    file: str | Path | IO[bytes], map_location: Any = None, name: str = 'the given data'
) -> Any:
    """Read a checkpoint. No code in it is executed; this includes old files.

    Args:
        file: The local path of a file or folder, or an open binary file.
        map_location: As in :func:`torch.load`.
        name: Name of an open file, for messages.

    Raises:
        FileNotFoundError: If there is no checkpoint.
        CheckpointReadError: If it is truncated, damaged or not a checkpoint.
    """
    if not isinstance(file, (str, Path)):
        return read_torch_file(file, map_location, name)
    path = Path(file)
    place, form = _found(path)
    if not form.is_checkpoint:
        raise CheckpointReadError(
            f'{path} has the form of {form.strategy}, and no other strategy reads it. Load it with '
            "that strategy, and save it again with checkpoint=dict(format='file')."
        )
    check_content(path, place, form)
    return read_stored(place, form, map_location)


def check_content(path: Path, place: Path, form: Form) -> None:
    """Raise if it is damaged; warn if somebody has written another checkpoint in its place."""
    change = change_of(path)
    if change == UNCHANGED:
        return
    damage = form.fault(place)
    if damage is not None:
        raise CheckpointReadError(
            f'{path} ({form.size(place):,} bytes) is not a readable checkpoint: {damage}. Use an '
            'earlier checkpoint or copy it again.'
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
    if not is_remote(filename):
        _found(Path(filename).expanduser())


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


def _found(path: Path) -> tuple[Path, Form]:
    """Where a checkpoint is, and its form, which a strategy may have to read.

    Raises:
        FileNotFoundError: If there is none; names those beside it.
    """
    found = find(path)
    if found is None or not (found[1].is_checkpoint or found[1].strategy):
        raise FileNotFoundError(_missing(path))
    return found


def _missing(path: Path) -> str:
    message = f'There is no checkpoint at {path}.'
    if not path.parent.is_dir():
        return f'{message} Its folder does not exist either.'
    others = sorted(other.name for other in path.parent.glob('*.pth'))
    if others:
        message += f' The folder has {", ".join(others[:6])}{", ..." if len(others) > 6 else ""}.'
    return message
