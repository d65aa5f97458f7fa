"""StoredTensor: a tensor in a checkpoint whose values are read when they are used."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

Region = tuple[Sequence[int], Sequence[int]]
ReadRegion = Callable[[Region | None], Tensor]

# What a tensor tells without its values.
_FACTS = frozenset(
    getattr(Tensor, name).__get__
    for name in (
        'shape', 'dtype', 'device', 'layout', 'ndim', 'nbytes', 'requires_grad', 'is_leaf',
        'grad', 'is_meta', 'is_cpu', 'is_cuda', 'is_quantized', 'is_nested', 'is_sparse',
    )
) | frozenset(
    getattr(Tensor, name)
    for name in (
        'size', 'dim', 'numel', 'element_size', 'is_floating_point', 'is_complex', '__len__',
        'nelement', 'ndimension',
    )
)  # fmt: skip


class StoredTensor(Tensor):
    """A tensor on the CPU of known shape and dtype, whose values are in a checkpoint.

    Every operation reads the values, and returns plain tensors. They are not kept: a rank that
    copies one tensor after the other holds one of them at a time. :meth:`part` reads no more than
    the part that a rank needs.

    Args:
        shape: Shape of the whole tensor.
        dtype: Its dtype.
        read: Returns the values of a region (offsets and sizes), or the whole for None.
    """

    _read: ReadRegion

    @staticmethod
    def __new__(cls, shape: Sequence[int], dtype: torch.dtype, read: ReadRegion) -> StoredTensor:
        made: StoredTensor = Tensor._make_wrapper_subclass(cls, torch.Size(shape), dtype=dtype)  # type: ignore[attr-defined]  # torch's stubs lack it
        made._read = read
        return made

    def __init__(self, shape: Sequence[int], dtype: torch.dtype, read: ReadRegion) -> None:
        pass

    def whole(self) -> Tensor:
        """All values, as a plain tensor in host memory."""
        return self._read(None)

    def part(self, offsets: Sequence[int], sizes: Sequence[int]) -> Tensor:
        """The values of a box that begins at ``offsets``, as a plain tensor in host memory."""
        return self._read((tuple(offsets), tuple(sizes)))

    def __repr__(  # type: ignore[override]  # torch's stubs name no argument
        self, *, tensor_contents: Any = None
    ) -> str:
        return f'StoredTensor({list(self.shape)}, {self.dtype})'

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.whole().__reduce_ex__(protocol)  # type: ignore[no-untyped-call]  # torch's

    def __deepcopy__(self, memo: Any) -> Tensor:
        return self.whole()

    @classmethod
    def __torch_function__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func in _FACTS:
            with torch._C.DisableTorchFunctionSubclass():
                return func(*args, **(kwargs or {}))
        return func(*read_tree(args), **read_tree(kwargs or {}))

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # torch's stub is a static method
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return func(*read_tree(args), **read_tree(kwargs or {}))


def read_values(value: Any) -> Any:
    """The plain tensor for a :class:`StoredTensor`; other values are returned unchanged."""
    return value.whole() if isinstance(value, StoredTensor) else value


def read_tree(value: Any) -> Any:
    """``value`` with plain tensors in its dicts, lists and tuples."""
    if isinstance(value, StoredTensor):
        return value.whole()
    if type(value) in (dict, OrderedDict):
        return {key: read_tree(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(map(read_tree, value))
    return value
