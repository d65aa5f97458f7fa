"""The batches of an iteration-based training: pass after pass over one dataloader."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import DataLoader

from mmengine.dataset._dataloader import set_epoch
from mmengine.runner._batch_position import batch_number, start_batches, with_rng
from mmengine.runner._data_position import DataStart


class _InfiniteDataloaderIterator:
    """Goes over a dataloader again and again; its samplers get the number of each pass as an epoch.

    Making an iterator draws a number for the seeds of workers. The API draws it when the loop is
    built, before weights are initialised. So it is drawn here, and used for the first pass.
    """

    def __init__(self, dataloader: DataLoader[Any]) -> None:
        self._dataloader = dataloader
        self._epoch = 0
        self._num_taken = 0
        self._batches: Iterator[Any] | None = None
        self._state_at_draw: torch.Tensor | None = None
        if isinstance(dataloader, DataLoader) and dataloader.generator is None:
            self._state_at_draw = torch.get_rng_state()
            torch.empty((), dtype=torch.int64).random_()

    def __iter__(self) -> _InfiniteDataloaderIterator:
        return self

    @property
    def position(self) -> tuple[int, int]:
        """The number of the pass, and how many of its batches were taken."""
        return self._epoch, self._num_taken

    def start_at(self, data: DataStart, rng_state: dict[str, Any] | None = None) -> None:
        """Take the batch at ``data`` as the next one."""
        self._epoch = data.number
        set_epoch(self._dataloader, self._epoch)
        self._num_taken = batch_number(self._dataloader, data.start)
        if data.loader_state is not None:
            self._batches = with_rng(iter(self._dataloader), rng_state)
        elif data.start or self._epoch or rng_state is not None:
            self._num_taken, self._batches = start_batches(self._dataloader, data.start, rng_state)
        else:
            self._batches = self._first_pass()

    def __next__(self) -> Any:
        if self._batches is None:
            self._batches = self._first_pass()
        self._num_taken += 1
        try:
            return next(self._batches)
        except StopIteration:
            self._epoch += 1
            self._num_taken = 1
            set_epoch(self._dataloader, self._epoch)
            self._batches = iter(self._dataloader)
        try:
            return next(self._batches)
        except StopIteration:
            raise RuntimeError(
                'The training dataloader gave no batch in a whole pass: its dataset is empty, or '
                'smaller than a batch with drop_last=True.'
            ) from None

    def _first_pass(self) -> Iterator[Any]:
        if self._state_at_draw is None:
            return iter(self._dataloader)
        present = torch.get_rng_state()
        torch.set_rng_state(self._state_at_draw)
        batches = iter(self._dataloader)
        torch.set_rng_state(present)
        return batches
