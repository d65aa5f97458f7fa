"""What a checkpoint may hold: values that open without running code."""

import logging
from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from mmengine.logging import print_log

_EXACT = (
    bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size,
)  # fmt: skip
_CONTAINERS = (dict, OrderedDict, list, tuple, set)
_BASES: tuple[Any, ...] = (bool, int, float, complex, str, bytes)


def plain(value: Any, unknown: Callable[[Any], Any]) -> Any:
    """``value`` in the types that ``torch.load(weights_only=True)`` opens.

    Tensors, numbers, text and plain containers stay what they are, the same objects; numpy values
    become numbers and tensors, subclasses of plain types those types. ``value`` is not changed.

    Args:
        value: What is to be saved.
        unknown: Called for an object of any other kind; gives what is put in its place.
    """
    if type(value) in _EXACT or isinstance(value, torch.Tensor):
        return value
    if isinstance(value, Mapping):
        return _plain_mapping(value, unknown)
    if isinstance(value, (list, tuple, set, frozenset)):
        return _plain_sequence(value, unknown)
    if isinstance(value, np.generic) and value.dtype.kind in 'biufcSU':
        return value.item()
    if isinstance(value, np.ndarray) and value.dtype.kind in 'biufc':
        return torch.from_numpy(value.copy())
    if isinstance(value, np.ndarray):
        return plain(value.tolist(), unknown)
    for base in _BASES:
        if isinstance(value, base):
            return base(value)
    return unknown(value)


def plain_checkpoint(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """:func:`plain` of a whole checkpoint, with a warning that names what has no such form.

    Such an object is kept: the file is written, but opening it needs a reader that trusts it.
    """
    kinds: set[str] = set()

    def keep(value: Any) -> Any:
        kinds.add(f'{type(value).__module__}.{type(value).__qualname__}')
        return value

    result: dict[str, Any] = plain(dict(checkpoint), keep)
    if kinds:
        print_log(
            f'The checkpoint holds objects of {", ".join(sorted(kinds))}. Reading a checkpoint '
            'runs no code from it, so they will not be rebuilt: save tensors, numbers, text and '
            'containers of these instead, such as the state_dict() of an object.',
            logger='current',
            level=logging.WARNING,
        )
    return result


def _plain_mapping(value: Mapping[Any, Any], unknown: Callable[[Any], Any]) -> Any:
    entries = [(plain(key, unknown), plain(entry, unknown)) for key, entry in value.items()]
    is_same = type(value) in _CONTAINERS and all(
        key is old_key and entry is old_entry
        for (key, entry), (old_key, old_entry) in zip(entries, value.items(), strict=True)
    )
    if is_same:
        return value
    if not isinstance(value, OrderedDict):
        return dict(entries)
    copied = OrderedDict(entries)
    copied.__dict__.update(value.__dict__)  # a state dict has the versions of its modules there
    return copied


def _plain_sequence(value: Any, unknown: Callable[[Any], Any]) -> Any:
    items = [plain(item, unknown) for item in value]
    if type(value) in _CONTAINERS and all(
        new is old for new, old in zip(items, value, strict=True)
    ):
        return value
    kind: Any = next((kind for kind in (list, tuple) if isinstance(value, kind)), set)
    return kind(items)
