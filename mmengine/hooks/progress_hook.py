"""ProgressHook: shows the progress of a run on a terminal."""

from __future__ import annotations

import atexit
import sys
from collections.abc import Sequence
from time import perf_counter
from typing import TYPE_CHECKING, Any

import numpy as np

from mmengine.dataset._dataloader import num_batches
from mmengine.dist import is_main_process
from mmengine.hooks.hook import DataBatch, Hook
from mmengine.hooks.logger_hook import log_interval
from mmengine.logging._shown_once import shown_once
from mmengine.registry import HOOKS
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from mmengine.hooks._progress_display import ProgressDisplay
    from mmengine.hooks.run import Run

_SMOOTHED_OVER = 10


@HOOKS.register_module()
class ProgressHook(Hook):
    """Shows bars of the run and the epoch, losses, learning rates, remaining time and metrics.

    The display is shown on a terminal only; other outputs get the lines of the logger. Lines that
    are logged or printed during the run appear above the display. Losses are taken from the last
    log point of :class:`LoggerHook`: the display reads nothing from the device.

    Args:
        refresh_s: Minimum seconds between two refreshes.
        console: A ``rich.console.Console`` to write to, instead of standard output.

    Raises:
        ArgumentError: If ``refresh_s`` is not positive.
    """

    # Runs after LoggerHook, which has then read the losses of this log point.
    priority = 'LOW'

    def __init__(self, refresh_s: float = 0.2, console: Any = None) -> None:
        if not refresh_s > 0:
            raise ArgumentError(f'refresh_s must be positive, got {refresh_s}.')
        self.refresh_s = refresh_s
        self._console = console
        self._display: ProgressDisplay | None = None
        self._next_refresh = float('inf')
        self._log_every = 10
        self._facts: dict[str, str] = {}

    # -- points -----------------------------------------------------------------------------------

    def before_train(self, runner: Run) -> None:
        """Open the display."""
        self._open()
        if self._display is None:
            return
        self._log_every = log_interval(runner) or 10
        self._facts = {}
        self._begun, self._first_iter = perf_counter(), runner.iter
        self._num_epochs, self._num_iters = runner.max_epochs, runner.max_iters
        self._is_by_epoch = runner.log_processor.by_epoch
        self._display.start('run', 'Training', self._num_iters if self._num_iters >= 0 else None)

    def before_train_epoch(self, runner: Run) -> None:
        """Add a bar for the epoch, if there is more than one."""
        if self._display is not None and self._is_by_epoch and self._num_epochs > 1:
            title = f'Epoch {runner.epoch + 1}/{self._num_epochs}'
            self._display.start('epoch', title, num_batches(runner.train_dataloader))

    def after_train_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Read the values of a log point, and refresh the display if ``refresh_s`` has passed."""
        if (batch_idx + 1) % self._log_every == 0 and self._display is not None:
            self._take_losses(runner)
        if perf_counter() >= self._next_refresh:
            self._show_training(runner, batch_idx + 1, runner.iter + 1)

    def after_train_epoch(self, runner: Run) -> None:
        """Fill the bar of the epoch."""
        if self._display is not None:
            self._show_training(runner, None, runner.iter)
            self._display.stop('epoch')

    def after_train(self, runner: Run) -> None:
        """Fill the bars."""
        if self._display is not None:
            self._show_training(runner, None, runner.iter)

    def before_val_epoch(self, runner: Run) -> None:
        """Add a bar for the validation."""
        self._begin_evaluation('Validation', runner.val_dataloader)

    def before_test_epoch(self, runner: Run) -> None:
        """Add a bar for the test."""
        self._begin_evaluation('Test', runner.test_dataloader)

    def after_val_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Refresh when it is time."""
        if perf_counter() >= self._next_refresh:
            self._show_evaluation(batch_idx + 1)

    def after_test_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Refresh when it is time."""
        if perf_counter() >= self._next_refresh:
            self._show_evaluation(batch_idx + 1)

    def after_val_epoch(self, runner: Run, metrics: dict[str, float] | None = None) -> None:
        """Show the metrics from now on."""
        self._end_evaluation('val', metrics)

    def after_test_epoch(self, runner: Run, metrics: dict[str, float] | None = None) -> None:
        """Show the metrics."""
        self._end_evaluation('test', metrics)

    def on_evaluation_cut(self, runner: Run) -> None:
        """Remove the bar of the evaluation, which has not reached its end."""
        if self._display is not None:
            self._display.stop('evaluation')

    def on_exception(self, runner: Run, error: BaseException) -> None:
        """Close the display before the error is printed."""
        self.close()

    def after_run(self, runner: Run) -> None:
        """Close the display; its last state stays on the terminal as plain text."""
        self.close()

    def close(self) -> None:
        """Close the display, if it is open."""
        display, self._display = self._display, None
        self._next_refresh = float('inf')
        if display is not None:
            display.close()
            atexit.unregister(self.close)

    # -- the display ------------------------------------------------------------------------------

    def _open(self) -> None:
        if self._display is not None or not is_main_process():
            return
        if self._console is None and not sys.stdout.isatty():
            return
        from mmengine.hooks._progress_display import ProgressDisplay

        display = ProgressDisplay(self._console)
        if not display.is_possible:
            return
        display.open()
        # If the process ends before after_run, the cursor of the terminal would stay hidden.
        atexit.register(self.close)
        self._display = display
        self._next_refresh = perf_counter() + self.refresh_s

    def _show_training(self, runner: Run, in_epoch: int | None, finished: int) -> None:
        assert self._display is not None
        timed = finished - self._first_iter
        if timed and self._num_iters >= 0:
            # The elapsed time includes validations, so the estimate includes future validations.
            elapsed = perf_counter() - self._begun
            self._facts['eta'] = _clock(elapsed / timed * (self._num_iters - finished))
        self._display.advance('run', finished)
        if in_epoch is not None:
            self._display.advance('epoch', in_epoch)
        self._refresh()

    def _take_losses(self, runner: Run) -> None:
        """Take smoothed losses, the learning rate and the pace, which LoggerHook has read."""
        for key, buffer in runner.message_hub.log_scalars.copy().items():
            mode, _, name = key.partition('/')
            if mode != 'train':
                continue
            if 'loss' in name:
                self._facts[name] = f'{float(buffer.mean(_SMOOTHED_OVER)):.4g}'
            elif name.rsplit('.', 1)[-1] == 'lr':
                self._facts[name] = f'{float(buffer.current()):.2e}'
            elif name == 'time':
                time_s = max(float(buffer.mean(_SMOOTHED_OVER)), 1e-9)
                self._facts['it/s'] = f'{1 / time_s:.3g}'
                if runner.state.batch_size:
                    self._facts['samples/s'] = f'{runner.state.batch_size / time_s:.4g}'

    def _begin_evaluation(self, title: str, dataloader: Any) -> None:
        self._open()
        if self._display is not None:
            self._display.start('evaluation', title, num_batches(dataloader))
            self._refresh()

    def _show_evaluation(self, finished: int) -> None:
        assert self._display is not None
        self._display.advance('evaluation', finished)
        self._refresh()

    def _end_evaluation(self, stage: str, metrics: dict[str, float] | None) -> None:
        if self._display is None:
            return
        self._display.stop('evaluation')
        numbers = {
            name: value
            for name, value in shown_once(metrics or {}, stage).items()
            if isinstance(value, (int, float, np.number))
        }
        for name, value in numbers.items():
            self._facts[f'{stage} {name.removeprefix(f"{stage}_")}'] = f'{value:.4g}'
        self._refresh()

    def _refresh(self) -> None:
        assert self._display is not None
        self._display.refresh(self._facts)
        self._next_refresh = perf_counter() + self.refresh_s


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{rest:02}'
