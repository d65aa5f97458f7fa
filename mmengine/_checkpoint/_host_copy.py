"""A copy of a checkpoint in host memory, which training does not change any more."""

from __future__ import annotations

import copy
from collections import OrderedDict
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

_EXACT = frozenset((bool, int, float, complex, str, bytes, type(None)))


def host_copy(value: Any) -> Any:
    """Copy ``value`` so that ``torch.save`` writes the same bytes for the copy as for ``value``.

    Each storage is copied once, and the copies of tensors that share a storage share one too. An
    object that is in several places is one object in the copy too. Tensors of an accelerator become
    tensors in host memory.
    """
    return _Copier().copy(value)


class _Copier:
    def __init__(self) -> None:
        # Copies by the id of the original, and the originals, so that no id is used again.
        self._copies: dict[int, tuple[Any, Any]] = {}
        self._storages: dict[int, tuple[Any, Any]] = {}

    def copy(self, value: Any) -> Any:
        if type(value) in _EXACT:
            return value
        known = self._copies.get(id(value))
        if known is not None:
            return known[1]
        copied = self._copied(value)
        self._copies[id(value)] = (value, copied)
        return copied

    def _copied(self, value: Any) -> Any:
        if isinstance(value, Tensor):
            return self._tensor(value)
        if type(value) is dict:
            return {key: self.copy(item) for key, item in value.items()}
        if type(value) is OrderedDict:
            copied = OrderedDict((key, self.copy(item)) for key, item in value.items())
            # A state dict has the versions of its modules there.
            copied.__dict__.update(self.copy(value.__dict__))
            return copied
        if type(value) is list:
            return [self.copy(item) for item in value]
        if type(value) is tuple:
            items = tuple(self.copy(item) for item in value)
            is_same = all(new is old for new, old in zip(items, value, strict=True))
            return value if is_same else items
        if isinstance(value, np.ndarray) and value.dtype != object:
            return value.copy()
        return copy.deepcopy(value)

    def _tensor(self, value: Tensor) -> Tensor:
        if value.is_meta:
            return value  # another rank has its values
        if type(value) not in (Tensor, nn.Parameter) or _has_no_storage(value):
            return value.detach().clone().cpu().requires_grad_(value.requires_grad)
        storage = value.untyped_storage()
        known = self._storages.get(storage._cdata)
        if known is None:
            # On an accelerator this is the copy from the device; a copy on the host otherwise.
            copied_storage: Any = storage
            is_here = storage.device.type == 'cpu'
            known = (storage, copied_storage.clone() if is_here else copied_storage.cpu())
            self._storages[storage._cdata] = known
        with torch.no_grad():
            copied = torch.empty(0, dtype=value.dtype)
            copied.set_(
                known[1],  # type: ignore[arg-type]  # torch's stubs lack untyped storages
                value.storage_offset(),
                value.size(),
                value.stride(),
            )
            if value.is_conj():
                copied = copied.conj()
            if value.is_neg():
                copied = copied._neg_view()
        if isinstance(value, nn.Parameter):
            return nn.Parameter(copied, requires_grad=value.requires_grad)
        return copied.requires_grad_(value.requires_grad)


def _has_no_storage(value: Tensor) -> bool:
    """Whether the values are not in one plain storage, as in a sparse tensor."""
    return value.layout != torch.strided or value.is_quantized or value.is_nested
