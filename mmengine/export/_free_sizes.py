"""Sizes of a target that may vary besides the batch size, and an example with other ones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

from mmengine.export._errors import ExportError
from mmengine.export._target import RESIZED, Entries, Target, flat_names
from mmengine.utils.errors import ArgumentError, did_you_mean


def with_free_sizes(target: Target, dynamic: Mapping[str, Sequence[int]]) -> Target:
    """The target whose inputs may have other sizes, with an example of them.

    Args:
        target: The target.
        dynamic: Dimensions by names of flat inputs.

    Raises:
        ArgumentError: If there is no such input or dimension.
        ExportError: If the model cannot be called with inputs of other sizes.
    """
    if not dynamic:
        return target
    entries = list(target.inputs.values())[-1]
    free = _checked(dynamic, entries)
    failures = []
    for resized in _other_sizes(entries, free):
        changed = replace(target, free=free, inputs={**target.inputs, RESIZED: resized})
        try:
            changed.run(RESIZED)
        except ExportError as error:
            failures.append(error)
            continue
        return changed
    if failures:
        raise failures[0]
    raise ExportError('A size of 1 cannot vary: export with larger samples.')


def _checked(dynamic: Mapping[str, Sequence[int]], entries: Entries) -> dict[str, tuple[int, ...]]:
    tensors = dict(zip(flat_names(entries), tree_flatten(entries)[0], strict=True))
    free = {}
    for name, dims in dynamic.items():
        tensor = tensors.get(name)
        if tensor is None:
            raise ArgumentError(
                f'There is no input {name!r} with sizes that could vary.'
                f'{did_you_mean(name, tensors)} The inputs are {", ".join(tensors)}.'
            )
        wrong = [dim for dim in dims if not 1 <= dim < tensor.dim()]
        if wrong:
            raise ArgumentError(
                f'{name} has the shape {tuple(tensor.shape)}, so dimensions from 1 to '
                f'{tensor.dim() - 1} may vary besides the batch size; got {wrong[0]}.'
            )
        free[name] = tuple(sorted(set(dims)))
    return free


def _other_sizes(entries: Entries, free: Mapping[str, tuple[int, ...]]) -> Iterator[Entries]:
    """The inputs with twice and with half the size in free dimensions, by repeating or leaving out.

    All sizes change by one factor, so sizes that are equal stay so.
    """
    leaves, structure = tree_flatten(entries)
    names = flat_names(entries)
    for factor in (2.0, 0.5):
        changed: list[Any] = []
        smallest = 2
        for name, tensor in zip(names, leaves, strict=True):
            for dim in free.get(name, ()):
                size = int(tensor.shape[dim] * factor)
                # torch takes 1 for a constant.
                smallest = min(smallest, size, tensor.shape[dim])
                tensor = tensor.index_select(dim, torch.arange(size) % tensor.shape[dim])
            changed.append(tensor)
        if smallest >= 2:
            yield tree_unflatten(changed, structure)
