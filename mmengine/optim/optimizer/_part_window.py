"""The accumulation windows of optimizer wrappers while a batch is computed in parts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from mmengine.optim.optimizer._window import AccumulationWindow


class PartWindow:
    """Takes the place of the window of an optimizer wrapper.

    A batch counts once, with its last part. Its gradient is the sum of the gradients of its parts,
    each times its weight. All else is up to ``window``.

    Args:
        window: The window of the wrapper, in which the batch is one batch.
        weights: Of the parts; their sum is 1.

    Attributes:
        part: The number of the part that is computed.
    """

    # An optimizer wrapper does not ask a window of one batch.
    size = 2

    def __init__(self, window: AccumulationWindow, weights: Sequence[float]) -> None:
        self._window = window
        self._weights = weights
        self._num_skipped = 0
        self.part = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._window, name)

    @property
    def count(self) -> int:
        """Number of batches counted."""
        return self._window.count

    @count.setter
    def count(self, value: int) -> None:
        self._window.count = value

    @property
    def is_last(self) -> bool:
        """Whether the next part is the last one of its window."""
        return self._is_last_part and self._window.is_last

    @property
    def is_full(self) -> bool:
        """Whether the part that was computed last is the last one of its window."""
        return self._is_last_part and self._window.is_full

    @property
    def divisor(self) -> float:
        """The number by which the loss of the present part is divided."""
        weight = self._weights[self.part]
        return self._window.divisor / weight if weight else float('inf')

    @divisor.setter
    def divisor(self, value: int) -> None:
        self._window.divisor = value

    @property
    def skipped(self) -> int:
        """Number of batches in the open window that gave no gradient, with any of their parts."""
        return self._window.skipped + self._is_skipped

    @skipped.setter
    def skipped(self, value: int) -> None:
        if value:  # a further one
            self._num_skipped += 1
        else:
            self._window.skipped = self._num_skipped = 0

    def advance(self, finished_iters: int | None = None) -> bool:
        """Count the batch, if this is its last part."""
        return self._is_last_part and self._window.advance(finished_iters)

    def close(self) -> None:
        """Reset the values of the open window, after its gradients were used or dropped."""
        self._window.close()
        self._num_skipped = 0

    def end_batch(self) -> AccumulationWindow:
        """Called after the last part; returns the window of the wrapper."""
        self._window.skipped += self._is_skipped
        return self._window

    @property
    def _is_last_part(self) -> bool:
        return self.part == len(self._weights) - 1

    @property
    def _is_skipped(self) -> bool:
        return self._num_skipped == len(self._weights)


@contextmanager
def parts_of_a_batch(wrappers: Sequence[Any], weights: Sequence[float]) -> Iterator[Iterator[int]]:
    """Context in which ``wrappers`` get the parts of a batch, and count one batch.

    It gives an iterator over the numbers of the parts, each of which is computed when it was taken.
    """
    windows: list[Any] = [PartWindow(wrapper._window, weights) for wrapper in wrappers]
    _exchange(wrappers, windows)
    try:
        yield _numbers(windows, len(weights))
    finally:
        _exchange(wrappers, [window.end_batch() for window in windows])


def _exchange(wrappers: Sequence[Any], windows: Sequence[Any]) -> None:
    for wrapper, window in zip(wrappers, windows, strict=True):
        wrapper._window = window


def _numbers(windows: Sequence[PartWindow], num_parts: int) -> Iterator[int]:
    for part in range(num_parts):
        for window in windows:
            window.part = part
        yield part
