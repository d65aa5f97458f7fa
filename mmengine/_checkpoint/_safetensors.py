"""Weights in the format safetensors: one file, or several with an index as Hugging Face has it.

Reading and writing go tensor by tensor, so that memory does not grow with a file. The package
safetensors reads; its writer needs all tensors of a file at once, so the header, which is JSON, and
the bytes after it are written here.
"""

from __future__ import annotations

import json
import os
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmengine._checkpoint._outside import CheckpointReadError
from mmengine._checkpoint._stored_tensor import Region, StoredTensor, read_values
from mmengine.fileio import atomic_write
from mmengine.utils.errors import ArgumentError

SAFETENSORS = '.safetensors'
INDEX = '.safetensors.index.json'
_META = 'mmengine_meta'
_DTYPES = {
    'BOOL': 'bool', 'U8': 'uint8', 'I8': 'int8', 'I16': 'int16', 'I32': 'int32', 'I64': 'int64',
    'U16': 'uint16', 'U32': 'uint32', 'U64': 'uint64', 'F16': 'float16', 'BF16': 'bfloat16',
    'F32': 'float32', 'F64': 'float64', 'C64': 'complex64', 'F8_E4M3': 'float8_e4m3fn',
    'F8_E5M2': 'float8_e5m2',
}  # fmt: skip
_NAMES = {getattr(torch, name): key for key, name in _DTYPES.items() if hasattr(torch, name)}


def read_weights(path: Path, map_location: Any = None) -> dict[str, Any]:
    """``state_dict`` and, where this engine has written it, ``meta`` of a file or an index.

    Args:
        path: A ``.safetensors`` file or an index.
        map_location: 'meta' for tensors without their values; otherwise each is a ``StoredTensor``.

    Raises:
        CheckpointReadError: If a file is damaged or missing.
        ImportError: If the package safetensors is missing.
    """
    files = [path] if path.name.endswith(SAFETENSORS) else _files_of(path)
    weights: OrderedDict[str, Tensor] = OrderedDict()
    described = None
    for file in files:
        described = _add_weights(file, weights, map_location) or described
    try:
        meta = json.loads(described) if described else {}
    except ValueError:
        meta = {}
    return {'meta': meta if isinstance(meta, dict) else {}, 'state_dict': weights}


def index_in(folder: Path) -> Path | None:
    """The index, or else the only file, in a folder as Hugging Face has it."""
    indices = sorted(folder.glob(f'*{INDEX}'))
    found = indices or sorted(folder.glob(f'*{SAFETENSORS}'))
    return found[0] if len(found) == 1 else None


def parts_of(path: Path) -> list[Path]:
    """The index and its files, or the file."""
    return [path] if path.name.endswith(SAFETENSORS) else [*_files_of(path), path]


def can_hold(value: Any) -> bool:
    """Whether the format has the dtype and the layout of a tensor."""
    return isinstance(value, Tensor) and value.dtype in _NAMES and value.layout == torch.strided


def write_weights(
    content: Mapping[str, Any], path: Path, max_bytes: int | None = None
) -> list[str]:  # fmt: skip
    """Write the weights of a checkpoint, and of its ``meta`` what JSON can hold.

    Args:
        content: ``state_dict`` and ``meta``; a ``StoredTensor`` is read when it is written.
        path: ``NAME.safetensors``, or ``NAME.safetensors.index.json`` for several files
            ``NAME-00001-of-00002.safetensors`` and the index, which is written last.
        max_bytes: Largest size of the tensors in one of several files; a larger tensor has a
            separate file.

    Returns:
        The names of what is not in the result.

    Raises:
        ImportError: If the package safetensors is missing.
    """
    _package()
    weights = {name: value for name, value in content['state_dict'].items() if can_hold(value)}
    left_out = [key for key in content if key not in ('state_dict', 'meta')]
    left_out += [f'state_dict.{name}' for name in content['state_dict'] if name not in weights]
    meta = {'format': 'pt', _META: json.dumps(_plain(content.get('meta') or {}))}
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith(SAFETENSORS):
        _write_file(weights, path, meta)
        return left_out
    shards = _divided(weights, max_bytes or 5 * 10**9)
    stem = path.name.removesuffix(INDEX)
    places: dict[str, str] = {}
    for number, shard in enumerate(shards, 1):
        name = f'{stem}-{number:05d}-of-{len(shards):05d}{SAFETENSORS}'
        _write_file(shard, path.with_name(name), meta)
        places |= dict.fromkeys(shard, name)
    total = sum(value.nbytes for value in weights.values())
    index = {'metadata': {'total_size': total}, 'weight_map': dict(sorted(places.items()))}
    with atomic_write(path, 'w') as file:
        json.dump(index, file, indent=2)
        file.write('\n')
    return left_out


