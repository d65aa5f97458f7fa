"""Past: sums and extremes of the values that a history no longer keeps one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

_Blocks = npt.NDArray[np.float64]
_LENGTH, _TOTAL, _COUNT, _WEIGHTED, _LOW, _HIGH = range(6)
_MOST_BLOCKS = 512


class Past:
    """Older values of a history in order, added up in at most 512 blocks of about equal length.

    It never changes, so a thread that reads one does not wait for the thread that adds values.

    Args:
        blocks: One row per block: number of values, their sum, the sum of their counts, the sum of
            value times count, the smallest and the largest value.
    """

    def __init__(self, blocks: npt.ArrayLike | None = None) -> None:
        empty: _Blocks = np.empty((0, 6))
        self.blocks: _Blocks = empty if blocks is None else np.asarray(blocks, dtype=np.float64)
        self._sum_up()

    def __len__(self) -> int:
        return self._length

    def plus(self, values: _Blocks, counts: npt.NDArray[Any] | None) -> Past:
        """This past followed by values with their counts, which are all 1 when None."""
        if not len(values):
            return self
        with np.errstate(invalid='ignore', over='ignore'):
            weighted = values if counts is None else values * counts
            block = np.array(
                [[
                    len(values), values.sum(), len(values) if counts is None else counts.sum(),
                    weighted.sum(), values.min(), values.max(),
                ]]
            )  # fmt: skip
            blocks = self.blocks
            # Blocks have the length of the first one, which doubles when blocks are joined.
            if len(blocks) and blocks[-1, _LENGTH] < blocks[0, _LENGTH]:
                block = _joined(blocks[-1:], block)
                blocks = blocks[:-1]
            blocks = np.concatenate([blocks, block])
            if len(blocks) > _MOST_BLOCKS:
                even = blocks[: len(blocks) // 2 * 2]
                pairs = _joined(even[::2], even[1::2])
                blocks = np.concatenate([pairs, blocks[len(even) :]])
        return Past(blocks)

    def curve(self) -> tuple[_Blocks, _Blocks]:
        """The middle position of each block, from 1, and its mean per value."""
        ends = np.cumsum(self.blocks[:, _LENGTH])
        middle = ends - (self.blocks[:, _LENGTH] - 1) / 2
        return middle, self.blocks[:, _TOTAL] / self.blocks[:, _LENGTH]

    def _sum_up(self) -> None:
        with np.errstate(invalid='ignore', over='ignore'):
            sums = self.blocks[:, :_LOW].sum(axis=0)
        self._length = int(sums[_LENGTH])
        self.total = sums[_TOTAL]
        self.count = float(sums[_COUNT])
        self.weighted_total = sums[_WEIGHTED]
        self.low = self.blocks[:, _LOW].min(initial=np.inf)
        self.high = self.blocks[:, _HIGH].max(initial=-np.inf)


def _joined(first: _Blocks, second: _Blocks) -> _Blocks:
    joined = first + second
    joined[:, _LOW] = np.minimum(first[:, _LOW], second[:, _LOW])
    joined[:, _HIGH] = np.maximum(first[:, _HIGH], second[:, _HIGH])
    return joined


NO_PAST = Past()
