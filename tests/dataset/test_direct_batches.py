"""Batches by the short way: those of torch's iterators, and who gets the calls of torch."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.data import dataloader as torch_dataloader

from mmengine.dataset import _direct_batches
from mmengine.dataset._direct_batches import direct_batches

LABEL = '#_SingleProcessDataLoaderIter.__next__'


def loader(**kwargs: Any) -> DataLoader[Any]:
    return DataLoader(list(range(10)), batch_size=4, **kwargs)  # type: ignore[arg-type]


def lists(batches: Iterator[Any]) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


@pytest.mark.parametrize(
    'kwargs',
    [
        {},
        {'shuffle': True},
        {'drop_last': True},
        {'num_workers': 2},
        {'num_workers': 1, 'persistent_workers': True},
    ],
)
def test_two_passes_are_those_of_torch(kwargs) -> None:
    expected, found = (
        loader(generator=torch.Generator().manual_seed(3), **kwargs) for _ in range(2)
    )
    for _ in range(2):
        assert lists(direct_batches(iter(found))) == lists(iter(expected))


def test_the_end_stays_the_end() -> None:
    batches = direct_batches(iter(loader()))
    assert len(list(batches)) == 3
    assert next(batches, None) is None


def test_the_numbers_of_the_iterator_are_kept() -> None:
    theirs: Any = iter(loader())
    next(direct_batches(theirs))
    assert theirs._num_yielded == 1


def test_goes_on_after_an_error() -> None:
    class Broken(list[int]):
        def __getitem__(self, index: Any) -> Any:
            if index == 0:
                raise ValueError('broken')
            return super().__getitem__(index)

    batches = direct_batches(iter(DataLoader(Broken(range(3)))))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match='broken'):
        next(batches)
    assert lists(batches) == [[1], [2]]


def test_profiler_sees_the_very_next_batch() -> None:
    batches = direct_batches(iter(loader()))
    next(batches)
    with torch.autograd.profiler.profile() as profile:
        next(batches)
    assert len([event for event in profile.function_events if LABEL in event.name]) == 1
    assert lists(batches) == [[8, 9]]


def test_next_that_is_replaced_is_called(monkeypatch) -> None:
    batches = direct_batches(iter(loader()))
    next(batches)
    own = torch_dataloader._BaseDataLoaderIter.__next__
    calls = []

    def noted(self: Any) -> Any:
        calls.append(1)
        return own(self)

    monkeypatch.setattr(torch_dataloader._BaseDataLoaderIter, '__next__', noted)
    assert lists(batches) == [[4, 5, 6, 7], [8, 9]]
    assert len(calls) == 3  # with the one that finds the end


def test_next_of_another_torch_is_called(monkeypatch) -> None:
    names = {'__next__': _direct_batches._KNOWN_NAMES['__next__'] - {'warn'}}
    monkeypatch.setattr(_direct_batches, '_KNOWN_NAMES', names)
    _direct_batches._is_known_torch.cache_clear()
    try:
        theirs = iter(loader())
        assert direct_batches(theirs) is theirs
    finally:
        _direct_batches._is_known_torch.cache_clear()


def test_stream_longer_than_announced_is_told() -> None:
    class Stream(IterableDataset[int]):
        def __len__(self) -> int:
            return 2

        def __iter__(self) -> Iterator[int]:
            return iter(range(3))

    stream = DataLoader(Stream())
    len(stream)
    with pytest.warns(UserWarning, match='reported to be 2'):
        assert len(list(direct_batches(iter(stream)))) == 3


def test_other_iterators_are_left_alone() -> None:
    own = iter([1, 2])
    assert direct_batches(own) is own
