"""LogProcessor: makes log lines and scalars from the message hub."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from mmengine.dataset._dataloader import num_batches
from mmengine.device import (
    get_max_cuda_memory,
    get_max_musa_memory,
    is_cuda_available,
    is_musa_available,
)
from mmengine.logging._engine_names import engine_name
from mmengine.registry import LOG_PROCESSORS
from mmengine.runner._rank_means import RankMeans
from mmengine.runner._shown_losses import shown_once
from mmengine.utils._given import follow, notes_given
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from mmengine.logging import MessageHub
    from mmengine.runner.runner import Runner

_TIMES = ('time', 'data_time')
_RATES = ('lr', 'base_lr', engine_name('lr'), engine_name('base_lr'))


@LOG_PROCESSORS.register_module()
class LogProcessor:
    """Averages the scalars of the message hub over windows, and formats them.

    Args:
        window_size: Iterations over which scalars that match ``mean_pattern`` are averaged.
        by_epoch: Whether log lines show positions in epochs. If not given, what the train loop
            counts.
        custom_cfg: Other statistics: dicts with ``data_src`` (a scalar without its mode),
            ``method_name``, ``window_size`` (a number, 'epoch' or 'global') and ``log_name``. If
            ``log_name`` is missing, the statistic replaces the scalar itself.
        num_digits: Digits after the decimal point.
        log_with_hierarchy: Keep the mode in scalar names: 'train/loss'.
        mean_pattern: Regular expression for the scalars to average; for other scalars the last
            value is shown.
        mean_over_ranks: In a distributed training, let :class:`LoggerHook` log the mean of each
            value over all ranks, except the times; False logs the values of each rank.

    Raises:
        ArgumentError: If an entry of ``custom_cfg`` has no source or a wrong window, or two entries
            have the same ``log_name``.
    """

    @notes_given
    def __init__(
        self,
        window_size: int = 10,
        by_epoch: bool = True,
        custom_cfg: list[dict[str, Any]] | None = None,
        num_digits: int = 4,
        log_with_hierarchy: bool = False,
        mean_pattern: str = r'.*(loss|time|data_time|grad_norm).*',
        *,
        mean_over_ranks: bool = True,
    ) -> None:
        self.window_size = window_size
        self.by_epoch = by_epoch
        self.custom_cfg = list(custom_cfg or [])
        self.num_digits = num_digits
        self.log_with_hierarchy = log_with_hierarchy
        self.mean_pattern = re.compile(mean_pattern)
        self.mean_over_ranks = mean_over_ranks
        #: Whether all ranks make the present call, so that values can be exchanged.
        self.is_on_all_ranks = False
        self._rank_means = RankMeans()
        self._averaged: dict[str, bool] = {}
        self._check_custom()

    def follow_loop(self, by_epoch: bool) -> None:
        """Show what the train loop counts, unless ``by_epoch`` was given."""
        follow(self, 'by_epoch', by_epoch)

    def get_log_after_iter(
        self, runner: Runner, batch_idx: int, mode: str
    ) -> tuple[dict[str, Any], str]:
        """Scalars and log line for the iteration that ends now.

        Args:
            runner: The run.
            batch_idx: Index of the batch in the epoch, from 0.
            mode: 'train', 'val' or 'test'.

        Returns:
            The scalars by name with ``epoch`` (by epoch; not in a test) and ``iter``, and the line.
        """
        hub = runner.message_hub
        hub.read_scalars()  # one transfer reads all pending values
        times = _time_names(hub, mode)
        tag = self._scalars(runner, batch_idx + 1, mode)
        if self.is_on_all_ranks and self.mean_over_ranks:
            tag = self._over_ranks(tag, mode, times)
        # The line has its mode once, at its beginning.
        values = {name.removeprefix(f'{mode}/'): value for name, value in tag.items()}
        line = self._position(runner, batch_idx, mode)
        if mode == 'train':
            line += '  '.join(
                f'{name}: {value:.{self.num_digits}e}'
                for name, value in values.items()
                if self._is_rate(name)
            )
        line += '  ' + self._times(hub, values, times)
        memory = _max_memory_mb()
        if memory is not None:
            tag[_free_name('memory', tag)] = memory
            line += f'{_free_name("memory", values)}: {memory}  '
        if mode == 'train':
            # During a validation only the times are shown, because metrics exist only at its end.
            line += '  '.join(
                f'{name}: {self._number(value)}'
                for name, value in values.items()
                if not self._is_rate(name) and name not in times
            )
        if self.by_epoch and mode != 'test':
            epoch = runner.epoch + 1 if mode == 'train' else runner.epoch
            tag[_free_name('epoch', tag)] = epoch
        # The iteration that runs, or that comes after a validation: what subclasses expect here.
        tag[_free_name('iter', tag)] = runner.iter + 1
        return tag, line

    def get_log_after_epoch(
        self, runner: Runner, batch_idx: int, mode: str, with_non_scalar: bool = False
    ) -> tuple[dict[str, Any], str]:
        """Metrics and log line for the validation or test that ends now.

        Args:
            runner: The run.
            batch_idx: Number of batches.
            mode: 'val' or 'test'.
            with_non_scalar: Also return metrics that are not a single number; the log line always
                has them.
        """
        if mode not in ('val', 'test'):
            raise ArgumentError(f"The mode after an epoch must be 'val' or 'test', got {mode!r}.")
        hub = runner.message_hub
        hub.read_scalars()
        others = {
            self._full_name(key.split('/', 1)[1], mode): value
            for key, value in hub.runtime_info.items()
            if key.startswith(f'{mode}/')
        }
        scalars = shown_once(self._scalars(runner, batch_idx, mode, whole_epoch=True), mode)
        time, data_time = (self._full_name(name, mode) for name in _time_names(hub, mode))
        times = {name: scalars.pop(name) for name in (data_time, time) if name in scalars}
        shown = {**scalars, **others, **times}
        line = self._epoch_position(runner, mode)
        line += '  '.join(f'{name}: {self._number(value)}' for name, value in shown.items())
        tag = {**scalars, **(others if with_non_scalar else {}), **times}
        return tag, line

    # -- scalars ----------------------------------------------------------------------------------

    def _scalars(
        self, runner: Runner, num_batches: int, mode: str, whole_epoch: bool = False
    ) -> dict[str, Any]:
        """Each scalar of ``mode`` averaged over its window, then the custom statistics.

        Args:
            runner: The run.
            num_batches: Number of finished batches in the epoch.
            mode: 'train', 'val' or 'test'.
            whole_epoch: Whether the epoch has ended, so that times are averaged over the epoch.
        """
        num_batches = max(num_batches, 1)  # a window of 0 would mean the whole history
        scalars: dict[str, Any] = {}
        buffers = runner.message_hub.log_scalars
        times = _time_names(runner.message_hub, mode)
        in_place, added = self._custom_of(mode, buffers)
        # Each validation has separate times; times of an earlier validation are not used.
        smoothing = self.window_size if mode == 'train' else min(self.window_size, num_batches)
        for key, buffer in buffers.items():
            if not key.startswith(f'{mode}/'):
                continue
            name = key.split('/', 1)[1]
            shown = self._full_name(name, mode)
            if name in in_place:
                entry = in_place[name]
                scalars[shown] = buffer.statistics(
                    entry['method_name'], **self._window_argument(entry, runner, num_batches, mode)
                )
            elif whole_epoch and name not in times:
                # A metric has one value per validation; earlier values belong to earlier ones.
                scalars[shown] = buffer.current()
            elif self._is_averaged(name):
                scalars[shown] = buffer.mean(num_batches if whole_epoch else smoothing)
            else:
                scalars[shown] = buffer.current()
        for entry in added:
            buffer = buffers[f'{mode}/{entry["data_src"]}']
            scalars[self._full_name(entry['log_name'], mode)] = buffer.statistics(
                entry['method_name'], **self._window_argument(entry, runner, num_batches, mode)
            )
        return scalars

    def _over_ranks(
        self, scalars: Mapping[str, Any], mode: str, times: Sequence[str]
    ) -> dict[str, Any]:
        own = {self._full_name(name, mode) for name in times}
        methods = {
            self._full_name(entry.get('log_name', entry['data_src']), mode): entry['method_name']
            for entry in self.custom_cfg
            if 'method_name' in entry
        }
        given = {name: value for name, value in scalars.items() if name not in own}
        return {**scalars, **self._rank_means.reduce(given, methods)}

    def _custom_of(
        self, mode: str, buffers: Mapping[str, Any]
    ) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
        """Custom statistics with an existing source: those that replace it and additional ones."""
        in_place, added = {}, []
        for entry in self.custom_cfg:
            if f'{mode}/{entry["data_src"]}' not in buffers:
                continue
            entry = {'method_name': 'mean', **entry}
            if 'log_name' in entry:
                added.append(entry)
            else:
                in_place[entry['data_src']] = entry
        return in_place, added

    def _window_argument(
        self, entry: Mapping[str, Any], runner: Runner, num_batches: int, mode: str
    ) -> dict[str, Any]:
        extra = {
            key: value
            for key, value in entry.items()
            if key not in ('data_src', 'method_name', 'log_name', 'window_size')
        }
        if 'window_size' in entry:
            extra['window_size'] = self._window(entry['window_size'], runner, num_batches, mode)
        return extra

    def _window(self, window: int | str, runner: Runner, num_batches: int, mode: str) -> int:
        if window == 'global' and mode == 'train':
            return runner.iter + 1
        if window in ('epoch', 'global'):
            return num_batches  # a window of a validation starts at its first batch
        return int(window)

    def _check_custom(self) -> None:
        names = [entry['log_name'] for entry in self.custom_cfg if 'log_name' in entry]
        for name in names:
            if names.count(name) > 1:
                raise ArgumentError(f'Two entries of custom_cfg have the log_name {name!r}.')
        replaced = [entry.get('data_src') for entry in self.custom_cfg if 'log_name' not in entry]
        for entry in self.custom_cfg:
            if 'data_src' not in entry:
                raise ArgumentError(
                    f'An entry of custom_cfg needs data_src; this entry has {sorted(entry)}.'
                )
            window = entry.get('window_size', 1)
            if window not in ('epoch', 'global') and (not isinstance(window, int) or window < 1):
                raise ArgumentError(
                    f'The window_size of {entry["data_src"]!r} must be a positive integer, '
                    f"'epoch' or 'global'; got {window!r}."
                )
            if window == 'epoch' and not self.by_epoch:
                raise ArgumentError(
                    f'The window of {entry["data_src"]!r} is an epoch, but by_epoch=False counts '
                    'none.'
                )
            if replaced.count(entry['data_src']) > 1:
                raise ArgumentError(
                    f'Two entries of custom_cfg replace {entry["data_src"]!r}; set log_name in one '
                    'of them.'
                )

    def _is_averaged(self, name: str) -> bool:
        known = self._averaged.get(name)
        if known is None:
            known = self._averaged[name] = self.mean_pattern.match(name) is not None
        return known

    def _full_name(self, name: str, mode: str) -> str:
        return f'{mode}/{name}' if self.log_with_hierarchy else name

    @staticmethod
    @lru_cache(maxsize=1024)
    def _is_rate(name: str) -> bool:
        return name.rsplit('/', 1)[-1].rsplit('.', 1)[-1] in _RATES

    # -- text -------------------------------------------------------------------------------------

    # Subclasses override this method to show another length, for example of several loaders.
    def _get_dataloader_size(self, runner: Runner, mode: str) -> int | None:
        """How many batches a pass in ``mode`` has; None for a stream without a length."""
        return num_batches(self._get_cur_loop(runner, mode).dataloader)

    def _get_cur_loop(self, runner: Runner, mode: str) -> Any:
        """The loop of ``mode``."""
        return getattr(runner, f'{mode}_loop')

    def _shown_length(self, runner: Runner, mode: str) -> str:
        length = self._get_dataloader_size(runner, mode)
        return '?' if length is None else str(length)

    def _position(self, runner: Runner, batch_idx: int, mode: str) -> str:
        if self.by_epoch or mode != 'train':
            length = self._shown_length(runner, mode)
            at = f'[{batch_idx + 1:>{len(length)}}/{length}]'
        if not self.by_epoch:
            if mode == 'train':
                width = len(str(runner.max_iters))
                at = f'[{runner.iter + 1:>{width}}/{runner.max_iters}]'
            return f'Iter({mode}) {at}  '
        if mode == 'test':
            return f'Epoch({mode}) {at}  '
        epoch = f'[{runner.epoch + 1 if mode == "train" else runner.epoch}]'
        width = len(str(runner.max_epochs)) + 2
        return f'Epoch({mode}) {epoch:>{width}}{at}  '

    def _epoch_position(self, runner: Runner, mode: str) -> str:
        length = self._shown_length(runner, mode)
        at = f'[{length}/{length}]    '
        if not self.by_epoch:
            return f'Iter({mode}) {at}'
        return f'Epoch({mode}) [{runner.epoch}]{at}' if mode == 'val' else f'Epoch({mode}) {at}'

    def _times(self, hub: MessageHub, values: Mapping[str, Any], times: Sequence[str]) -> str:
        """Remaining time and times, if a timer hook records them."""
        if any(name not in values for name in times):
            return ''
        eta = timedelta(seconds=int(hub.get_info('eta') or 0))
        shown = '  '.join(f'{name}: {values[name]:.{self.num_digits}f}' for name in times)
        return f'{_free_name("eta", values)}: {eta}  {shown}  '

    def _number(self, value: Any) -> str:
        if isinstance(value, (float, np.floating)):
            return f'{value:.{self.num_digits}f}'
        if isinstance(value, torch.Tensor) and value.numel() == 1:
            return f'{value.item():.{self.num_digits}f}'
        return str(value)


def _time_names(hub: MessageHub, mode: str) -> list[str]:
    """Names of the times of the engine, which are others if the user has values of these names."""
    keys = [f'{mode}/{name}' for name in _TIMES]
    return [hub.engine_keys.get(key, key).split('/', 1)[1] for key in keys]


def _free_name(name: str, taken: Mapping[str, Any]) -> str:
    """A name for a value of the engine that no value of the user has."""
    return engine_name(name) if name in taken else name


def _max_memory_mb() -> int | None:
    """Peak memory of this rank's device in MB; None on a CPU."""
    if is_cuda_available():
        return get_max_cuda_memory()
    if is_musa_available():
        return get_max_musa_memory()
    return None
