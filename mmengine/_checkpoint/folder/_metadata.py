"""Reads ``.metadata`` of ``torch.distributed.checkpoint`` without running code from it.

The file is a pickle, which torch would execute. Here it is read as plain records, and what is used
of them is checked: names of files stay inside the folder, and no tensor is larger than its parts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from mmengine._checkpoint._outside import CheckpointReadError
from mmengine.utils._plain_pickle import READ_ERRORS, Opaque, RecordingUnpickler

METADATA = '.metadata'
_OF_TORCH = 'torch.distributed.checkpoint.metadata.'
_MAX_DIMS = 64


@dataclass(frozen=True)
class Place:
    """Bytes of a file in the folder."""

    file: str
    start: int
    length: int


@dataclass(frozen=True)
class Chunk:
    """A box of a tensor, and where its values are."""

    offsets: tuple[int, ...]
    sizes: tuple[int, ...]
    place: Place


@dataclass(frozen=True)
class SavedTensor:
    """A tensor that is in the folder, in one chunk or in several."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    chunks: tuple[Chunk, ...]


@dataclass
class Contents:
    """What ``.metadata`` says.

    Attributes:
        tensors: By key.
        objects: Other values, each in the form of ``torch.save``.
        paths: Keys and indices under which the saved dict had a key; empty if unknown.
    """

    tensors: dict[str, SavedTensor] = field(default_factory=dict)
    objects: dict[str, Place] = field(default_factory=dict)
    paths: dict[str, tuple[Any, ...]] = field(default_factory=dict)


def read_metadata(folder: Path) -> Contents:
    """What the folder has, from its ``.metadata``.

    Raises:
        CheckpointReadError: If the file is missing or broken, or states what cannot be.
    """
    path = folder / METADATA
    try:
        with path.open('rb') as file:
            record = RecordingUnpickler(file).load()
        return _contents(record, folder)
    except FileNotFoundError as error:
        raise CheckpointReadError(
            f'{folder} has no {METADATA}: it is not a checkpoint, or it was not finished.'
        ) from error
    except CheckpointReadError:
        raise
    except READ_ERRORS as error:
        raise CheckpointReadError(
            f'{path} is not what torch.distributed.checkpoint writes, or it is damaged '
            f'({type(error).__name__}: {error}). Nothing in it was executed.'
        ) from error


def _contents(record: Any, folder: Path) -> Contents:
    fields = _fields(record, 'Metadata')
    places: dict[tuple[str, tuple[int, ...] | None], Place] = {}
    sizes: dict[str, int] = {}
    for index, info in _mapping(fields['storage_data']).items():
        key = _fields(index, 'MetadataIndex')
        offset = key.get('offset')
        place = _place(info, folder, sizes)
        places[_text(key['fqn']), None if offset is None else _shape(offset)] = place
    contents = Contents()
    for name, entry in _mapping(fields['state_dict_metadata']).items():
        if _is(entry, 'BytesStorageMetadata'):
            contents.objects[_text(name)] = places[name, None]
        else:
            contents.tensors[_text(name)] = _tensor(name, entry, places)
    for name, path in _mapping(fields.get('planner_data') or {}).items():
        if not isinstance(path, tuple) or not all(type(one) in (str, int) for one in path):
            raise ValueError(f'the path of {name!r}')
        contents.paths[_text(name)] = path
    return contents


def _tensor(name: str, entry: Any, places: Mapping[Any, Place]) -> SavedTensor:
    fields = _fields(entry, 'TensorStorageMetadata')
    dtype = _dtype(fields['properties'])
    shape = _shape(fields['size'])
    chunks = []
    for record in fields['chunks']:
        box = _fields(record, 'ChunkStorageMetadata')
        offsets, sizes = _shape(box['offsets']), _shape(box['sizes'])
        if not len(offsets) == len(sizes) == len(shape) or any(
            offset + size > whole for offset, size, whole in zip(offsets, sizes, shape, strict=True)
        ):
            raise ValueError(f'a chunk of {name!r} that is outside of it')
        place = places[name, offsets]
        if math.prod(sizes) * dtype.itemsize > place.length:
            raise ValueError(f'a chunk of {name!r} that is larger than its bytes')
        chunks.append(Chunk(offsets, sizes, place))
    if sum(math.prod(chunk.sizes) for chunk in chunks) != math.prod(shape):
        raise ValueError(f'chunks of {name!r} that are not the whole of it')
    return SavedTensor(dtype, shape, tuple(chunks))


def _place(record: Any, folder: Path, sizes: dict[str, int]) -> Place:
    fields = _fields(record, '_StorageInfo', 'torch.distributed.checkpoint.filesystem.')
    file, start, length = _text(fields['relative_path']), fields['offset'], fields['length']
    if fields.get('transform_descriptors'):
        raise ValueError(f'{file}, which was transformed by an extension')
    if not file or file != Path(file).name or file in ('.', '..') or '\\' in file:
        raise ValueError(f'{file!r}, which is not a file of the folder')
    if file not in sizes:
        path = folder / file
        if not path.is_file() or path.is_symlink():
            raise CheckpointReadError(
                f'{folder} is not whole: its part {file} is missing. Use an earlier checkpoint, or '
                'copy all of its files.'
            )
        sizes[file] = path.stat().st_size
    if type(start) is not int or type(length) is not int or min(start, length) < 0:
        raise ValueError(f'a place in {file}')
    if start + length > sizes[file]:
        raise CheckpointReadError(
            f'{folder} is not whole: its part {file} has {sizes[file]:,} bytes, and more were '
            'written.'
        )
    return Place(file, start, length)


def _is(record: Any, name: str, module: str = _OF_TORCH) -> bool:
    return isinstance(record, Opaque) and record.qualified_name == f'{module}{name}'


def _fields(record: Any, name: str, module: str = _OF_TORCH) -> dict[str, Any]:
    """The fields of a dataclass ``name``."""
    if not _is(record, name, module) or not isinstance(record.state, dict):
        found = getattr(record, 'qualified_name', type(record).__name__)
        raise ValueError(f'{found} instead of {name}')
    return record.state


def _dtype(record: Any) -> torch.dtype:
    if not _is(record, 'TensorProperties') or not isinstance(record.state, tuple):
        raise ValueError('a tensor without properties')
    kind = record.state[0]
    name = kind.qualified_name if isinstance(kind, type) and issubclass(kind, Opaque) else ''
    dtype = getattr(torch, name.removeprefix('torch.'), None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f'the dtype {name!r}')
    return dtype


def _shape(record: Any) -> tuple[int, ...]:
    is_size = isinstance(record, Opaque) and record.qualified_name == 'torch.Size'
    sizes = (record.args[0] if record.args else ()) if is_size else record
    if not isinstance(sizes, (tuple, list)) or len(sizes) > _MAX_DIMS:
        raise ValueError('a shape')
    if not all(type(size) is int and 0 <= size < 2**63 for size in sizes):
        raise ValueError('a shape')
    return tuple(sizes)


def _mapping(value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, dict):
        raise ValueError(f'{type(value).__name__} instead of a dict')
    return value


def _text(value: Any) -> str:
    if type(value) is not str:
        raise ValueError(f'{type(value).__name__} instead of a name')
    return value
