"""Gives each rank its part of data that every rank would read whole.

A dataloader that is built from a config has a sampler that splits the samples. A ready
``DataLoader`` keeps its sampler, and a stream has none: each rank of a run would read all of it,
with the usual seeds in the same order, so that several ranks compute what one would.
"""

from __future__ import annotations

import copy
import logging
import re
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from itertools import zip_longest
from typing import Any

from torch.utils.data import (
    BatchSampler,
    DataLoader,
    IterableDataset,
    IterDataPipe,
    RandomSampler,
    SequentialSampler,
    SubsetRandomSampler,
    WeightedRandomSampler,
)

from mmengine.dataset import DefaultSampler
from mmengine.dataset._fingerprint import fingerprint
from mmengine.dataset._mentions import words_of
from mmengine.dataset._sample_order import has_state
from mmengine.dataset._shared_stream import SharedStream
from mmengine.dist import all_gather_object, get_backend
from mmengine.dist._data_parallel import get_data_parallel_info, of_data_ranks
from mmengine.logging import print_log

# Code that mentions one of these asks for its rank, and divides the data by itself.
_RANK = re.compile(
    r'(?<![a-z])rank|world_?size|dist_info|process_index|num_processes|num_replicas|nodesplit'
    r'|split_by_node|split_dataset_by_node', re.IGNORECASE,
)  # fmt: skip
# Samplers of torch that give every rank the same indices.
_WITHOUT_RANKS = (SequentialSampler, RandomSampler, SubsetRandomSampler, WeightedRandomSampler)
_WORKER = re.compile('worker', re.IGNORECASE)
_SWITCH = 'split_data=False in the config, as in Runner(..., cfg=dict(split_data=False)),'


class GivenData:
    """Whether ranks have given a run different datasets; they compare when the run is made.

    A loop splits its data when it is built, which may be on one rank alone: when it is read there.
    All ranks must make this object.

    Args:
        given: Dataloaders, their configs, and lists or dicts of them.
    """

    def __init__(self, *given: Any) -> None:
        self._datasets: list[Any] = []
        self._differ: list[bool] = []
        if get_data_parallel_info()[1] > 1 and get_backend() != 'fake':
            self._datasets = [dataset for each in given for dataset in _ready_datasets(each)]
            prints = [fingerprint(dataset) for dataset in self._datasets]
            of_ranks = zip_longest(*of_data_ranks(all_gather_object(prints)))
            self._differ = [len(set(of_dataset)) > 1 for of_dataset in of_ranks]

    def differ(self, dataset: Any) -> bool:
        """Whether ranks have other datasets. For one that was not given, all ranks must call it."""
        for given, differ in zip(self._datasets, self._differ, strict=False):
            if given is dataset:
                return differ
        return _ranks_differ(dataset)


def _ready_datasets(given: Any) -> list[Any]:
    if isinstance(given, DataLoader):
        return [given.dataset]
    if isinstance(given, Mapping) and 'dataset' in given:
        return [given['dataset']] if isinstance(given['dataset'], IterableDataset) else []
    if isinstance(given, Mapping):
        return _ready_datasets(list(given.values()))
    if isinstance(given, (list, tuple)):
        return [dataset for each in given for dataset in _ready_datasets(each)]
    return []


def split_over_ranks(
    dataloader: Any, seed: int, is_wanted: bool = True, given: GivenData | None = None
) -> Any:
    """``dataloader``, or a copy of it that gives each rank a part of its samples.

    All ranks must call it, unless its dataset is among ``given``. It copies a ``DataLoader`` that
    has torch's own sampler, or whose stream does not ask for its rank, if all ranks have the same
    data. Where that cannot be known, it warns.

    Args:
        dataloader: The dataloader of a loop.
        seed: Of the run, for the order of samples.
        is_wanted: Whether to split; otherwise it only warns.
        given: Datasets that the ranks have compared.
    """
    ranks = get_data_parallel_info()[1]
    if ranks == 1 or not isinstance(dataloader, DataLoader):
        return dataloader
    differ = _ranks_differ if given is None else given.differ
    if isinstance(dataloader.dataset, IterableDataset):
        return _split_stream(dataloader, is_wanted, differ)
    return _split_indices(dataloader, seed, is_wanted, differ)


def reads_whole_dataset(dataloader: Any) -> bool:
    """Whether each of several ranks reads its whole dataset: the user has divided the data."""
    is_stream = isinstance(getattr(dataloader, 'dataset', None), IterableDataset)
    is_alone = get_data_parallel_info()[1] == 1
    return not is_alone and (is_stream or type(_index_sampler(dataloader)) in _WITHOUT_RANKS)


