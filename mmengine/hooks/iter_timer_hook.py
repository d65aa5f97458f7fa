"""Times each iteration and its wait for data, and estimates when the run will end."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

from mmengine.hooks.hook import DataBatch, Hook
from mmengine.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.runner import Runner

_DATA_TIME = {mode: f'{mode}/data_time' for mode in ('train', 'val', 'test')}
_TIME = {mode: f'{mode}/time' for mode in ('train', 'val', 'test')}


@HOOKS.register_module()
class IterTimerHook(Hook):
    """Writes ``<mode>/data_time`` and ``<mode>/time``, seconds of one iteration, and ``eta``, seconds left.

    A device computes behind the host's back: a time is what the host waited, which over many iterations is the same.
    """

    priority = 'NORMAL'

    def __init__(self) -> None:
        self._last = 0.0
        self._total_s = 0.0
        self._num_timed = 0

    def before_train(self, runner: Runner) -> None:
        """Count time from here; a resumed run estimates from its own iterations."""
        self._total_s, self._num_timed = 0.0, 0

    def _before_epoch(self, runner: Runner, mode: str = 'train') -> None:
        self._last = perf_counter()
        if mode != 'train':
            self._total_val_s, self._num_val = 0.0, 0

    def _after_epoch(self, runner: Runner, mode: str = 'train') -> None:
        self._last = perf_counter()

    def _before_iter(
        self, runner: Runner, batch_idx: int, data_batch: DataBatch = None, mode: str = 'train'
    ) -> None:
        runner.message_hub.update_scalar(_DATA_TIME[mode], perf_counter() - self._last)

    def _after_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: Sequence[Any] | dict[str, Any] | None = None,
        mode: str = 'train',
    ) -> None:
        now = perf_counter()
        elapsed = now - self._last
        self._last = now
        hub = runner.message_hub
        hub.update_scalar(_TIME[mode], elapsed)
        if mode == 'train':
            self._total_s += elapsed
            self._num_timed += 1
            left = runner.max_iters - runner.iter - 1
            hub.update_info('eta', self._total_s / self._num_timed * left)
            return
        self._total_val_s += elapsed
        self._num_val += 1
        dataloader = runner.val_dataloader if mode == 'val' else runner.test_dataloader
        left = len(dataloader) - batch_idx - 1
        hub.update_info('eta', self._total_val_s / self._num_val * left)
