"""Helpers for runner and loops."""

import bisect
from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import DataLoader

from mmengine.process.seed import set_random_seed
from mmengine.utils.errors import ArgumentError

__all__ = ['calc_dynamic_intervals', 'set_random_seed']


def calc_dynamic_intervals(
    start_interval: int, dynamic_interval_list: Sequence[tuple[int, int]] | None = None
) -> tuple[list[int], list[int]]:
    """Return the milestones, and the interval that is used from each milestone on.

    Args:
        start_interval: The interval that is used from 0 on.
        dynamic_interval_list: Pairs (milestone, interval), with ascending milestones.

    Raises:
        ArgumentError: If an entry is not a pair, or the milestones are in another order.

    Example:
        >>> calc_dynamic_intervals(2, [(10, 1)])
        ([0, 10], [2, 1])
    """
    changes = list(dynamic_interval_list or [])
    for change in changes:
        if not isinstance(change, (list, tuple)) or len(change) != 2:
            raise ArgumentError(
                f'dynamic_intervals must be pairs (milestone, interval), got {change!r}.'
            )
    milestones = [at for at, _ in changes]
    if milestones != sorted(milestones):
        raise ArgumentError(
            f'dynamic_intervals has the milestones {milestones}, which must be in ascending order.'
        )
    return [0, *(at for at, _ in changes)], [start_interval, *(interval for _, interval in changes)]


def interval_at(milestones: Sequence[int], intervals: Sequence[int], position: int) -> int:
    """The interval that is used at ``position``, which counts from 1."""
    return intervals[bisect.bisect(milestones, position) - 1]


def as_positive(name: str, number: Any) -> int:
    """Return ``number`` as an int if it is a positive integer; 12.0 counts as an integer.

    Raises:
        ArgumentError: If ``number`` is not a positive integer; the message has ``name``.
    """
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int) or number < 1:
        raise ArgumentError(f'{name} must be a positive integer, got {number!r}.')
    return number


def _get_batch_size(dataloader: DataLoader[Any] | Mapping[str, Any]) -> int | None:
    """The batch size of a dataloader or of its config."""
    if isinstance(dataloader, DataLoader):
        if dataloader.batch_size is not None:
            return dataloader.batch_size
        return getattr(dataloader.batch_sampler, 'batch_size', None)
    if not isinstance(dataloader, Mapping):  # an object of another kind
        size = getattr(dataloader, 'batch_size', None)
        return size if isinstance(size, int) else None
    if dataloader.get('batch_size') is not None:
        return int(dataloader['batch_size'])
    batch_sampler = dataloader.get('batch_sampler')
    if isinstance(batch_sampler, Mapping):
        return batch_sampler.get('batch_size')
    return getattr(batch_sampler, 'batch_size', None)
