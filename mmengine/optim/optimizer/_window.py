"""AccumulationWindow: counts which batches share an optimizer step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class AccumulationWindow:
    """Counts the batches of a run and groups them into windows, each of which makes one step.

    Batches are numbered from 0 over the whole run. A full window holds ``size`` batches and ends at
    a multiple of ``size``. A window is shorter in two cases: the announced end of the run cuts the
    last one, and after :meth:`begin` or :meth:`cut` the rest of a window is a separate window.

    The announced end is a number of iterations. It is also a number of batches only while each
    iteration counts one batch. :meth:`advance` compares the two and drops the end at the first
    difference, until another end is announced.

    Args:
        size: Number of batches in a full window, a positive integer.

    Attributes:
        size: Number of batches in a full window. Change it with :meth:`resize`.
        count: Number of batches counted.
        run_end: Number of batches after which the run ends; None while unknown. Change it with
            :meth:`announce`.
        divisor: The number by which the gradients of the open window were divided; 0 if unknown.
        skipped: Number of batches in the open window that gave no gradient.
        is_restored: Whether ``count`` was loaded and no start was announced since.

    Example:
        >>> window = AccumulationWindow(3)
        >>> _ = window.begin(0, run_end=5)
        >>> [window.bounds(batch) for batch in range(5)]
        [(0, 3), (0, 3), (0, 3), (3, 5), (3, 5)]
    """

    def __init__(self, size: int) -> None:
        self.size = size
        self.count = 0
        self.run_end: int | None = None
        # The batches from `_floor` up to `_floor_end` are one window, of any size.
        self._floor = 0
        self._floor_end = size
        self.divisor = 0
        self.skipped = 0
        self.is_restored = False
        # `count` less the finished iterations of the run, which stays the same while each
        # iteration counts one batch. None without a run.
        self._lead: int | None = None

    # Positions of the windows

    def bounds(self, batch: int) -> tuple[int, int]:
        """The window of ``batch``: its first batch, and the batch after its last."""
        if self._floor <= batch < self._floor_end:
            start, end = self._floor, self._floor_end
        else:
            start = batch - batch % self.size
            end = start + self.size
            if batch < self._floor < end:
                end = self._floor
        if self.run_end is not None and start < self.run_end < end:
            if batch < self.run_end:
                end = self.run_end
            else:
                start = self.run_end
        return start, end

    @property
    def start(self) -> int:
        """The first batch of the present window, which is the window of the next batch."""
        return self.bounds(self.count)[0]

    @property
    def end(self) -> int:
        """The batch after the last one of the present window."""
        return self.bounds(self.count)[1]

    @property
    def is_open(self) -> bool:
        """Whether the present window already has batches."""
        return self.bounds(self.count)[0] < self.count

    @property
    def is_last(self) -> bool:
        """Whether the next batch is the last one of its window."""
        return self.bounds(self.count)[1] == self.count + 1

    @property
    def is_full(self) -> bool:
        """Whether the batch counted last was the last one of its window."""
        return self.bounds(self.count - 1)[1] == self.count

    # Changes

    def advance(self, finished_iters: int | None = None) -> bool:
        """Count one batch.

        Args:
            finished_iters: Finished iterations of the run, without the one that has this batch;
                None without a run.

        Returns:
            Whether the announced end of the run was dropped, because this iteration does not match
            ``count``. The size of the present window may have changed: see :meth:`fit`.
        """
        is_dropped = self.run_end is not None and self._is_off(finished_iters)
        if is_dropped:
            self.announce(None)
        self.count += 1
        return is_dropped

    def follow(self, finished_iters: int | None) -> None:
        """Record the position of the run: the next batch belongs to its next iteration."""
        self._lead = None if finished_iters is None else self.count - finished_iters

    def begin(self, count: int, run_end: int | None, finished_iters: int | None = None) -> bool:
        """Announce the start and the end of the run.

        A restored count is kept, unless the run begins at 0. If it differs from ``count``, the
        wrapper was not called once per iteration; the end of the run is then not used.

        Args:
            count: Number of finished iterations.
            run_end: Number of iterations that the run will have done at its end; None if unknown.
            finished_iters: As in :meth:`advance`.

        Returns:
            Whether the open window and its gradients continue.
        """
        goes_on = count == self.count or (self.is_restored and count > 0)
        if not goes_on:
            self.count = count
            self._open_at(count)
            self.close()
        elif self.count != count and finished_iters is not None:
            run_end = None
        self.is_restored = False
        self.announce(run_end)
        self.follow(finished_iters)
        return goes_on

    def announce(self, run_end: int | None) -> None:
        """Set the end of the run. The batches of an open window stay in it.

        A run that is resumed where it now ends may have an open window. Its end is not announced,
        so that :meth:`cut` finds the batches of that window.
        """
        start = self.start
        is_here = run_end is not None and start < run_end <= self.count
        self.run_end = None if is_here else run_end
        self._open_at(start)

    def resize(self, size: int) -> None:
        """Use windows of ``size`` batches from now on. The batches of an open window stay in it."""
        start = self.start
        self.size = size
        self._open_at(start)

    def fit(self, batch: int) -> float:
        """Record that gradients of the window of ``batch`` are divided by its present size.

        Returns:
            The factor by which to multiply gradients that were divided by another number. The size
            of an open window changes when another end of the run is announced or dropped.
        """
        start, end = self.bounds(batch)
        held, self.divisor = self.divisor, end - start
        return held / self.divisor if held and start < self.count else 1.0

    def move(self, count: int) -> None:
        """Go on with the batch of number ``count``; its window has no batch yet."""
        self.count = count
        self._open_at(count)
        self.close()

    def cut(self) -> tuple[int, float]:
        """End the open window after the batches it has.

        Returns:
            The number of those batches, and the factor that makes their gradients an average.
        """
        start, end = self.bounds(self.count)
        batches = self.count - start
        self._open_at(self.count)
        return batches, (self.divisor or end - start) / batches

    def close(self) -> None:
        """Reset the values of the open window, after its gradients were used or dropped."""
        self.divisor = 0
        self.skipped = 0

    def _is_off(self, finished_iters: int | None) -> bool:
        """Whether the next batch is known to belong to another iteration."""
        return (
            self._lead is not None
            and finished_iters is not None
            and self.count - finished_iters != self._lead
        )

    def _open_at(self, start: int) -> None:
        """Start the present window at ``start``; it ends at the next multiple of ``size``."""
        self._floor = start
        self._floor_end = self.count - self.count % self.size + self.size

    # State

    def state_dict(self) -> dict[str, int]:
        """The position, and the values that describe the gradients of an open window."""
        start, end = self.bounds(self.count)
        return {
            'accumulative_counts': self.size,
            'inner_count': self.count,
            'window_start': start,
            'window_floor': start,  # read by earlier versions
            'window_size': self.divisor if self.divisor and start < self.count else end - start,
            'batches_skipped': self.skipped,
        }

    def load_state_dict(
        self, state: Mapping[str, Any], has_gradients: bool, finished_iters: int | None = None
    ) -> bool:
        """Restore the position; drop an announced end that does not belong to it.

        Args:
            state: The result of :meth:`state_dict`.
            has_gradients: Whether the gradients of an open window were saved too.
            finished_iters: As in :meth:`advance`.

        Returns:
            Whether the saved gradients can be used: only if the size of the windows is the same.
        """
        self.count = state['inner_count']
        self.is_restored = True
        if self._is_off(finished_iters):
            self.run_end = None
        self.close()
        if not has_gradients or state['accumulative_counts'] != self.size:
            self._open_at(self.count)
            return False
        # Earlier versions saved the earliest batch at which the window can start.
        earlier = max(state['window_floor'], self.count - self.count % self.size)
        self._open_at(state.get('window_start', earlier))
        self.divisor = state['window_size']
        self.skipped = state['batches_skipped']
        return True
