"""Which ranks read different data."""

from __future__ import annotations

from mmengine.dist.utils import get_dist_info


def get_data_parallel_info() -> tuple[int, int]:
    """Number of this rank among those that read different data, and how many there are.

    All ranks do, as no strategy places one batch on several ranks yet.
    """
    return get_dist_info()
