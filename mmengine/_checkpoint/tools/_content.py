"""Reads and writes checkpoints in the form that the name of the file tells."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine._checkpoint import _safetensors
from mmengine._checkpoint._forms import TorchFile, find, room_for
from mmengine._checkpoint._safetensors import INDEX, SAFETENSORS
from mmengine._checkpoint._streamed_file import read_streamed, write_streamed
from mmengine._checkpoint._torch_file import mapped_reads
from mmengine._checkpoint.files import check_content, read_checkpoint, save_checkpoint
from mmengine._checkpoint.loader import weights_of
from mmengine._checkpoint.plain import savable
from mmengine._checkpoint.validation_record import RECORD_SUFFIX, merge_record
from mmengine.utils.errors import ArgumentError

_FILE_OF_A_FOLDER = 2**28
SUFFIXES = ('.pth', '.pt', SAFETENSORS)


def read(path: str | Path, map_location: str = 'cpu') -> dict[str, Any]:
    """The checkpoint, with the record of its validation; weights alone are its ``state_dict``.

    Args:
        path: A local file or folder.
        map_location: 'cpu', or 'meta' for tensors without their values, which takes no memory.

    Raises:
        FileNotFoundError: If there is no such checkpoint.
        CheckpointReadError: If it is damaged, or has no weights.
    """
    return _with_record(read_checkpoint(path, map_location), Path(path), map_location)


def read_later(path: str | Path) -> dict[str, Any]:
    """Like :func:`read`, with a ``StoredTensor`` for each tensor."""
    path = Path(path)
    found = find(path)
    if found is not None and type(found[1]) is TorchFile:
        check_content(path, *found)
        return _with_record(read_streamed(found[0]), path, 'cpu')
    with mapped_reads():
        return _with_record(read_checkpoint(path, 'cpu'), path, 'cpu')


def write(content: Mapping[str, Any], path: str | Path, force: bool = False) -> list[str]:
    """Write a checkpoint; returns the keys that the format of the file cannot hold.

    Raises:
        ArgumentError: If the file exists and ``force`` is not set, or the suffix is unknown.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ArgumentError(f'{path}: checkpoints end in .pth, .pt or {SAFETENSORS}.')
    check_free(path, force)
    if path.suffix == SAFETENSORS:
        return _safetensors.write_weights(content, path)
    known, left_out = without_objects(content)
    save_checkpoint(known, path)
    return left_out


def write_later(
    content: Mapping[str, Any], path: str | Path, force: bool, shard_size: str | int | None
) -> list[str]:
    """Like :func:`write`, tensor by tensor; the name tells the form, see :func:`convert`."""
    is_folder = os.fspath(path).endswith('/') or not Path(path).suffix
    path = Path(path)
    if not is_folder and not path.name.endswith((*SUFFIXES, INDEX)):
        raise ArgumentError(
            f'{path}: checkpoints end in .pth, .pt, {SAFETENSORS} or {INDEX}. The name of a folder '
            'has no suffix, or ends in a slash.'
        )
    max_bytes = None if shard_size is None else _safetensors.parse_bytes(shard_size)
    if max_bytes is not None and path.name.endswith(SAFETENSORS):
        path = path.with_name(path.name.removesuffix(SAFETENSORS) + INDEX)
    if max_bytes is not None and not is_folder and path.suffix in SUFFIXES:
        raise ArgumentError(f'{path} is one file, which has no shards: leave the shard size out.')
    check_free(path, force)
    if path.name.endswith((INDEX, SAFETENSORS)):
        with room_for(path, is_file=True):
            return _safetensors.write_weights(content, path, max_bytes)
    known, left_out = without_objects(content)
    if not is_folder:
        with room_for(path, is_file=True):
            write_streamed(known, path)
        return left_out
    from mmengine._checkpoint.folder._write import write_folder

    write_folder(lambda: known, path, max_bytes=max_bytes or _FILE_OF_A_FOLDER)
    return left_out


def check_free(path: Path, force: bool) -> None:
    """Raise if there is something at ``path``, unless ``force`` is set.

    Raises:
        ArgumentError: If there is.
    """
    if os.path.lexists(path) and not force:
        raise ArgumentError(f'{path} exists. Choose another name, or pass --force.')
    if path.is_dir() and find(path) is not None and not is_checkpoint(path):
        raise ArgumentError(f'{path} is a folder that is not a checkpoint. Choose another name.')


def is_checkpoint(path: Path) -> bool:
    """Whether ``path`` is a checkpoint: a file by its suffix, a folder by its content."""
    found = find(path)
    if found is None or found[0] != path:
        return False
    form = found[1]
    if type(form) is TorchFile:
        return path.suffix in SUFFIXES
    return form.is_checkpoint


def without_objects(content: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The content with None for objects that were not rebuilt from a file, and their types."""
    kinds: dict[str, None] = {}

    def leave_out(value: Any) -> None:
        kinds[f'an object of {type(value).__name__}'] = None

    return savable(dict(content), leave_out), list(kinds)


def meta_of(content: Mapping[str, Any]) -> dict[str, Any]:
    """Entry ``meta``; empty if the checkpoint has none."""
    meta = content.get('meta')
    return dict(meta) if isinstance(meta, Mapping) else {}


def _with_record(content: Any, path: Path, map_location: str) -> dict[str, Any]:
    weights = weights_of(content, str(path))
    if weights is content:
        return {'state_dict': weights}
    record = Path(f'{path}{RECORD_SUFFIX}')
    if record.is_file():
        merge_record(content, read_checkpoint(record, map_location))
    if 'state_dict' not in content:
        return {**content, 'state_dict': weights}
    return dict(content)
