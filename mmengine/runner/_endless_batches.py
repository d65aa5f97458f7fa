"""The batches of an iteration-based training: pass after pass over one dataloader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from mmengine.dataset._dataloader import set_epoch
from mmengine.dataset._direct_batches import direct_batches
from mmengine.runner._batch_position import is_endless
from mmengine.runner._data_position import BegunPass, DataStart, begin_data

NO_BATCH = (
    'The training dataloader gave no batch in a whole pass: its dataset is empty, or smaller than '
    'a batch with drop_last=True.'
)


class _InfiniteDataloaderIterator:
    """Goes over a dataloader again and again; its samplers get the number of each pass as an epoch.

    Making an iterator draws a number for the seeds of workers. The API draws it when the loop is
    built, before weights are initialised. So it is drawn here, and used for the first pass.
    """

    def __init__(self, dataloader: DataLoader[Any]) -> None:
        self._dataloader = dataloader
        self._epoch = 0
        self._batches: Iterator[Any] | None = None
        self._pass = BegunPass(dataloader, 0, 0, 0)
        # Iterations of the run: those whose batches were taken, and those before the present pass.
        self._num_taken = self._pass_began = 0
        self._state_at_draw: torch.Tensor | None = None
        if isinstance(dataloader, DataLoader) and dataloader.generator is None:
            self._state_at_draw = torch.get_rng_state()
            torch.empty((), dtype=torch.int64).random_()

    def __iter__(self) -> _InfiniteDataloaderIterator:
        return self

    def start_at(
        self, data: DataStart, iteration: int, rng_state: dict[str, Any] | None = None
    ) -> None:
        """Take the batch at ``data`` as the next one, after ``iteration`` finished iterations."""
        data = self._in_next_pass(data)
        self._begin_pass(data.number)
        first = 0
        if data.start or data.number or rng_state is not None or data.loader_state is not None:
            first, self._batches = begin_data(self._dataloader, data, rng_state)
        else:
            self._batches = self._first_pass()
        self._pass = BegunPass(self._dataloader, data.number, data.start, first)
        self._num_taken = self._pass_began = iteration

    def start_after(self, iteration: int) -> DataStart | None:
        """Where the data goes on after ``iteration`` finished iterations.

        The last batch that was taken may not be finished. None if other batches were
        taken than the iterations had.
        """
        if not max(self._num_taken - 1, self._pass_began) <= iteration <= self._num_taken:
            return None
        return self._pass.after(self._pass.first + iteration - self._pass_began)

    def __next__(self) -> Any:
        if self._batches is None:
            self._batches = self._first_pass()
        try:
            batch = next(self._batches)
        except StopIteration:
            self._begin_pass(self._epoch + 1)
            self._batches = direct_batches(iter(self._dataloader))
            self._pass = BegunPass(self._dataloader, self._epoch, 0, 0)
            self._pass_began = self._num_taken
            batch = self._first_of_pass(self._batches)
        self._num_taken += 1
        return batch

    def _begin_pass(self, number: int) -> None:
        self._epoch = number
        set_epoch(self._dataloader, number)

    def _in_next_pass(self, data: DataStart) -> DataStart:
        """The start of the next pass where ``data`` is the end of one."""
        start = data.start
        if not isinstance(start, int) or data.loader_state is not None:
            return data
        if data.drawn_from is not None:
            return data  # a sampler may draw numbers when it has no index left
        is_over = start and not is_endless(self._dataloader) and start >= len(self._dataloader)
        return DataStart(data.number + 1, 0) if is_over else data

    def _first_of_pass(self, batches: Iterator[Any]) -> Any:
        try:
            return next(batches)
        except StopIteration:
            raise RuntimeError(NO_BATCH) from None

    def _first_pass(self) -> Iterator[Any]:
        if self._state_at_draw is None:
            return direct_batches(iter(self._dataloader))
        present = torch.get_rng_state()
        torch.set_rng_state(self._state_at_draw)
        batches = direct_batches(iter(self._dataloader))
        torch.set_rng_state(present)
        return batches
