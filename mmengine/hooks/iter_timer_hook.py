"""IterTimerHook: measures iterations and the wait for data, and estimates the remaining time."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from mmengine.dataset._dataloader import num_batches
from mmengine.hooks.hook import DataBatch, Hook
from mmengine.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.hooks.run import Run

_MODES = ('train', 'val', 'test')
_DATA_TIME = {mode: f'{mode}/data_time' for mode in _MODES}
_TIME = {mode: f'{mode}/time' for mode in _MODES}
# Iterations after which times are reduced even if they are not logged.
_FOLD_EVERY = 1024


@HOOKS.register_module()
class IterTimerHook(Hook):
    """Writes ``<mode>/data_time`` and ``<mode>/time`` (of one iteration) and ``eta``, in seconds.

    Times are measured on the host. A device computes asynchronously, so only the mean over many
    iterations equals its compute time.
    """

    priority = 'NORMAL'

    def __init__(self) -> None:
        self._last = 0.0
        self._paces = {mode: _Pace() for mode in _MODES}

    def before_train(self, runner: Run) -> None:
        """Start the measurement; a resumed run uses only the iterations since its start."""
        self._paces['train'] = _Pace(runner.max_iters - runner.iter)

    def _before_epoch(self, runner: Run, mode: str = 'train') -> None:
        if mode != 'train':
            dataloader = runner.val_dataloader if mode == 'val' else runner.test_dataloader
            self._paces[mode] = _Pace(num_batches(dataloader) or 0)
        self._last = perf_counter()

    def _after_epoch(self, runner: Run, mode: str = 'train') -> None:
        self._last = perf_counter()

    def _before_iter(
        self, runner: Run, batch_idx: int, data_batch: DataBatch = None, mode: str = 'train'
    ) -> None:
        runner.message_hub.append_number(_DATA_TIME[mode], perf_counter() - self._last)

    def _after_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: Sequence[Any] | dict[str, Any] | None = None,
        mode: str = 'train',
    ) -> None:
        now = perf_counter()
        elapsed, self._last = now - self._last, now
        hub = runner.message_hub
        hub.append_number(_TIME[mode], elapsed)
        hub.update_info('eta', self._paces[mode].seconds_left(elapsed))
        if batch_idx % _FOLD_EVERY == _FOLD_EVERY - 1:
            hub.read_scalars((_DATA_TIME[mode], _TIME[mode]))


class _Pace:
    """Estimates the remaining time from the mean time of the past iterations."""

    __slots__ = ('_left', '_num_timed', '_total_s')

    def __init__(self, num_iters: int = 0) -> None:
        self._left = num_iters
        self._total_s = 0.0
        self._num_timed = 0

    def seconds_left(self, elapsed_s: float) -> float:
        """Add an iteration that took ``elapsed_s``, and return the remaining seconds."""
        self._total_s += elapsed_s
        self._num_timed += 1
        self._left -= 1
        return self._total_s / self._num_timed * self._left if self._left > 0 else 0.0
