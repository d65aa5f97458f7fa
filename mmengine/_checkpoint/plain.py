"""Converts the values in a checkpoint to types that can be read without running code."""

import logging
from collections.abc import Callable, Mapping
from pathlib import PurePath
from typing import Any

import numpy as np
import torch

from mmengine.logging import print_log
from mmengine.utils._plain import plain
from mmengine.utils._public_name import public_name

_KEPT = frozenset((complex, bytes, torch.dtype, torch.device, torch.Size))


def savable(value: Any, unknown: Callable[[Any], Any]) -> Any:
    """Convert ``value`` to types that ``torch.load(weights_only=True)`` can read.

    Tensors, numbers, text and plain containers stay the same objects. Numpy values become numbers
    or tensors, paths become text, and objects of subclasses become objects of the plain type.
    ``value`` is not changed.

    Args:
        value: The value to save.
        unknown: Called for an object of any other type; returns its replacement.
    """

    def convert(item: Any) -> Any:
        if type(item) in _KEPT or isinstance(item, torch.Tensor):
            return item
        if isinstance(item, PurePath):
            return str(item)
        if isinstance(item, np.generic) and item.dtype.kind in 'biufcSU':
            return item.item()
        if isinstance(item, np.ndarray):
            if item.dtype.kind in 'biufc':
                return torch.from_numpy(item.copy())
            return savable(item.tolist(), unknown)
        base = next((base for base in (complex, bytes) if isinstance(item, base)), None)
        return NotImplemented if base is None else base(item)

    return plain(value, convert, unknown, share=True)


def plain_checkpoint(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Apply :func:`savable` to a checkpoint, and warn about objects that cannot be converted.

    Such objects are kept: the file is written, but only a reader that runs its code can read it.
    """
    kinds: set[str] = set()

    def keep(value: Any) -> Any:
        kinds.add(public_name(type(value)))
        return value

    result: dict[str, Any] = savable(dict(checkpoint), keep)
    if kinds:
        print_log(
            f'The checkpoint contains objects of {", ".join(sorted(kinds))}. Reading a checkpoint '
            'runs no code from it, so these objects will not be rebuilt. Save tensors, numbers, '
            'text and containers of them instead, such as the state_dict() of an object.',
            logger='current',
            level=logging.WARNING,
        )
    return result
