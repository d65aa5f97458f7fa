"""ResumableLoop: the data of a train loop, which may be replaced or resumed."""

from __future__ import annotations

from collections.abc import Mapping
from operator import attrgetter
from typing import Any

from mmengine.runner._data_position import (
    DataStart,
    pack_position,
    unpack_position,
)
from mmengine.runner.base_loop import BaseLoop, number_samples_of
from mmengine.strategy._state import Position


class ResumableLoop(BaseLoop):
    """A train loop with a dataloader whose position is saved, restored, and asked of another one.

    The position of the run counts epochs and iterations. Where they are in the data is known from
    one of three sources: a checkpoint that was resumed, until its first batch was taken; the
    batches that were finished since; else the counts alone.
    """

    # Subclasses of the API may call the constructor of BaseLoop alone.
    _has_new_data = False
    _resumed_rng: dict[str, Any] | None = None
    # The iteration at which the run was resumed, and where the data goes on.
    _data_start: tuple[int, DataStart] | None = None
    _saved_data: Mapping[str, Any] | None = None
    _position: Position

    def _set_dataloader(self, dataloader: Any) -> None:
        self._dataloader = dataloader
        if '_has_new_data' in vars(self):  # else the constructor is at work
            number_samples_of(self._runner, dataloader)
            self._has_new_data = True
            self._show_metainfo()
            self._adopt_data()
            if self._resumed_start() is not None:
                self._go_on_at(self._saved_data)

    dataloader = property(
        attrgetter('_dataloader'),
        _set_dataloader,
        doc='Where batches come from. An epoch-based loop takes another one for its next epoch, an '
        'iteration-based loop for its next batch.',
    )

    def _adopt_data(self) -> None:
        """Settle what depends on the data; called whenever ``dataloader`` is assigned."""

    def _show_metainfo(self) -> None:
        metainfo = getattr(getattr(self.dataloader, 'dataset', None), 'metainfo', None)
        if metainfo is not None:
            self._runner.visualizer.dataset_meta = metainfo

    def resume(
        self,
        epoch: int,
        iteration: int,
        rng_state: dict[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> None:
        """Go on after ``iteration`` iterations, in which ``epoch`` epochs were finished.

        Args:
            epoch: Finished epochs.
            iteration: Finished iterations.
            rng_state: Random state of this rank at that time, restored when the data begins.
            data: What :meth:`data_position` returned. Without it the data goes on at the batch
                after ``iteration`` of today's batches.
        """
        self._position.epoch, self._position.iter = epoch, iteration
        self._resumed_rng = rng_state
        self._go_on_at(data)

    def data_position(self, is_pass_over: bool, ahead: int = 0) -> dict[str, Any]:
        """The position of the training in its data, in plain values. All ranks call it.

        Args:
            is_pass_over: Whether the present epoch has ended and is not counted yet.
            ahead: Finished batches that are not counted yet.
        """
        return pack_position(self.dataloader, self._start_after(ahead))

    def _go_on_at(self, saved: Mapping[str, Any] | None) -> None:
        """The data goes on at a saved position, worked out with the present dataloader."""
        if saved is None:
            start = self._assumed_start()
        else:
            start = unpack_position(saved, self.dataloader)
        self._saved_data = saved
        self._data_start = self._position.iter, start
        for note in start.notes:
            self._runner.logger.warning(note)

    def _resumed_start(self) -> DataStart | None:
        """Where the data of a resumed training goes on, before its first batch was taken."""
        if self._data_start is None or self._data_start[0] != self._position.iter:
            return None
        return self._data_start[1]

    def _start_after(self, ahead: int = 0) -> DataStart:
        """Where the data goes on after the finished batches, and ``ahead`` that are not counted."""
        resumed = None if ahead else self._resumed_start()
        counted = self._counted_start(ahead) if resumed is None else resumed
        return self._assumed_start() if counted is None else counted

    def _counted_start(self, ahead: int) -> DataStart | None:
        """Where the present dataloader goes on after its batches; None if it has not begun."""
        raise NotImplementedError

    def _assumed_start(self) -> DataStart:
        """Where the data goes on by the counts of epochs and iterations alone."""
        raise NotImplementedError

    def _take_resumed_rng(self) -> dict[str, Any] | None:
        state, self._resumed_rng = self._resumed_rng, None
        return state
