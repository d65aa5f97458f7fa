"""The tensors in a checkpoint under one key each, and the rest without them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from mmengine._checkpoint._outside import CheckpointReadError
from mmengine._checkpoint._stored_tensor import read_values
from mmengine.dist._dtensor import is_dtensor

# The file with everything that is not in parts.
STATE = 'state.pth'
# Plain tensors outside of the weights that are smaller are kept with numbers and text: counts of
# steps, states of random number generators.
_SMALL = 2**14
_WEIGHTS = 'state_dict.'


def replace_tensors(tree: Any, replace: Callable[[str, Tensor], Any]) -> Any:
    """A copy of nested dicts, lists and tuples with ``replace(key, tensor)`` for each tensor.

    Keys are the path to a tensor, joined by dots. They are the same for equal trees.
    """
    used: set[str] = set()

    def walk(value: Any, path: tuple[str, ...]) -> Any:
        if isinstance(value, Tensor):
            key = '.'.join(path)
            while key in used:  # {'a.b': ..., 'a': {'b': ...}}
                key += "'"
            used.add(key)
            return replace(key, value)
        if type(value) in (dict, OrderedDict):
            items = ((key, walk(item, (*path, str(key)))) for key, item in value.items())
            if type(value) is dict:
                return dict(items)
            copied = OrderedDict(items)
            copied.__dict__.update(value.__dict__)  # the versions of modules in a state dict
            return copied
        if type(value) in (list, tuple):
            return type(value)([walk(item, (*path, str(at))) for at, item in enumerate(value)])
        return value

    return walk(tree, ())


def take_apart(
    checkpoint: dict[str, Any], is_main: bool = True
) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Separate the tensors that are written in parts from everything else.

    Args:
        checkpoint: A checkpoint of plain types.
        is_main: Whether this rank writes the plain tensors, of which every rank may have another
            value, as of statistics of a batch norm. Other ranks write parts of ``DTensor`` only.

    Returns:
        The checkpoint with meta tensors in their place, and the tensors of this rank by key.
    """
    taken: dict[str, Tensor] = {}

    def take(key: str, tensor: Tensor) -> Tensor:
        if tensor.requires_grad:
            tensor = tensor.detach()
        if not _is_written_in_parts(key, tensor):
            return read_values(tensor)  # type: ignore[no-any-return]  # a tensor
        if is_main or is_dtensor(tensor):
            taken[key] = tensor
        return torch.empty(tensor.shape, dtype=tensor.dtype, device='meta')

    return replace_tensors(checkpoint, take), taken


def without_plain_tensors(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """The checkpoint with meta tensors for all but ``DTensor``."""
    only_parts: dict[str, Any] = replace_tensors(
        checkpoint,
        lambda _, tensor: (
            tensor
            if is_dtensor(tensor)
            else torch.empty(tensor.shape, dtype=tensor.dtype, device='meta')
        ),
    )
    return only_parts


def put_together(rest: Any, tensor_of: Callable[[str, Tensor], Any]) -> Any:
    """The inverse of :func:`take_apart`.

    Args:
        rest: The checkpoint with meta tensors.
        tensor_of: Returns the tensor with a key, given the meta tensor in its place.

    Raises:
        CheckpointReadError: If the content is not a dict.
    """
    if not isinstance(rest, dict):
        raise CheckpointReadError(f'A checkpoint is a dict, got {type(rest).__name__}.')
    return replace_tensors(
        rest, lambda key, tensor: tensor_of(key, tensor) if tensor.is_meta else tensor
    )


def _is_written_in_parts(key: str, tensor: Tensor) -> bool:
    if is_dtensor(tensor):
        return True
    if tensor.is_meta or tensor.layout != torch.strided or tensor.is_quantized or tensor.is_nested:
        return tensor.is_meta  # on another rank than the main one
    return bool(tensor.numel()) and (
        key.startswith(_WEIGHTS) or tensor.numel() * tensor.element_size() >= _SMALL
    )
