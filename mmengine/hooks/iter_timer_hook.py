"""IterTimerHook: measures iterations and the wait for data, and estimates the remaining time."""

from __future__ import annotations

from collections.abc import Sequence
from time import time
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

    A device computes behind the host's back: a time is what the host waited, which over many
    iterations is the same.

    A subclass may override :meth:`_after_iter` alone: what it needs is in the attributes.

    Attributes:
        t: ``time.time()`` at the last event, a beginning or an end of an iteration or epoch.
        start_iter: Iterations that were finished when this training began.
        time_sec_tot: Seconds that the iterations of this training took so far.
        time_sec_test_val: The same for the validation or test that runs.
    """

    priority = 'NORMAL'

    def __init__(self) -> None:
        # The wall clock, because subclasses compute `time.time() - self.t`.
        self.t = 0.0
        self.start_iter = 0
        self.time_sec_tot = 0.0
        self.time_sec_test_val = 0.0
        self._train = _Pace()
        self._evaluation = _Pace()

    def before_train(self, runner: Run) -> None:
        """Count time from here; a resumed run estimates from its own iterations."""
        self.start_iter = runner.iter
        self.time_sec_tot = 0.0
        self._train = _Pace(runner.max_iters - runner.iter)

    def _before_epoch(self, runner: Run, mode: str = 'train') -> None:
        if mode != 'train':
            dataloader = runner.val_dataloader if mode == 'val' else runner.test_dataloader
            self.time_sec_test_val = 0.0
            self._evaluation = _Pace(num_batches(dataloader) or 0)
        self.t = time()

    def _after_epoch(self, runner: Run, mode: str = 'train') -> None:
        self.time_sec_test_val = 0.0
        self.t = time()

    def _before_iter(
        self, runner: Run, batch_idx: int, data_batch: DataBatch = None, mode: str = 'train'
    ) -> None:
        runner.message_hub.append_number(_DATA_TIME[mode], time() - self.t)

    def _after_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: Sequence[Any] | dict[str, Any] | None = None,
        mode: str = 'train',
    ) -> None:
        now = time()
        elapsed, self.t = now - self.t, now
        if mode == 'train':
            self.time_sec_tot += elapsed
            eta = self._train.seconds_left(self.time_sec_tot)
        else:
            self.time_sec_test_val += elapsed
            eta = self._evaluation.seconds_left(self.time_sec_test_val)
        hub = runner.message_hub
        hub.append_number(_TIME[mode], elapsed)
        hub.update_info('eta', eta)
        if batch_idx % _FOLD_EVERY == _FOLD_EVERY - 1:
            hub.read_scalars((_DATA_TIME[mode], _TIME[mode]))


class _Pace:
    """Estimates the remaining time from the mean time of the past iterations."""

    __slots__ = ('_left', '_num_timed')

    def __init__(self, num_iters: int = 0) -> None:
        self._left = num_iters
        self._num_timed = 0

    def seconds_left(self, total_s: float) -> float:
        """Seconds that are left after one more iteration, when all so far took ``total_s``."""
        self._num_timed += 1
        self._left -= 1
        return total_s / self._num_timed * self._left if self._left > 0 else 0.0
