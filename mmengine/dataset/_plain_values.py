"""Which values run no code of a user when they are read, indexed, computed with or collated."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import chain
from types import FunctionType
from typing import Any

import numpy as np
import torch

# A longer check would cost a noticeable part of a pass.
_MAX_DEPTH = 8
_MAX_VALUES = 2_000_000
_MAX_TENSORS = 100_000

_NUMERIC = 'biufcmMSU'
_NUMPY_SCALARS = frozenset(
    kind for kind in np.sctypeDict.values() if np.dtype(kind).kind in _NUMERIC
)
_ATOMS = frozenset(
    {int, float, complex, bool, str, bytes, type(None), type(...), range}
    | {torch.dtype, torch.device, torch.Size}
) | _NUMPY_SCALARS  # fmt: skip
_SEQUENCES = frozenset({list, tuple, set, frozenset})
_KNOWN = _ATOMS | _SEQUENCES | {dict, torch.Tensor, np.ndarray}

PLAIN_TYPES = frozenset({int, float, bool, complex, str}) | _NUMPY_SCALARS
"""Types that are plain as values too, as in ``dtype=int``."""


def is_plain(value: Any) -> bool:
    """Whether ``value`` is a number, a string, a tensor, an array, or a container of such.

    Types are compared exactly, because a subclass may have other methods. A tensor must have no
    attributes in its ``__dict__``, and an array no objects. Very large or deep containers count as
    not plain.
    """
    level: list[Any] = [value]
    seen = tensors = 0
    for _ in range(_MAX_DEPTH):
        kinds = set(map(type, level))
        if kinds <= _ATOMS:
            return True
        seen += len(level)
        if seen > _MAX_VALUES or not kinds <= _KNOWN:
            return False
        inner: list[Iterable[Any]] = []
        for entry in level:
            kind = type(entry)
            if kind in _SEQUENCES:
                inner.append(entry)
            elif kind is dict:
                inner += entry, entry.values()
            elif kind is torch.Tensor:
                tensors += 1
                if tensors > _MAX_TENSORS or entry.__dict__:
                    return False
            elif kind is np.ndarray and entry.dtype.kind not in _NUMERIC:
                return False
        # The types of all entries on a level are found at the speed of C, one level after another.
        level = list(chain.from_iterable(inner))
    return False


def tensors_are_unpatched(methods: Iterable[str] = ()) -> bool:
    """Whether operators and ``methods`` of ``torch.Tensor`` are those that torch gave it."""
    present = vars(torch.Tensor)
    operators = {name for name in present if name.startswith('__')} - _CACHES
    names = operators | _OPERATORS | set(methods)
    return all(present.get(name) is _OF_TORCH.get(name) for name in names)


def _is_of_torch(name: str, value: Any) -> bool:
    # Nobody can change the base class torch._C.TensorBase, where most functions in C are.
    if not isinstance(value, FunctionType):
        return name.startswith('__') or getattr(value, '__name__', name) == name
    return str(value.__globals__.get('__name__')).partition('.')[0] == 'torch'


_OF_TORCH = {name: value for name, value in vars(torch.Tensor).items() if _is_of_torch(name, value)}
# Python keeps these in a class: the first when an object of it is copied or pickled.
_CACHES = {'__slotnames__', '__annotations__', '__annotations_cache__', '__static_attributes__'}
_OPERATORS = {name for name in _OF_TORCH if name.startswith('__')} - _CACHES
