"""What a terminal shows of a run: a header, a row for each validation, and a summary.

Everything long (environment, config, hooks by point) is in the log file.
"""

from __future__ import annotations

import argparse
import logging
import shutil
import sys
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from time import perf_counter
from typing import Any

from torch.nn.parameter import is_lazy

from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.cli._next_command import TypedCommand
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging._shown_once import shown_once
from mmengine.logging.logger import _shows_color, console_rule
from mmengine.strategy._schedule_steps import flattened
from mmengine.utils._quantities import counted
from mmengine.utils._rows import rows_text

_MAX_METRICS = 6


def console_of(options: argparse.Namespace, has_display: bool) -> AbstractContextManager[None]:
    """Context in which the console shows what the options ask for.

    By default these are warnings and, without a progress display, lines of the log.
    """
    if options.verbose:
        return nullcontext()
    shows_lines = not options.quiet and not has_display

    def is_shown(record: logging.LogRecord) -> bool:
        if record.levelno != logging.INFO:
            return True
        return shows_lines and '\n' not in record.getMessage()

    return console_rule(is_shown)


class ScreenHook(Hook):
    """Prints the header, and on a terminal a row for each validation.

    Args:
        has_table: Whether validations are rows; otherwise the lines of the log have them.
    """

    priority = 'LOWEST'  # after CheckpointHook, which decides what is the best

    def __init__(self, has_table: bool) -> None:
        self._has_table = has_table
        self._columns: list[str] = []
        self._best: Any = None
        self._begun = perf_counter()
        self._first_iter = 0
        self.seconds = 0.0
        self.num_samples = 0

    def before_train(self, runner: Any) -> None:
        """Print the header."""
        self._begun, self._first_iter = perf_counter(), runner.iter
        self._best = _best_of(runner)
        if runner.rank == 0:
            print(header_of(runner), flush=True)

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Print a row, with a star if a checkpoint of it is the best so far."""
        if not self._has_table or runner.rank != 0:
            return
        is_best, self._best = _best_of(runner) != self._best, _best_of(runner)
        row = _row_of(runner, metrics or {}, perf_counter() - self._begun)
        if not self._columns:
            self._columns = _fitting(row, shutil.get_terminal_size((80, 24)).columns)
            print('  '.join(f'{name:>{_width(name)}}' for name in self._columns))
        line = '  '.join(f'{row.get(name, "-"):>{_width(name)}}' for name in self._columns)
        print(_bold(f'{line}  *') if is_best else line, flush=True)

    def after_train(self, runner: Any) -> None:
        """Take the time."""
        self.seconds = perf_counter() - self._begun
        self.num_samples = (runner.iter - self._first_iter) * (runner.state.batch_size or 0)


def header_of(runner: Any) -> str:
    """About ten lines: the run, its model, its data and what trains it."""
    model = unwrap_model(runner.model)
    parameters = list(model.parameters())
    places = dict.fromkeys(str(param.device.type) for param in parameters)
    sized = [param for param in parameters if not is_lazy(param)]
    unknown = len(parameters) - len(sized)
    total = sum(param.numel() for param in sized)
    trained = sum(param.numel() for param in sized if param.requires_grad)
    part = '' if trained == total else f', {trained:,} trained'
    part += f', and {counted(unknown, "tensor")} of unknown size' if unknown else ''
    ranks = get_world_size()
    rows = {
        'Run': runner.experiment_name,
        'Work dir': runner.work_dir,
        'Device': f'{", ".join(places) or "cpu"}, {counted(ranks, "rank")}, '
        f'{type(runner.strategy).__name__}',
        'Model': f'{type(model).__name__}, {counted(total, "parameter")}{part}',
        'Training data': _data_of(runner.train_loop.dataloader),
    }
    if runner.val_loop is not None:
        rows['Validation data'] = _data_of(runner.val_loop.dataloader)
    rows['Optimizer'] = _optimizer_of(runner.optim_wrapper)
    rows['Schedule'] = _schedule_of(runner)
    rows['Log'] = f'{runner.log_dir}/{runner.timestamp}.log'
    return rows_text(rows.items())


def summary_of(runner: Any, screen: ScreenHook, options: argparse.Namespace) -> str:
    """How the training went, where its files are, and what to do next.

    Args:
        runner: The run.
        screen: What has followed it.
        options: The options of the command.
    """
    hub = runner.message_hub
    infos = hub.runtime_info
    rows = {'Time': _clock(screen.seconds)}
    if screen.num_samples > 0 and screen.seconds > 0:
        per_second = screen.num_samples / screen.seconds
        rows['Time'] += f', {per_second:,.0f} samples/s with validations and checkpoints'
    rows['Work dir'] = runner.work_dir
    rows['Log and scalars'] = runner.log_dir
    for title, key in (('Last checkpoint', 'last_ckpt'), ('Best checkpoint', 'best_ckpt')):
        if key in infos:
            rows[title] = hub.get_info(key)
    if 'best_score' in infos:
        names = [name for hook in runner.hooks for name in getattr(hook, 'key_indicators', ())]
        name = f'{names[0]} ' if len(names) == 1 else ''
        rows = {'Best': f'{name}{hub.get_info("best_score"):.4g}', **rows}
    checkpoint = infos.get('best_ckpt', infos.get('last_ckpt'))
    if checkpoint and runner._test_loop is not None:
        words = ['test', options.config, str(checkpoint)]
        rows['Next'] = options.typed.only(('work_dir', 'launcher', 'cfg_options'), words)
    return rows_text(rows.items())


def interruption_of(runner: Any, typed: TypedCommand) -> str:
    """What an interrupted training has saved, and the command that goes on.

    Args:
        runner: The run.
        typed: The present command.
    """
    checkpoint = runner.message_hub.runtime_info.get('last_ckpt')
    if checkpoint is None:
        return rows_text(
            [('Stopped', 'no checkpoint was saved'), ('Begin anew', typed.without(()))]
        )
    command = typed.without(('resume',), ['--resume'])
    return rows_text([('Stopped', f'saved {checkpoint}'), ('Go on with', command)])


def _data_of(loader: Any) -> str:
    dataset = getattr(loader, 'dataset', loader)
    parts = [type(dataset).__name__]
    for size, unit in ((_length(dataset), 'sample'), (_length(loader), 'batch')):
        if size is not None:
            parts.append(counted(size, unit))
    batch_size = getattr(loader, 'batch_size', None)
    return ', '.join(parts) + (f' of {batch_size}' if batch_size else '')


def _length(value: Any) -> int | None:
    try:
        return len(value)
    except (TypeError, NotImplementedError):  # a stream
        return None


def _optimizer_of(wrapper: Any) -> str:
    if not hasattr(wrapper, 'optimizer'):
        return ', '.join(f'{name}: {_optimizer_of(one)}' for name, one in wrapper.items())
    values = sorted(
        float(group['lr']) for group in wrapper.param_groups if group.get('lr') is not None
    )
    ends = dict.fromkeys(f'{value:.3g}' for value in (*values[:1], *values[-1:]))
    kind = type(wrapper).__name__
    parts = [type(wrapper.optimizer).__name__]
    parts += [f'lr {" to ".join(ends)}'] if ends else []
    parts += [] if kind == 'OptimWrapper' else [kind]
    return ', '.join(parts)


def _schedule_of(runner: Any) -> str:
    schedules = runner.param_schedulers or []
    names = ', '.join(dict.fromkeys(type(each).__name__ for each in flattened(schedules)))
    by_epoch = runner.log_processor.by_epoch
    length = runner.max_epochs if by_epoch else runner.max_iters
    return f'{names or "constant"}; {counted(length, "epoch" if by_epoch else "iteration")}'


def _best_of(runner: Any) -> Any:
    infos = runner.message_hub.runtime_info
    return infos.get('best_ckpt'), infos.get('best_score')


def _row_of(runner: Any, metrics: Mapping[str, Any], seconds: float) -> dict[str, str]:
    by_epoch = runner.log_processor.by_epoch
    row = {'epoch': str(runner.epoch)} if by_epoch else {'iteration': str(runner.iter)}
    scalars = runner.message_hub.log_scalars
    if 'train/loss' in scalars:
        row['train loss'] = f'{float(scalars["train/loss"].mean(10)):.4g}'
    for name, value in list(shown_once(metrics, 'val').items())[:_MAX_METRICS]:
        if isinstance(value, (int, float)):
            row[name] = f'{value:.4g}'
    row['time'] = _clock(seconds)
    return row


def _fitting(row: Mapping[str, str], width: int) -> list[str]:
    """The columns that fit into ``width``, the first and the last included."""
    first, *middle, last = row
    used = _width(first) + _width(last) + 5
    chosen = [first]
    for name in middle:
        used += _width(name) + 2
        if used > width:
            break
        chosen.append(name)
    return [*chosen, last]


def _width(name: str) -> int:
    return max(len(name), 8)


def _bold(line: str) -> str:
    return f'\x1b[1m{line}\x1b[0m' if _shows_color(sys.stdout) else line


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f'{hours}:{minutes:02}:{rest:02}'
