"""Batches from samples, and seeds for data loading workers."""

from __future__ import annotations

import copy
import functools
import random
import warnings
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np
import torch
from torch.utils.data import default_collate as torch_default_collate

from mmengine.dataset._notes import add_note
from mmengine.registry import FUNCTIONS
from mmengine.utils.errors import ArgumentError

COLLATE_FUNCTIONS = FUNCTIONS

_Leaf = Callable[[Sequence[Any]], Any]


def worker_init_fn(
    worker_id: int,
    num_workers: int,
    rank: int,
    seed: int,
    disable_subprocess_warning: bool = False,
) -> None:
    """Seed ``random``, numpy and torch in a worker, differently in each worker of each rank.

    Args:
        worker_id: Number of the worker on its rank.
        num_workers: Number of workers of a rank.
        rank: The rank.
        seed: Seed of the run.
        disable_subprocess_warning: Silence warnings in all workers but the first, which would only
            repeat them.
    """
    # numpy takes 32 bits
    worker_seed = (num_workers * rank + worker_id + seed) % 2**32
    random.seed(worker_seed)
    np.random.seed(worker_seed)
    torch.manual_seed(worker_seed)
    if disable_subprocess_warning and worker_id != 0:
        warnings.simplefilter('ignore')


@FUNCTIONS.register_module()
def pseudo_collate(data_batch: Sequence[Any]) -> Any:
    """Turn a list of samples into a sample of lists; nothing is stacked, so shapes may differ.

    Mappings keep their type and their keys (the keys of the first sample), named tuples their type,
    other sequences become lists with an entry for each position.

    Args:
        data_batch: The samples, all of one structure.

    Raises:
        ArgumentError: If the batch is empty.
        KeyError: If a sample lacks a key that the first one has.
        RuntimeError: If sequences at the same place differ in length.

    Example:
        >>> pseudo_collate([{'inputs': 1, 'name': 'a'}, {'inputs': 2, 'name': 'b'}])
        {'inputs': [1, 2], 'name': ['a', 'b']}
    """
    return _collate(data_batch, _keep)


@FUNCTIONS.register_module()
def default_collate(data_batch: Sequence[Any]) -> Any:
    """Like :func:`pseudo_collate`, but tensors, arrays and numbers are stacked.

    They become tensors whose first dimension is the batch. Strings, bytes and data elements stay in
    lists.

    Args:
        data_batch: The samples, all of one structure.

    Raises:
        ArgumentError: If the batch is empty.
        KeyError: If a sample lacks a key that the first one has.
        RuntimeError: If tensors at the same place differ in shape, or sequences in length.
        TypeError: If a value is of a kind that cannot be stacked.

    Example:
        >>> default_collate([{'inputs': 1, 'name': 'a'}, {'inputs': 2, 'name': 'b'}])
        {'inputs': tensor([1, 2]), 'name': ['a', 'b']}
    """
    return _collate(data_batch, _stack)


def _collate(batch: Sequence[Any], leaf: _Leaf) -> Any:
    try:
        first = batch[0]
    except IndexError as error:
        raise ArgumentError('A batch must have at least one sample, got none.') from error
    kind: type = type(first)
    regroup = _regrouping(kind)
    return leaf(batch) if regroup is None else regroup(batch, leaf)


@functools.lru_cache(maxsize=256)
def _regrouping(kind: type) -> Callable[[Sequence[Any], _Leaf], Any] | None:
    """How to transpose containers of a type; None for other types."""
    if issubclass(kind, Mapping):
        return _regroup_dicts if kind is dict else _regroup_mappings
    if issubclass(kind, (str, bytes)) or not issubclass(kind, Sequence):
        return None
    is_named_tuple = issubclass(kind, tuple) and hasattr(kind, '_fields')
    return _regroup_named_tuples if is_named_tuple else _regroup_sequences


