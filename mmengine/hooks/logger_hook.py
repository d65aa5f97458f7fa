"""LoggerHook: writes log lines, and writes the same scalars to the visualizer."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from mmengine._checkpoint.files import one_of
from mmengine.dataset._dataloader import num_batches
from mmengine.dist import all_gather_object, get_world_size, master_only
from mmengine.fileio import dump, get_file_backend
from mmengine.hooks._data_wait import DataWait
from mmengine.hooks._end import stopped_within_epoch
from mmengine.hooks._units import Interval, check_unit, unit_of_validations
from mmengine.hooks.hook import DataBatch, Hook
from mmengine.logging._engine_names import engine_name
from mmengine.logging._kept_values import keep_for_log
from mmengine.registry import HOOKS
from mmengine.utils._given import follow, notes_given
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from mmengine.hooks.run import Run


_TURNS = ('every_n_inner_iters', 'every_n_train_iters', 'end_of_epoch')


@HOOKS.register_module()
class LoggerHook(Hook):
    """Logs losses every ``interval`` iterations and metrics after each validation.

    Args:
        interval: Iterations between two log lines.
        ignore_last: Do not log the last iterations of an epoch if they are fewer than
            ``interval``. The last iteration of an iteration-based run, or of a run that stops
            within an epoch, is always logged.
        interval_exp_name: Iterations between two lines with the experiment name; it is also logged
            at the end of an epoch.
        out_dir: Folder or URL to which the log files are copied after the run.
        out_suffix: Suffixes of the files to copy.
        keep_local: Keep the local files after copying.
        file_client_args: The old name of ``backend_args``.
        log_metric_by_epoch: Record metrics by epoch. If not given, what the train loop counts. A
            log processor with ``by_epoch=False`` records them by iteration.
        backend_args: Arguments of the file backend for ``out_dir``.
        unit: 'step' or 'sample': in training, ``interval`` counts optimizer steps or samples.

    Raises:
        ArgumentError: If ``interval`` or ``interval_exp_name`` is not a positive integer.
        TypeError: If one of them is not a number, or ``out_dir`` is not a path.
    """

    priority = 'BELOW_NORMAL'
    unit: str | None = None

    @notes_given
    def __init__(
        self,
        interval: int = 10,
        ignore_last: bool = True,
        interval_exp_name: int = 1000,
        out_dir: str | Path | None = None,
        out_suffix: str | Sequence[str] = ('.json', '.log', '.py', 'yaml'),
        keep_local: bool = True,
        file_client_args: dict[str, Any] | None = None,
        log_metric_by_epoch: bool = True,
        backend_args: dict[str, Any] | None = None,
        *,
        unit: str | None = None,
    ) -> None:
        check_unit(self, unit)
        for name, number in (('interval', interval), ('interval_exp_name', interval_exp_name)):
            if isinstance(number, bool) or not isinstance(number, int) or number < 1:
                kind = ArgumentError if isinstance(number, (int, float)) else TypeError
                raise kind(f'{name} of LoggerHook must be a positive integer, got {number!r}.')
        if out_dir is not None and not isinstance(out_dir, (str, Path)):
            raise TypeError(f'out_dir must be a path or a URL, got {type(out_dir).__name__}.')
        self.interval = interval
        self.unit = unit
        self._turns = Interval(interval)
        self.ignore_last = ignore_last
        self.interval_exp_name = interval_exp_name
        self.out_dir = out_dir
        self.out_suffix = (out_suffix,) if isinstance(out_suffix, str) else tuple(out_suffix)
        self.keep_local = keep_local
        self.backend_args = one_of(backend_args, file_client_args)
        self.file_client_args = file_client_args
        self.log_metric_by_epoch = log_metric_by_epoch
        self.json_log_path: str | None = None
        self._target: str | None = None
        # Batches of an epoch, -1 if unknown: read once per epoch, not in every step.
        self._epoch_length: int | None = None
        # The epoch that was begun last, and the iterations that were finished at the last log line.
        self._epoch = self._logged_at = 0
        self._are_ranks_even = False
        self._data_wait = DataWait()
        # Subclasses of projects override these to log at other moments.
        self._has_own_turns = any(map(self._overrides, _TURNS))

    def follow_loop(self, by_epoch: bool) -> None:
        """Record metrics by what the loop counts, unless ``log_metric_by_epoch`` was given."""
        follow(self, 'log_metric_by_epoch', by_epoch)

    def before_run(self, runner: Run) -> None:
        """Set the names of the files of this start, and keep the values that are averaged."""
        keep_for_log(runner.message_hub, runner.log_processor, self.interval)
        self.json_log_path = f'{runner.timestamp}.json'
        if self.out_dir is not None:
            self._backend = get_file_backend(self.out_dir, backend_args=self.backend_args)
            self._target = self._backend.join_path(
                str(self.out_dir), os.path.basename(runner.work_dir)
            )
            runner.logger.info(f'Log files will be copied to {self._target} after the run.')

    def before_train(self, runner: Run) -> None:
        """Count optimizer steps or samples from here, if ``interval`` is in them."""
        self._data_wait = DataWait()
        if self.unit is not None:
            self._turns = Interval(self.interval)
            self._turns.begin(runner.state.finished(self.unit))

    def before_train_epoch(self, runner: Run) -> None:
        """Read the number of batches, which may differ from the previous epoch."""
        self._epoch_length = None
        self._epoch, self._logged_at = runner.epoch, runner.iter
        self._are_ranks_even = False
        if get_world_size() > 1 and getattr(runner.log_processor, 'mean_over_ranks', False):
            # Ranks of different lengths have different log points.
            lengths = all_gather_object(num_batches(runner.train_loop.dataloader))
            self._are_ranks_even = len(set(lengths)) == 1

    def after_train_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Every ``interval`` iterations: write a log line and a record."""
        if self._has_own_turns:
            self._log_at_own_turns(runner, batch_idx)
            return
        length = self._epoch_length
        if length is None:
            length = self._epoch_length = _batches_of_epoch(runner)
        done = batch_idx + 1
        if done == length or (runner.iter + 1) % self.interval_exp_name == 0:
            runner.logger.info(f'Exp name: {runner.experiment_name}')
        is_turn = done % self.interval == 0 if self.unit is None else self._is_turn(runner)
        if is_turn or (done == length and (self._logs_rest_of(length) or _is_one_epoch(runner))):
            self._log_iter(runner, batch_idx)

    def after_train(self, runner: Run) -> None:
        """Log the last iteration of a run that ends before its length."""
        is_one_epoch = _is_one_epoch(runner)
        if not is_one_epoch and not stopped_within_epoch(runner):
            return  # the end of an epoch was logged, or is not to be
        if runner.iter > self._logged_at:
            done = runner.iter if is_one_epoch else runner.state.position.batch_in_epoch
            last: Any = _AtLastIteration(runner, self._epoch)
            self._log_iter(last, done - 1)

    def _log_at_own_turns(self, runner: Run, batch_idx: int) -> None:
        """As :meth:`after_train_iter`, at the moments of a subclass."""
        loader, is_one_epoch = runner.train_dataloader, _is_one_epoch(runner)
        length = num_batches(loader) or -1
        is_end = self.end_of_epoch(loader, batch_idx)
        if self.every_n_train_iters(runner, self.interval_exp_name) or is_end:
            runner.logger.info(f'Exp name: {runner.experiment_name}')
        if self.unit is None:
            is_turn = self.every_n_inner_iters(batch_idx, self.interval)
        else:
            is_turn = self._is_turn(runner)
        is_last = is_one_epoch and batch_idx + 1 == runner.max_iters
        if is_turn or is_last or (is_end and self._logs_rest_of(length)):
            self._log_iter(runner, batch_idx)

    def _log_iter(self, runner: Run, batch_idx: int) -> None:
        tag, line = self._log_of_training(runner, batch_idx)
        runner.logger.info(line)
        self._data_wait.look(runner, runner.iter + 1 - self._logged_at)
        self._logged_at = runner.iter + 1
        axes = {'iter': runner.iter + 1, 'epoch': runner.epoch}
        self._add_scalars(runner, tag, runner.iter + 1, axes)

    def after_val_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Every ``interval`` batches: a line."""
        if self.every_n_inner_iters(batch_idx, self.interval):
            _, line = runner.log_processor.get_log_after_iter(runner, batch_idx, 'val')
            runner.logger.info(line)

    def after_test_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """Every ``interval`` batches: a line."""
        if self.every_n_inner_iters(batch_idx, self.interval):
            _, line = runner.log_processor.get_log_after_iter(runner, batch_idx, 'test')
            runner.logger.info(line)

    def after_val_epoch(self, runner: Run, metrics: dict[str, float] | None = None) -> None:
        """Write the metrics as a log line and a record, at this epoch or iteration."""
        tag, line = runner.log_processor.get_log_after_epoch(
            runner, num_batches(runner.val_dataloader) or 0, 'val'
        )
        runner.logger.info(line)
        by_epoch = self.log_metric_by_epoch and runner.log_processor.by_epoch
        by_epoch = by_epoch and unit_of_validations(runner) is None  # else several in an epoch
        step = runner.epoch if by_epoch else runner.iter
        axes = {'iter': runner.iter, 'epoch': runner.epoch}
        free = {engine_name(name) if name in tag else name: axes[name] for name in axes}
        self._add_scalars(runner, tag, step, free)

    def after_test_epoch(self, runner: Run, metrics: dict[str, float] | None = None) -> None:
        """Write the metrics as a log line, and as a JSON file next to the log."""
        tag, line = runner.log_processor.get_log_after_epoch(
            runner, num_batches(runner.test_dataloader) or 0, 'test', with_non_scalar=True
        )
        runner.logger.info(line)
        self._dump_metrics(runner, tag)

    @master_only
    def on_exception(self, runner: Run, error: BaseException) -> None:
        """Mark the run as failed in the trackers; ``after_run`` closes them."""
        runner.visualizer.mark_failed(error)

    @master_only
    def after_run(self, runner: Run) -> None:
        """Copy the files to ``out_dir``, and close the backends of the visualizer."""
        try:
            if self._target is not None:
                self._copy_files(runner)
        finally:
            runner.visualizer.close()

    def _is_turn(self, runner: Run) -> bool:
        assert self.unit is not None
        return self._turns.reaches(runner.state.finished(self.unit))

    def _log_of_training(self, runner: Run, batch_idx: int) -> tuple[dict[str, Any], str]:
        processor = runner.log_processor
        processor.is_on_all_ranks = self._are_ranks_even
        try:
            log: tuple[dict[str, Any], str]
            log = processor.get_log_after_iter(runner, batch_idx, 'train')
        finally:
            processor.is_on_all_ranks = False
        return log

    def _add_scalars(
        self, runner: Run, tag: dict[str, Any], step: int, axes: dict[str, int]
    ) -> None:
        if 'step' in tag:  # A value of the user: trackers then read the step of the engine.
            tag = {**tag, engine_name('step'): step}
        runner.visualizer.axes = axes
        runner.visualizer.add_scalars(tag, step=step, file_path=self.json_log_path)

    def _logs_rest_of(self, epoch_length: int) -> bool:
        """Whether the end of an epoch is logged; always if it is shorter than ``interval``."""
        return not self.ignore_last or (self.unit is None and epoch_length <= self.interval)

    @master_only
    def _dump_metrics(self, runner: Run, metrics: dict[str, Any]) -> None:
        values = {name: _as_plain(value) for name, value in metrics.items()}
        name = self.json_log_path or f'{runner.timestamp}.json'
        dump(values, os.path.join(runner.log_dir, name))

    def _copy_files(self, runner: Run) -> None:
        assert self._target is not None
        for path in sorted(Path(runner.work_dir).rglob('*')):
            if not path.is_file() or not path.name.endswith(self.out_suffix):
                continue
            target = self._backend.join_path(
                self._target, path.relative_to(runner.work_dir).as_posix()
            )
            self._backend.put(path.read_bytes(), target)
            runner.logger.info(f'{path} is copied to {target}.')
            if not self.keep_local:
                path.unlink()


class _AtLastIteration:
    """A run as it was in its last iteration, which is counted by now."""

    def __init__(self, runner: Run, epoch: int) -> None:
        self._runner = runner
        self.iter = runner.iter - 1
        self.epoch = epoch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._runner, name)


def _is_one_epoch(runner: Run) -> bool:
    """Whether the run counts iterations, over any number of passes."""
    return hasattr(runner.train_loop, 'dataloader_iterator')


def _batches_of_epoch(runner: Run) -> int:
    """The number of batches after which an epoch ends, or the run if it is one; -1 if unknown."""
    if _is_one_epoch(runner):
        return runner.max_iters
    return num_batches(runner.train_loop.dataloader) or -1


def log_interval(runner: Run) -> int | None:
    """Iterations between two log points of ``runner``; None if no :class:`LoggerHook` has them."""
    loggers = (hook for hook in runner.hooks if isinstance(hook, LoggerHook) and hook.unit is None)
    return next((hook.interval for hook in loggers), None)


def _as_plain(value: Any) -> Any:
    """``value`` as JSON has it: tensors and arrays are lists or numbers, also inside of others.

    What JSON has no form for is its text: the evaluation has run, and its numbers are not lost.
    """
    if isinstance(value, Tensor) and value.layout is not torch.strided:
        value = value.to_dense()
    if isinstance(value, (Tensor, np.ndarray, np.generic)):
        return _as_plain(value.tolist())
    if isinstance(value, Mapping):
        return {str(key): _as_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_as_plain(item) for item in value]
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)
