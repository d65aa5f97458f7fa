"""Dataloaders whose samples are only looked up, so that random states for them serve nobody."""

from __future__ import annotations

import functools
from typing import Any

from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DistributedSampler,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_convert,
)
from torch.utils.data import default_collate as torch_default_collate
from torch.utils.data._utils import collate as torch_collate

from mmengine.dataset._look_up_proof import only_looks_up
from mmengine.dataset._plain_values import is_plain, tensors_are_unpatched
from mmengine.dataset._sample_seed import holders_of_generators
from mmengine.dataset.sampler import DefaultSampler, InfiniteSampler
from mmengine.dataset.utils import default_collate, pseudo_collate, worker_init_fn

_COLLATES = (torch_default_collate, default_convert, default_collate, pseudo_collate)
_SAMPLERS = (
    DefaultSampler,
    InfiniteSampler,
    SequentialSampler,
    RandomSampler,
    WeightedRandomSampler,
    DistributedSampler,
)


def draws_nothing(loader: Any, order: Any) -> bool:
    """Whether loading and collating the samples of ``loader`` provably draws no random numbers.

    A random state for each sample would cost more than to look it up. Decided when a pass begins:
    what is assigned to the dataset during the pass is not seen.

    Args:
        loader: A DataLoader.
        order: Its indices, or batches of indices.
    """
    return (
        any(loader.collate_fn is known for known in _COLLATES)
        and _collates_as_torch()
        and _gives_plain_indices(order)
        and (loader.num_workers == 0 or _is_known_start(loader.worker_init_fn))
        and tensors_are_unpatched()
        and _is_looked_up(loader.dataset)
    )


def _is_looked_up(dataset: Any) -> bool:
    kind = type(dataset)
    if kind in (list, tuple):
        return is_plain(dataset)
    if kind is TensorDataset:
        return is_plain(dataset.tensors)
    if kind is Subset:
        return is_plain(dataset.indices) and _is_looked_up(dataset.dataset)
    if kind is ConcatDataset:
        return type(dataset.datasets) is list and all(map(_is_looked_up, dataset.datasets))
    return only_looks_up(dataset) and not holders_of_generators(dataset)


def _gives_plain_indices(order: Any) -> bool:
    """An index of a custom sampler may run code where it is used."""
    while True:
        kind = type(order)
        # Our own classes that pass on the indices of another one name their attribute.
        inner = vars(kind).get('PASSES_ON') if kind.__module__.startswith('mmengine.') else None
        if inner is not None:
            order = vars(order)[inner]
        elif kind is BatchSampler:
            order = order.sampler
        else:
            break
    return kind in _SAMPLERS or (kind is SubsetRandomSampler and is_plain(order.indices))


def _is_known_start(start: Any) -> bool:
    """Whether a worker loads from the dataset as it is: another function may change it."""
    return start is None or (type(start) is functools.partial and start.func is worker_init_fn)


def _collates_as_torch() -> bool:
    """Whether nobody has added or exchanged a type in torch's table of collate functions."""
    return all(
        getattr(function, '__globals__', None) is vars(torch_collate)
        for function in torch_collate.default_collate_fn_map.values()
    )
