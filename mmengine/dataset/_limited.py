"""The first batches of each pass over a dataloader (``limit_batches``)."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterator
from typing import Any

from torch.utils.data import DataLoader, IterableDataset

from mmengine.logging import print_log
from mmengine.utils.errors import ArgumentError

# 0.29 * 100 is a little less than 29.
_ROUNDING = 1e-9


class FirstBatches:
    """The first ``num_batches`` batches of each pass over a batch sampler.

    Attributes:
        PASSES_ON: The attribute that gives the indices.
    """

    is_endless = False
    is_limited = True
    PASSES_ON = '_batch_sampler'

    def __init__(self, batch_sampler: Any, num_batches: int) -> None:
        self._batch_sampler = batch_sampler
        self._num_batches = num_batches

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or name == '_batch_sampler':
            raise AttributeError(name)
        return getattr(self._batch_sampler, name)

    def __iter__(self) -> Iterator[Any]:
        return itertools.islice(iter(self._batch_sampler), self._num_batches)

    def __len__(self) -> int:
        if _is_endless(self._batch_sampler):
            return self._num_batches
        return min(self._num_batches, len(self._batch_sampler))


class FirstIndices(FirstBatches):
    """The same for a sampler of a dataloader without batches, whose passes begin at index 0."""

    def __getattr__(self, name: str) -> Any:
        # A sampler that jumps to an index would be followed by as many as from the begin.
        if name in ('skip', 'start_at'):
            raise AttributeError(name)
        return super().__getattr__(name)


class LimitedStream(DataLoader[Any]):
    """A dataloader over an iterable dataset that gives the first ``num_batches`` of each pass."""

    is_limited = True

    def __init__(self, *args: Any, num_batches: int, **kwargs: Any) -> None:
        self._num_batches = num_batches
        super().__init__(*args, **kwargs)

    def __iter__(self) -> Any:
        # The iterator is made at once, as it draws the seed of the workers.
        return self._first(super().__iter__())

    def _first(self, batches: Iterator[Any]) -> Iterator[Any]:
        given = 0
        for batch in itertools.islice(batches, self._num_batches):
            given += 1
            yield batch
        if given < self._num_batches and not hasattr(self.dataset, '__len__'):
            self._num_batches = given
            print_log(
                f'The stream {type(self.dataset).__name__} gave only {given} batches, fewer than '
                'its limit_batches. Set limit_batches to that number, so that the length of an '
                'epoch is right from the start.',
                logger='current',
                level=logging.WARNING,
            )

    def __len__(self) -> int:
        if not hasattr(self.dataset, '__len__'):
            return self._num_batches
        return min(self._num_batches, super().__len__())


def limited_loader(limit: int | float, dataset: Any, options: dict[str, Any]) -> DataLoader[Any]:
    """A dataloader that gives the first batches of each pass.

    Args:
        limit: Their number, or their share of a pass.
        dataset: The dataset.
        options: Other arguments of the dataloader.

    Raises:
        ArgumentError: If ``limit`` is a share, and a pass has no known length.
    """
    if isinstance(dataset, IterableDataset):
        length = None
        if hasattr(dataset, '__len__'):
            length = len(
                DataLoader(dataset=dataset, **{**options, 'num_workers': 0, **_NO_WORKERS})
            )
        return LimitedStream(dataset=dataset, num_batches=_number(limit, length), **options)
    loader: DataLoader[Any] = DataLoader(dataset=dataset, **options)
    name = 'sampler' if loader.batch_sampler is None else 'batch_sampler'
    order = vars(loader)[name]
    kind = FirstIndices if name == 'sampler' else FirstBatches
    length = len(order) if hasattr(order, '__len__') else None
    # DataLoader refuses to exchange a sampler; with it as an argument it would lose its batch size.
    vars(loader)[name] = kind(order, _number(limit, length))
    return loader


_NO_WORKERS = {'persistent_workers': False, 'prefetch_factor': None}


def is_limited(dataloader: Any) -> bool:
    """Whether a pass over ``dataloader`` may end before the dataset does, on purpose."""
    parts = (dataloader, getattr(dataloader, 'batch_sampler', None))
    return any(getattr(type(part), 'is_limited', False) for part in parts) or isinstance(
        getattr(dataloader, 'sampler', None), FirstIndices
    )


def checked_limit(name: str, limit: Any) -> int | float:
    """``limit`` itself, if it is a number of batches or a share of them.

    Raises:
        ArgumentError: If it is neither.
    """
    is_number = isinstance(limit, (int, float)) and not isinstance(limit, bool)
    if is_number and (0 < limit <= 1 if isinstance(limit, float) else limit >= 1):
        result: int | float = limit
        return result
    raise ArgumentError(
        f'{name} is a number of batches such as 10, or a share of them such as 0.1; got {limit!r}.'
    )


def _number(limit: int | float, length: int | None) -> int:
    if isinstance(limit, int):
        return limit
    if length is None:
        raise ArgumentError(
            f'limit_batches={limit} is a share of the batches, but this data has no length. Set '
            'it to a number of batches.'
        )
    return max(int(length * limit + _ROUNDING), 1)


def _is_endless(order: Any) -> bool:
    return bool(getattr(getattr(order, 'sampler', order), 'is_endless', False))
