"""Telling a ``DTensor`` from a plain tensor without importing torch's package for it."""

from __future__ import annotations

import sys
from typing import Any

from torch import Tensor

_PACKAGE = 'torch.distributed.tensor'


def is_dtensor(value: object) -> bool:
    """Whether ``value`` is a tensor or parameter that is spread over a device mesh.

    Nobody can have made one before torch's package was imported, which takes a while.
    """
    package = sys.modules.get(_PACKAGE)
    return package is not None and isinstance(value, package.DTensor)


def full_tensor(value: Tensor) -> Tensor:
    """The whole of ``value`` as a plain tensor; a plain tensor is returned as it is.

    For a ``DTensor`` all ranks of its mesh must call it.
    """
    if not is_dtensor(value):
        return value
    sharded: Any = value
    parts = [type(placement).__name__ == '_StridedShard' for placement in sharded.placements]
    if any(parts):
        # Two axes of the mesh shard one dimension, and the first axis has the smaller parts. torch
        # warns if it has to find that order itself.
        from torch.distributed.tensor import Replicate

        pairs = zip(sharded.placements, parts, strict=True)
        sharded = sharded.redistribute(placements=[Replicate() if part else p for p, part in pairs])
    whole: Tensor = sharded.full_tensor()
    return whole
