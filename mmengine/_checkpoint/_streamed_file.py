"""A file in the form of ``torch.save``, written and read one tensor after the other.

``torch.save`` needs all tensors in memory before it writes the first one, and a mapped file keeps
the pages that were read. Here a tensor is in memory while it is written.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from functools import partial
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor

from mmengine._checkpoint._outside import CheckpointReadError
from mmengine._checkpoint._stored_tensor import Region, StoredTensor, read_values
from mmengine._checkpoint._torch_file import mapped_reads, read_torch_file
from mmengine._checkpoint.folder._tree import replace_tensors
from mmengine.fileio import atomic_write

_ALIGNMENT = 64
_LOCAL_HEADER = 30  # bytes before the name and the extra field of an entry
_PADDING = b'FB'  # the name of the extra field in which torch aligns data, too
_MAX_MAPPED = 2**26


def write_streamed(content: dict[str, Any], path: str | Path) -> None:
    """Write what ``torch.save`` would: ``torch.load`` reads it, also mapped.

    Tensors that share memory are written once each.

    Args:
        content: Plain values and tensors; a ``StoredTensor`` is read when it is written.
        path: A local path.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with atomic_write(path) as file, zipfile.ZipFile(file, 'w', allowZip64=True) as archive:
        text = io.BytesIO()
        pickler = _Pickler(text)
        pickler.dump(content)
        _add(archive, 'data.pkl', text.getvalue())
        _add(archive, 'byteorder', b'little')
        for number, tensor in enumerate(pickler.tensors):
            flat = read_values(tensor).detach().cpu().contiguous().reshape(-1)
            _add(archive, f'data/{number}', flat.view(torch.uint8).numpy() if len(flat) else b'')
        _add(archive, 'version', b'3\n')


def read_streamed(path: Path) -> Any:
    """The content of a file of ``torch.save``, with a ``StoredTensor`` for each tensor in memory.

    A file in the form before torch 1.6 cannot be mapped, and is read whole.
    """
    return _MappedFile(path).content()


class _MappedFile:
    """Maps a file anew when many of its pages were read, which frees them."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._can_be_mapped = zipfile.is_zipfile(path)
        self._tensors: dict[str, Tensor] = {}
        self._num_read = 0

    def content(self) -> Any:
        def later(key: str, tensor: Tensor) -> Any:
            if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
                return tensor
            return StoredTensor(tensor.shape, tensor.dtype, partial(self._read, key))

        return replace_tensors(self._open(), later)

    def _read(self, key: str, region: Region | None) -> Tensor:
        if key not in self._tensors or (self._can_be_mapped and self._num_read > _MAX_MAPPED):
            self._tensors.clear()
            self._num_read = 0
            replace_tensors(self._open(), self._tensors.__setitem__)
        tensor = self._tensors[key]
        if region is not None:
            for dim, (at, size) in enumerate(zip(*region, strict=True)):
                tensor = tensor.narrow(dim, at, size)
        self._num_read += tensor.nbytes
        return tensor

    def _open(self) -> Any:
        with mapped_reads(), self._path.open('rb') as file:
            return read_torch_file(file, 'cpu', str(self._path))


class _Storage:
    """Stands for the memory of one tensor."""

    def __init__(self, kind: Any, number: int, numel: int) -> None:
        self.kind, self.number, self.numel = kind, number, numel


class _Pickler(pickle.Pickler):
    """Notes tensors instead of reading them."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(file, protocol=2)
        self.tensors: list[Tensor] = []

    def reducer_override(self, obj: Any) -> Any:
        if not isinstance(obj, Tensor):
            return NotImplemented
        if obj.layout != torch.strided or obj.is_quantized or obj.is_nested:
            raise CheckpointReadError(
                f'A tensor with the layout {obj.layout} cannot be written piece by piece.'
            )
        # How this version of torch writes a tensor of this dtype; its memory comes later.
        rebuild, arguments = torch.empty(0, dtype=obj.dtype).__reduce_ex__(2)  # type: ignore[no-untyped-call]  # torch's
        storage, _, _, _, *others = arguments
        if isinstance(storage, torch.storage.TypedStorage):
            kind: Any = getattr(torch, storage._pickle_storage_type())  # type: ignore[no-untyped-call]  # torch's
            numel = obj.numel()
        else:
            kind, numel = torch.UntypedStorage, obj.nbytes
        reference = _Storage(kind, len(self.tensors), numel)
        self.tensors.append(obj)
        stride = torch.empty(obj.shape, device='meta').stride()
        return rebuild, (reference, 0, tuple(obj.shape), stride, *others)

    def persistent_id(self, obj: Any) -> Any:
        if not isinstance(obj, _Storage):
            return None
        return 'storage', obj.kind, str(obj.number), 'cpu', obj.numel


def _add(archive: zipfile.ZipFile, name: str, data: Any) -> None:
    """Add an entry whose data begins at a multiple of 64 bytes."""
    entry = zipfile.ZipInfo(f'archive/{name}')
    zip64 = 20  # the extra field that zipfile adds with force_zip64
    begin = archive.fp.tell() + _LOCAL_HEADER + len(entry.filename) + zip64 + 4  # type: ignore[union-attr]  # it is open
    size = -begin % _ALIGNMENT
    entry.extra = _PADDING + size.to_bytes(2, 'little') + b'Z' * size
    view = memoryview(data)
    with archive.open(entry, 'w', force_zip64=True) as file:
        for at in range(0, len(view), 2**24):
            file.write(view[at : at + 2**24])
