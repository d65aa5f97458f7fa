"""Makes checkpoints of others: ``average``, ``publish``, ``convert``."""

from __future__ import annotations

import hashlib
import io
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmengine._checkpoint.tools._content import (
    meta_of,
    read,
    read_later,
    without_objects,
    write,
    write_later,
)
from mmengine.fileio import atomic_write
from mmengine.utils.errors import ArgumentError

PUBLISHED = ('meta', 'state_dict')


def average(
    paths: Sequence[str | Path],
    out: str | Path,
    weights: Sequence[float] | None = None,
    force: bool = False,
) -> Path:
    """Write a checkpoint with the mean of the weights of several ones; returns its path.

    Means are computed in double precision and have the dtype of the weights. Integers and booleans,
    such as the counts of BN layers, are taken from the last checkpoint, as is ``meta``. Optimizer
    state is not in the result.

    Args:
        paths: Two checkpoints or more, with the same weights.
        out: The file to write.
        weights: A positive number for each checkpoint; None weighs them equally.
        force: Overwrite ``out``.

    Raises:
        ArgumentError: If the checkpoints do not fit each other, or the numbers are wrong.
    """
    if len(paths) < 2:
        raise ArgumentError(f'An average needs two checkpoints or more, got {len(paths)}.')
    shares = [1.0] * len(paths) if weights is None else list(weights)
    if len(shares) != len(paths) or not all(share > 0 for share in shares):
        raise ArgumentError(
            f'{len(paths)} checkpoints need {len(paths)} positive weights, got {shares}.'
        )
    total = sum(shares)
    sums: dict[str, Any] = {}
    content: dict[str, Any] = {}
    for path, share in zip(paths, shares, strict=True):
        content = read(path)
        _check_fit(sums, content['state_dict'], paths[0], path)
        for name, value in content['state_dict'].items():
            if _is_averaged(value):
                part = value.to(_wide(value)) * (share / total)
                sums[name] = sums[name] + part if name in sums else part
            else:
                sums[name] = value
    averaged = OrderedDict(
        (name, sums[name].to(value.dtype) if _is_averaged(value) else value)
        for name, value in content['state_dict'].items()
    )
    meta = {**meta_of(content), 'averaged_from': [Path(path).name for path in paths]}
    write({'meta': meta, 'state_dict': averaged}, out, force)
    return Path(out)


def publish(
    path: str | Path, out_dir: str | Path | None = None, keys: Sequence[str] = PUBLISHED
) -> Path:
    """Write a copy with some parts only, whose name has a part of its SHA-256; returns its path.

    Args:
        path: The checkpoint.
        out_dir: Folder of the copy; None is the folder of the checkpoint.
        keys: Top-level parts to keep.

    Raises:
        ArgumentError: If the checkpoint does not have one of the parts.
    """
    content = read(path)
    missing = [key for key in keys if key not in content]
    if missing:
        raise ArgumentError(
            f'{path} does not have {", ".join(missing)}; it has {", ".join(content)}.'
        )
    buffer = io.BytesIO()
    torch.save(without_objects({key: content[key] for key in keys})[0], buffer)
    data = buffer.getvalue()
    folder = Path(path).parent if out_dir is None else Path(out_dir)
    folder.mkdir(parents=True, exist_ok=True)
    final = folder / f'{Path(path).stem}-{hashlib.sha256(data).hexdigest()[:8]}.pth'
    with atomic_write(final) as file:
        file.write(data)
    return final


def convert(
    path: str | Path,
    out: str | Path,
    force: bool = False,
    shard_size: str | int | None = None,
) -> list[str]:
    """Write a checkpoint in the form that the name of ``out`` tells.

    - ``.pth`` and ``.pt``: a file of ``torch.save``.
    - ``.safetensors``: one file with the weights.
    - ``.safetensors.index.json``, or ``.safetensors`` with ``shard_size``: several files and their
      index, as Hugging Face reads them.
    - a name without a suffix, or with a slash at its end: a folder of
      ``torch.distributed.checkpoint``.

    Tensors are read and written one after the other, so a conversion needs the memory of one file
    of a folder, or of a few tensors. No accelerator and no process group is used.

    Args:
        path: A checkpoint in any of these forms, of any number of ranks.
        out: What to write.
        force: Overwrite ``out``.
        shard_size: Largest size of one of several files, such as '500MB'. The default is 5 GB, and
            256 MiB in a folder.

    Returns:
        The parts that are not in the result: safetensors holds weights, and of ``meta`` what JSON
        can hold.

    Raises:
        ArgumentError: If ``out`` exists and ``force`` is not set, or the size is wrong.
        ImportError: If the package safetensors is missing.
    """
    return write_later(read_later(path), out, force, shard_size)


def _check_fit(
    sums: dict[str, Any], weights: Any, first: str | Path, path: str | Path
) -> None:  # fmt: skip
    if not sums:
        return
    other = sorted(set(sums) ^ set(weights))
    if other:
        shown = ', '.join(other[:5]) + (', ...' if len(other) > 5 else '')
        raise ArgumentError(f'{first} and {path} do not have the same weights: {shown}.')
    for name, value in weights.items():
        if isinstance(value, Tensor) and getattr(sums[name], 'shape', None) != value.shape:
            raise ArgumentError(
                f'{name} has shape {list(value.shape)} in {path} and '
                f'{list(getattr(sums[name], "shape", []))} in {first}.'
            )


def _is_averaged(value: Any) -> bool:
    return isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex())


def _wide(value: Tensor) -> torch.dtype:
    return torch.complex128 if value.is_complex() else torch.float64
