"""Reads a checkpoint folder: whole, or tensor by tensor when it is used."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import IO, Any, cast

import torch
from torch import Tensor

from mmengine._checkpoint._outside import CheckpointReadError
from mmengine._checkpoint._stored_tensor import Region, StoredTensor
from mmengine._checkpoint._torch_file import read_torch_file
from mmengine._checkpoint.folder._metadata import (
    METADATA,
    Chunk,
    Contents,
    Place,
    SavedTensor,
    read_metadata,
)
from mmengine._checkpoint.folder._tree import STATE, put_together, replace_tensors

# Under which keys other programs keep the weights in what they save.
_KEYS_OF_WEIGHTS = ('state_dict', 'model')


def read_folder(folder: Path, map_location: Any = None) -> Any:
    """The checkpoint in a folder, with a ``StoredTensor`` for each tensor that is in parts.

    Nothing in the folder is executed.

    Args:
        folder: A folder that has ``.metadata``.
        map_location: As in :func:`torch.load`, for small tensors; 'meta' for tensors without their
            values.

    Raises:
        CheckpointReadError: If a part is missing or damaged.
    """
    contents = read_metadata(folder)
    if not (folder / STATE).is_file():
        return _of_another_program(folder, contents, map_location)
    with (folder / STATE).open('rb') as file:
        # Its meta tensors tell what is in parts.
        place = 'cpu' if map_location == 'meta' else map_location
        rest = read_torch_file(file, place, str(folder / STATE))

    def tensor_of(key: str, like: Tensor) -> Tensor:
        saved = contents.tensors.get(key)
        if saved is None or saved.dtype != like.dtype or saved.shape != tuple(like.shape):
            raise CheckpointReadError(
                f'{folder} is not a whole checkpoint: {METADATA} does not have the tensor {key!r} '
                f'that {STATE} tells of.'
            )
        return _stored(folder, saved, key, map_location)

    whole = put_together(rest, tensor_of)
    if map_location == 'meta':
        return replace_tensors(whole, lambda _, tensor: tensor.to('meta'))
    return whole


def _stored(folder: Path, saved: SavedTensor, key: str, map_location: Any) -> Tensor:
    if map_location == 'meta':
        return torch.empty(saved.shape, dtype=saved.dtype, device='meta')
    return StoredTensor(saved.shape, saved.dtype, partial(_read_region, folder, saved, key))


def _of_another_program(folder: Path, contents: Contents, map_location: Any) -> dict[str, Any]:
    """A folder without ``state.pth``: nested as the dict that was saved, if that is known."""
    values: dict[str, Any] = {
        key: _stored(folder, saved, key, map_location) for key, saved in contents.tensors.items()
    }
    for key, place in contents.objects.items():
        with _opened(folder, place) as file:
            values[key] = read_torch_file(file, map_location, f'{key} in {folder}')
    tree: dict[Any, Any] = OrderedDict()
    for key, value in values.items():
        _insert(tree, contents.paths.get(key) or (key,), value)
    for name in _KEYS_OF_WEIGHTS:
        if isinstance(tree.get(name), dict):
            return {'state_dict': tree.pop(name), **tree}
    return {'state_dict': tree}


def _insert(tree: dict[Any, Any], path: tuple[Any, ...], value: Any) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, OrderedDict())
        if not isinstance(tree, dict):
            raise CheckpointReadError(f'{".".join(map(str, path))} is in a tensor.')
    tree[path[-1]] = value


def _read_region(folder: Path, saved: SavedTensor, key: str, region: Region | None) -> Tensor:
    """The values in a box of a tensor, from the chunks that it overlaps."""
    offsets, sizes = region or ((0,) * len(saved.shape), saved.shape)
    wanted = [range(start, start + size) for start, size in zip(offsets, sizes, strict=True)]
    found: Tensor | None = None
    for chunk in saved.chunks:
        common = [
            range(max(mine.start, start), min(mine.stop, start + size))
            for mine, start, size in zip(wanted, chunk.offsets, chunk.sizes, strict=True)
        ]
        if not all(common):
            continue
        values = _read_chunk(folder, saved, chunk, key)
        source = _box(values, common, chunk.offsets)
        if all(len(one) == size for one, size in zip(common, sizes, strict=True)):
            # Not a view: it would keep the memory of the whole chunk.
            return source if source.numel() == values.numel() else source.clone()
        if found is None:
            found = torch.empty(tuple(sizes), dtype=saved.dtype)
        _box(found, common, offsets).copy_(source)
    return torch.empty(tuple(sizes), dtype=saved.dtype) if found is None else found


def _box(tensor: Tensor, box: list[range], offsets: Any) -> Tensor:
    for dim, (one, start) in enumerate(zip(box, offsets, strict=True)):
        tensor = tensor.narrow(dim, one.start - start, len(one))
    return tensor


def _read_chunk(folder: Path, saved: SavedTensor, chunk: Chunk, key: str) -> Tensor:
    name = f'{chunk.place.file} in {folder}'
    with _opened(folder, chunk.place) as file:
        values = read_torch_file(file, 'cpu', name)
    is_it = isinstance(values, Tensor) and tuple(values.shape) == chunk.sizes
    if not is_it or values.dtype != saved.dtype:
        raise CheckpointReadError(f'{name} does not have the part of {key!r} that it should have.')
    return cast(Tensor, values)


@contextmanager
def _opened(folder: Path, place: Place) -> Iterator[IO[bytes]]:
    """The bytes of ``place`` as a separate file."""
    path = folder / place.file
    try:
        with path.open('rb', buffering=0) as file:
            yield cast(IO[bytes], io.BufferedReader(_View(file, place.start, place.length)))
    except OSError as error:
        raise CheckpointReadError(f'{path} cannot be read: {error.strerror or error}.') from error


class _View(io.RawIOBase):
    """A part of an open file."""

    def __init__(self, file: Any, start: int, length: int) -> None:
        self._file, self._start, self._length, self._at = file, start, length, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        origin = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._length}[whence]
        self._at = max(origin + offset, 0)
        return self._at

    def readinto(self, buffer: Any) -> int:
        room = memoryview(buffer).cast('B')[: max(self._length - self._at, 0)]
        self._file.seek(self._start + self._at)
        count: int = self._file.readinto(room)
        self._at += count
        return count