def _divided(weights: Mapping[str, Tensor], max_bytes: int) -> list[dict[str, Tensor]]:
    shards: list[dict[str, Tensor]] = [{}]
    size = 0
    for name, value in weights.items():
        if shards[-1] and size + value.nbytes > max_bytes:
            shards.append({})
            size = 0
        shards[-1][name] = value
        size += value.nbytes
    return shards


def _write_file(weights: Mapping[str, Tensor], path: Path, meta: dict[str, str]) -> None:
    header: dict[str, Any] = {'__metadata__': meta}
    at = 0
    for name, value in weights.items():
        header[name] = {
            'dtype': _NAMES[value.dtype],
            'shape': list(value.shape),
            'data_offsets': [at, at + value.nbytes],
        }
        at += value.nbytes
    text = json.dumps(header, separators=(',', ':')).encode()
    text += b' ' * (-len(text) % 8)
    with atomic_write(path) as file:
        file.write(len(text).to_bytes(8, 'little') + text)
        for value in weights.values():
            if value.numel():
                flat = read_values(value).detach().cpu().contiguous().reshape(-1)
                file.write(memoryview(flat.view(torch.uint8).numpy()))


def _add_weights(file: Path, weights: dict[str, Tensor], map_location: Any) -> str | None:
    """Add the tensors of ``file``; returns what it says about them."""
    with _open(file) as opened:
        for name in opened.keys():  # noqa: SIM118  # not a dict
            stored = opened.get_slice(name)
            shape, kind = stored.get_shape(), stored.get_dtype()
            dtype = getattr(torch, _DTYPES.get(kind, ''), None)
            if dtype is None:
                raise CheckpointReadError(f'{file} has {name!r} in the dtype {kind}.')
            if map_location == 'meta':
                weights[name] = torch.empty(shape, dtype=dtype, device='meta')
            else:
                weights[name] = StoredTensor(shape, dtype, partial(_read_region, file, name))
        described: str | None = (opened.metadata() or {}).get(_META)
        return described


def _read_region(file: Path, name: str, region: Region | None) -> Tensor:
    with _open(file) as opened:
        # Cloned, because the file is mapped only while it is open.
        if region is None or not region[1]:
            value: Tensor = opened.get_tensor(name).clone()
            return value
        stored = opened.get_slice(name)
        if not all(region[1]):
            return torch.empty(region[1], dtype=getattr(torch, _DTYPES[stored.get_dtype()]))
        part: Tensor = stored[
            tuple(slice(at, at + size) for at, size in zip(*region, strict=True))
        ].clone()
        return part


def _files_of(index: Path) -> list[Path]:
    try:
        names = sorted(set(json.loads(index.read_bytes())['weight_map'].values()))
    except FileNotFoundError:
        raise
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CheckpointReadError(
            f'{index} is not an index of files ({type(error).__name__}: {error}).'
        ) from error
    for name in names:
        if not isinstance(name, str) or name != Path(name).name:
            raise CheckpointReadError(f'{index} names {name!r}, which is not a file beside it.')
        if not index.with_name(name).is_file():
            raise CheckpointReadError(f'{index}: its file {name} is missing.')
    return [index.with_name(name) for name in names]


@contextmanager
def _open(file: Path) -> Iterator[Any]:
    """A file that the package safetensors has opened; its errors name the file."""
    _package()
    from safetensors import SafetensorError, safe_open

    if not file.is_file():
        raise FileNotFoundError(2, 'There is no checkpoint at this path', str(file))
    try:
        with safe_open(os.fspath(file), framework='pt') as opened:
            yield opened
    except SafetensorError as error:
        raise CheckpointReadError(f'{file} is not a readable checkpoint: {error}.') from error


def _package() -> None:
    try:
        import safetensors.torch  # noqa: F401  # is it there?
    except ImportError as error:
        raise ImportError(
            'Files in the format safetensors need that package: pip install "mmengine[safetensors]"'
        ) from error


def _plain(value: Any) -> Any:
    """``value`` in types of JSON; what has none is left out."""
    if isinstance(value, (bool, int, float, str, type(None))):
        return value
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return None


def parse_bytes(size: str | int) -> int:
    """The bytes in '500MB', '5GB', '1GiB' or a number.

    Raises:
        ArgumentError: If it is not a positive size.
    """
    text = str(size).strip().upper().removesuffix('B')
    factors = {'K': 10**3, 'M': 10**6, 'G': 10**9, 'T': 10**12,
               'KI': 2**10, 'MI': 2**20, 'GI': 2**30, 'TI': 2**40, '': 1}  # fmt: skip
    digits = text.rstrip('KMGTI').strip()
    factor = factors.get(text[len(text.rstrip('KMGTI')) :])
    try:
        count = float(digits) * (factor or 0)
    except ValueError:
        count = 0
    if not 1 <= count < 2**63:
        raise ArgumentError(f'A size is a number or text such as 500MB or 5GB, got {size!r}.')
    return int(count)
