"""Which ranks read different data.

A strategy with tensor parallel computes one batch on several ranks, which have consecutive numbers.
All other parts ask here for their place in the data, so that these ranks read the same samples.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import torch.distributed as torch_dist
from torch.distributed import ProcessGroup

from mmengine.dist import _launch
from mmengine.dist.utils import get_default_group, get_dist_info

T = TypeVar('T')

_ranks_per_batch = 1
# By the default group, which is another one after a new start of the process group.
_GROUPS: dict[tuple[ProcessGroup | None, int], ProcessGroup] = {}


def set_ranks_per_batch(count: int) -> None:
    """Let ``count`` consecutive ranks read the same data from now on.

    A strategy calls this before the process is seeded and before samplers are built.
    """
    global _ranks_per_batch
    _ranks_per_batch = count


def get_data_parallel_info() -> tuple[int, int]:
    """Number of this rank among those that read different data, and how many there are."""
    rank, world_size = get_dist_info()
    count = _count(world_size)
    return rank // count, world_size // count


def is_first_of_batch() -> bool:
    """Whether this rank is the first of those that read the same data."""
    rank, world_size = get_dist_info()
    return rank % _count(world_size) == 0


def of_data_ranks(of_all_ranks: Sequence[T]) -> list[T]:
    """One value for each data-parallel rank, from the values of all ranks in their order."""
    return list(of_all_ranks[:: _count(len(of_all_ranks))])


def get_data_parallel_group() -> ProcessGroup | None:
    """The ranks with different data that have the same place in a batch; None if that is all ranks.

    All ranks must call it.
    """
    rank, world_size = get_dist_info()
    count = _count(world_size)
    if count == 1:
        return None
    key = (get_default_group(), count)
    if key not in _GROUPS:
        _launch.end_group_at_exit()
        _GROUPS[key] = torch_dist.new_group(
            list(range(rank % count, world_size, count)),
            timeout=_launch.group_timeout,
            use_local_synchronization=True,
        )
    return _GROUPS[key]


def _count(world_size: int) -> int:
    # One process has the whole model, whatever the strategy does on several ranks.
    return _ranks_per_batch if world_size >= _ranks_per_batch else 1
