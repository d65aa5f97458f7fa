"""Warns of data that every rank of a run reads whole."""

from __future__ import annotations

import inspect
import logging
import re
from typing import Any

from torch.utils.data import DataLoader, IterableDataset, RandomSampler, SequentialSampler

from mmengine.dist._data_parallel import get_data_parallel_info
from mmengine.logging import print_log

# A stream that reads one of these gives each rank or worker its part.
_SPLITS = re.compile(r'rank|world_size|worker_info|shard|split_by', re.IGNORECASE)


def warn_of_unsplit_data(dataloader: Any) -> None:
    """Warn if each of several ranks would get all samples of ``dataloader``.

    A dataloader that is built from a config has a sampler that splits the samples. A ready
    ``DataLoader`` keeps its sampler, and a stream has none.
    """
    world_size = get_data_parallel_info()[1]
    if world_size == 1 or not isinstance(dataloader, DataLoader):
        return
    dataset = dataloader.dataset
    if isinstance(dataset, IterableDataset):
        if _is_whole(type(dataset)):
            _warn(
                f'{type(dataset).__name__} is a stream that does not ask for its rank, so each of '
                f'{world_size} ranks reads all of it. Let its __iter__ give every n-th sample: '
                'mmengine.dist.get_rank(), get_world_size(), and '
                'torch.utils.data.get_worker_info() for the workers of a rank.'
            )
        return
    sampler = type(dataloader.sampler)
    if sampler in (SequentialSampler, RandomSampler):
        _warn(
            f'The DataLoader of {type(dataset).__name__} has a {sampler.__name__}, so each of '
            f'{world_size} ranks reads all samples. Pass sampler=DefaultSampler(dataset) of '
            'mmengine.dataset to it, or give the dataloader as a config.'
        )


def _is_whole(stream: type) -> bool:
    """Whether the code of a stream can be read and does not mention ranks or workers."""
    try:
        sources = [
            inspect.getsource(cls)
            for cls in stream.__mro__[: stream.__mro__.index(IterableDataset)]
            if '__iter__' in vars(cls)
        ]
    except (OSError, TypeError):
        return False
    return bool(sources) and not any(_SPLITS.search(source) for source in sources)


def _warn(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)
