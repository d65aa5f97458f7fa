"""Reads and writes checkpoints as ``.pth`` or ``.safetensors``, by the suffix of the file."""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from mmengine._checkpoint._outside import CheckpointReadError
from mmengine._checkpoint.files import read_checkpoint, save_checkpoint
from mmengine._checkpoint.loader import weights_of
from mmengine._checkpoint.plain import savable
from mmengine._checkpoint.validation_record import RECORD_SUFFIX, merge_record
from mmengine.fileio import atomic_write
from mmengine.utils.errors import ArgumentError

SAFETENSORS = '.safetensors'
SUFFIXES = ('.pth', '.pt', SAFETENSORS)
_META = 'mmengine_meta'


def read(path: str | Path, map_location: str = 'cpu') -> dict[str, Any]:
    """The checkpoint, with the record of its validation; weights alone are its ``state_dict``.

    Args:
        path: A local file.
        map_location: 'cpu', or 'meta' for tensors without their values, which takes no memory.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointReadError: If the file is damaged, or has no weights.
    """
    path = Path(path)
    if path.suffix == SAFETENSORS:
        return _read_safetensors(path)
    content = read_checkpoint(path, map_location)
    weights = weights_of(content, str(path))
    if weights is content:
        return {'state_dict': weights}
    record = Path(f'{path}{RECORD_SUFFIX}')
    if record.is_file():
        merge_record(content, read_checkpoint(record, map_location))
    if 'state_dict' not in content:
        return {**content, 'state_dict': weights}
    return dict(content)


def write(content: Mapping[str, Any], path: str | Path, force: bool = False) -> list[str]:
    """Write a checkpoint; returns the keys that the format of the file cannot hold.

    Raises:
        ArgumentError: If the file exists and ``force`` is not set, or the suffix is unknown.
    """
    path = Path(path)
    if path.suffix not in SUFFIXES:
        raise ArgumentError(f'{path}: checkpoints end in .pth, .pt or {SAFETENSORS}.')
    if os.path.lexists(path) and not force:
        raise ArgumentError(f'{path} exists. Choose another name, or pass --force.')
    if path.suffix != SAFETENSORS:
        known, left_out = without_objects(content)
        save_checkpoint(known, path)
        return left_out
    safetensors = _safetensors()
    weights = {name: value for name, value in content['state_dict'].items() if _is_tensor(value)}
    left_out = [key for key in content if key not in ('state_dict', 'meta')]
    left_out += [
        f'state_dict.{name}' for name in content['state_dict'] if name not in weights
    ]  # fmt: skip
    meta = {_META: json.dumps(_plain(content.get('meta') or {}))}
    # Each tensor has its own memory in this format.
    separate = {name: value.detach().clone().contiguous() for name, value in weights.items()}
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file:
        file.write(safetensors.save(separate, metadata=meta))
    return left_out


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


def _read_safetensors(path: Path) -> dict[str, Any]:
    _safetensors()
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(2, 'There is no checkpoint at this path', str(path))
    try:
        with safe_open(path, framework='pt') as file:
            weights = OrderedDict((name, file.get_tensor(name)) for name in file.keys())  # noqa: SIM118  # not a dict
            described = (file.metadata() or {}).get(_META)
    except SafetensorError as error:
        raise CheckpointReadError(f'{path} is not a readable checkpoint: {error}.') from error
    try:
        meta = json.loads(described) if described else {}
    except ValueError:
        meta = {}
    return {'meta': meta if isinstance(meta, dict) else {}, 'state_dict': weights}


def _safetensors() -> Any:
    try:
        import safetensors.torch
    except ImportError as error:
        raise ImportError(
            'Files in the format safetensors need that package: pip install "mmengine[safetensors]"'
        ) from error
    return safetensors.torch


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor)


def _plain(value: Any) -> Any:
    """``value`` in types of JSON; what has none is left out."""
    if isinstance(value, (bool, int, float, str, type(None))):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None
