"""Ranks that all read the same data are warned of."""

import logging

import pytest
from torch.utils.data import DataLoader, IterableDataset

from mmengine.dataset import DefaultSampler
from mmengine.dist import get_rank
from mmengine.runner import _unsplit_data
from mmengine.runner._unsplit_data import warn_of_unsplit_data


class Whole(IterableDataset):
    def __iter__(self):
        return iter(range(8))


class Split(IterableDataset):
    def __iter__(self):
        return iter(range(get_rank(), 8, 2))


@pytest.mark.parametrize(
    ('loader', 'ranks', 'told'),
    [
        (DataLoader(Whole()), 2, 'Whole is a stream'),
        (DataLoader(Whole()), 1, None),
        (DataLoader(Split()), 2, None),
        (DataLoader([1, 2, 3]), 2, 'SequentialSampler, so each of 2 ranks'),
        (DataLoader([1, 2, 3], shuffle=True), 2, 'RandomSampler, so each of 2 ranks'),
        (DataLoader([1, 2, 3], sampler=DefaultSampler([1, 2, 3])), 2, None),
    ],
)
def test_data_that_every_rank_reads_whole_is_warned_of(monkeypatch, loader, ranks, told):
    messages = []
    monkeypatch.setattr(_unsplit_data, 'get_data_parallel_info', lambda: (0, ranks))
    monkeypatch.setattr(
        _unsplit_data, 'print_log', lambda text, logger, level: messages.append((text, level))
    )
    warn_of_unsplit_data(loader)
    assert [level for _, level in messages] == [logging.WARNING] * (told is not None)
    assert told is None or told in messages[0][0]