def _regroup_dicts(batch: Sequence[dict[Any, Any]], leaf: _Leaf) -> dict[Any, Any]:
    columns = {}
    for key in batch[0]:
        try:
            columns[key] = _collate([sample[key] for sample in batch], leaf)
        except (KeyError, IndexError, TypeError, RuntimeError) as error:
            _check_keys(batch)
            add_note(error, f'This is at the key {key!r} of the samples.')
            raise
    return columns


def _regroup_mappings(batch: Sequence[Mapping[Any, Any]], leaf: _Leaf) -> Mapping[Any, Any]:
    columns = _regroup_dicts([dict(sample) for sample in batch], leaf)
    first = batch[0]
    if not isinstance(first, MutableMapping):
        return columns
    # A copy keeps what the constructor would need again, such as the factory of a defaultdict.
    same_kind = copy.copy(first)
    same_kind.update(columns)
    return same_kind


def _regroup_sequences(batch: Sequence[Sequence[Any]], leaf: _Leaf) -> list[Any]:
    return [_collate(column, leaf) for column in _columns(batch)]


def _regroup_named_tuples(batch: Sequence[Any], leaf: _Leaf) -> Any:
    return type(batch[0])(*_regroup_sequences(batch, leaf))


def _columns(batch: Sequence[Sequence[Any]]) -> list[tuple[Any, ...]]:
    try:
        return list(zip(*batch, strict=True))
    except ValueError as error:
        lengths = [len(sample) for sample in batch]
        raise RuntimeError(
            'Sequences at the same place of the samples must be equally long, got lengths '
            f'{lengths}. Put what differs in length into a dict or a tensor.'
        ) from error
    except TypeError as error:
        kinds = sorted({type(sample).__name__ for sample in batch})
        raise TypeError(f'Samples must have one structure, got {" and ".join(kinds)}.') from error


def _check_keys(batch: Sequence[Any]) -> None:
    """Say which sample differs from the first one, if one does."""
    keys = batch[0].keys()
    for number, sample in enumerate(batch):
        if not isinstance(sample, Mapping):
            raise TypeError(
                'Samples must have one structure: sample 0 of the batch is a mapping, sample '
                f'{number} is of type {type(sample).__name__}.'
            )
        missing = [key for key in keys if key not in sample]
        if missing:
            raise KeyError(
                f'Sample {number} of the batch has no {missing[0]!r}, which sample 0 has; it has '
                f'{list(sample)}.'
            )


def _keep(values: Sequence[Any]) -> Sequence[Any]:
    return values


def _stack(values: Sequence[Any]) -> Any:
    kind: type = type(values[0])
    if _stays_in_a_list(kind):
        return values
    try:
        return torch_default_collate(list(values))
    except RuntimeError as error:
        raise RuntimeError(
            f'default_collate cannot stack {_summary(values)}: {error}. Give them one shape in '
            "the pipeline, or use dict(type='pseudo_collate') and let the data preprocessor "
            'stack them.'
        ) from error
    except TypeError as error:
        raise TypeError(
            'default_collate stacks tensors, arrays and numbers of one kind, not '
            f'{_summary(values)}. Leave them out of the samples, or use '
            "dict(type='pseudo_collate'), which keeps them in a list."
        ) from error


@functools.lru_cache(maxsize=256)
def _stays_in_a_list(kind: type) -> bool:
    if issubclass(kind, (str, bytes)):
        return True
    # Data elements are recognised by their methods, so that similar classes of other packages
    # are kept whole.
    return all(hasattr(kind, name) for name in ('metainfo_keys', 'to_dict', 'new'))


def _summary(values: Sequence[Any], limit: int = 4) -> str:
    forms = []
    for value in values[:limit]:
        shape = getattr(value, 'shape', None)
        forms.append(
            type(value).__name__ + (f' of shape {tuple(shape)}' if shape is not None else '')
        )
    more = f' and {len(values) - limit} more' if len(values) > limit else ''
    return ', '.join(forms) + more
