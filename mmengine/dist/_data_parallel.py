"""Which ranks read different data: all of them, unless a strategy says otherwise."""

from __future__ import annotations

from mmengine.dist.utils import get_dist_info

_info: tuple[int, int] | None = None


def get_data_parallel_info() -> tuple[int, int]:
    """Number of this rank among those that read different data, and how many there are.

    Ranks that share one batch (tensor parallel ones) have the same number. Samplers, the scaling of
    learning rates and everything that counts samples ask here, not for the world size.
    """
    return get_dist_info() if _info is None else _info


def set_data_parallel_info(info: tuple[int, int] | None) -> None:
    """Set what :func:`get_data_parallel_info` returns; None is the rank and the world size.

    Raises:
        ValueError: If the number is not below the count.
    """
    global _info
    if info is not None and not 0 <= info[0] < info[1]:
        raise ValueError(f'A data-parallel rank is in 0 ... {info[1] - 1}, got {info[0]}.')
    _info = info