def _split_indices(
    dataloader: DataLoader[Any], seed: int, is_wanted: bool, differ: Callable[[Any], bool]
) -> DataLoader[Any]:
    name, kind = type(dataloader.dataset).__name__, type(_index_sampler(dataloader))
    if kind not in _WITHOUT_RANKS or differ(dataloader.dataset):
        return dataloader  # each rank has a part already
    if not is_wanted or not _is_plain(dataloader):
        _warn(
            f'The DataLoader of {name} has a {kind.__name__}, so each of '
            f'{get_data_parallel_info()[1]} ranks reads the same samples. Pass '
            'sampler=DefaultSampler(dataset) of mmengine.dataset to it, or give the dataloader as '
            'a config.'
        )
        return dataloader
    sampler = DefaultSampler(dataloader.dataset, shuffle=kind is RandomSampler, seed=seed)  # type: ignore[arg-type]  # sized by duck typing
    exchanged: dict[str, Any] = {'sampler': sampler}
    if dataloader.batch_sampler is not None:
        batches: Any = dataloader.batch_sampler
        exchanged['batch_sampler'] = BatchSampler(sampler, batches.batch_size, batches.drop_last)
    _tell(
        f'The DataLoader of {name} has a {kind.__name__}. Each of {get_data_parallel_info()[1]} '
        f'ranks gets a part of the samples by a DefaultSampler instead; {_SWITCH} lets each rank '
        'read all of them.'
    )
    return _copied(dataloader, exchanged)


def _is_plain(dataloader: DataLoader[Any]) -> bool:
    """Whether the order of ``dataloader`` is one pass over the samples, in batches of one size."""
    sampler, batches = _index_sampler(dataloader), dataloader.batch_sampler
    if type(sampler) not in (SequentialSampler, RandomSampler):
        return False
    if isinstance(sampler, RandomSampler) and (sampler.replacement or sampler._num_samples):
        return False
    return (batches is None or type(batches) is BatchSampler) and not has_state(dataloader)


def _index_sampler(dataloader: Any) -> Any:
    """The sampler of single samples; one that was given within a batch sampler counts."""
    batches = getattr(dataloader, 'batch_sampler', None)
    own = getattr(dataloader, 'sampler', None)
    return own if batches is None else getattr(batches, 'sampler', None)


def _split_stream(
    dataloader: DataLoader[Any], is_wanted: bool, differ: Callable[[Any], bool]
) -> DataLoader[Any]:
    stream: Any = dataloader.dataset
    if isinstance(stream, (SharedStream, IterDataPipe)):
        return dataloader  # torch splits data pipes
    if type(stream).__module__.partition('.')[0] == 'datasets':
        return _split_by_datasets(dataloader, is_wanted)
    words = words_of(stream, _own_worker_init(dataloader))
    if words is not None and any(map(_RANK.search, words)):
        return dataloader
    if differ(stream):
        return dataloader
    rank, ranks = get_data_parallel_info()
    if words is None or not is_wanted or has_state(dataloader):
        _warn(
            f'{type(stream).__name__} is a stream that does not ask for its rank, so each of '
            f'{ranks} ranks reads all of it. Let its __iter__ give every n-th sample: '
            'mmengine.dist.get_rank(), get_world_size(), and '
            'torch.utils.data.get_worker_info() for the workers of a rank.'
        )
        return dataloader
    knows_workers = any(map(_WORKER.search, words))
    _tell(
        f'{type(stream).__name__} is a stream that does not ask for its rank. Each of {ranks} '
        f'ranks reads all of it and keeps every {ranks}-th sample; {_SWITCH} lets each rank keep '
        'all of them.'
    )
    shared = SharedStream(stream, rank, ranks, among_workers=not knows_workers)
    return _copied(dataloader, {'dataset': shared})


def _split_by_datasets(dataloader: DataLoader[Any], is_wanted: bool) -> DataLoader[Any]:
    """Let Hugging Face's package split its stream, unless the user has done so."""
    stream: Any = dataloader.dataset
    if getattr(stream, '_distributed', None) is not None:
        return dataloader
    rank, ranks = get_data_parallel_info()
    if not is_wanted:
        _warn(
            f'The stream of datasets is not split, so each of {ranks} ranks reads all of it. Use '
            'datasets.distributed.split_dataset_by_node.'
        )
        return dataloader
    split: Any = import_module('datasets.distributed').split_dataset_by_node
    _tell(
        f'The stream of datasets is split over {ranks} ranks by split_dataset_by_node; {_SWITCH} '
        'lets each rank read all of it.'
    )
    return _copied(dataloader, {'dataset': split(stream, rank, ranks)})


def _own_worker_init(dataloader: DataLoader[Any]) -> Any:
    """The user's ``worker_init_fn``, which may split a stream among workers."""
    function: Any = dataloader.worker_init_fn
    inner = function.func if isinstance(function, partial) else function
    is_ours = getattr(inner, '__module__', '').partition('.')[0] == 'mmengine'
    return None if is_ours or not dataloader.num_workers else function


def _ranks_differ(dataset: Any) -> bool:
    """Whether ranks were given different data: a user has split it before. All ranks call it."""
    if get_backend() == 'fake':
        return False  # ranks of a plan, which do not exist
    return len(set(of_data_ranks(all_gather_object(fingerprint(dataset))))) > 1


def _copied(dataloader: DataLoader[Any], exchanged: dict[str, Any]) -> DataLoader[Any]:
    """A copy with other parts; the user's own dataloader stays what it is."""
    copied = copy.copy(dataloader)
    attributes = vars(copied)  # DataLoader.__setattr__ refuses to exchange a sampler
    attributes.update(exchanged, _iterator=None)
    attributes.pop('_get_iterator', None)  # it numbers the samples of the user's dataloader
    return copied


def _tell(message: str) -> None:
    print_log(message, logger='current', level=logging.INFO)


def _warn(message: str) -> None:
    print_log(message, logger='current', level=logging.WARNING)
