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
from mmengine.runner._pace import pace_of, pace_text
from mmengine.runner._rank_means import RankMeans
from mmengine.runner._shown_losses import shown_at_end
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
        # Finished batches of the present log, and whether their pass has ended.
        self._logged_batches, self._is_pass_over = 1, False
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
        self._logged_batches, self._is_pass_over = batch_idx + 1, False
        tag = self._collected(runner, batch_idx, mode)
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
        pace = self._pace(runner, mode, values, times)
        line += pace_text(pace, {name: _free_name(name, values) for name in pace})
        tag.update({_free_name(name, tag): value for name, value in pace.items()})
        memory = self._get_max_memory(runner)
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
            tag[_free_name('epoch', tag)] = self._get_epoch(runner, mode)
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
        others = self._collect_non_scalars(runner, mode)
        self._logged_batches, self._is_pass_over = batch_idx, True
        collected = self._collected(runner, batch_idx, mode)
        scalars = shown_at_end(collected, hub.log_scalars.copy(), mode, self.log_with_hierarchy)
        time, data_time = (self._full_name(name, mode) for name in _time_names(hub, mode))
        times = {name: scalars.pop(name) for name in (data_time, time) if name in scalars}
        shown = {**scalars, **others, **times}
        line = self._epoch_position(runner, mode)
        line += '  '.join(f'{name}: {self._number(value)}' for name, value in shown.items())
        pace = self._pace(runner, mode, times, (time, data_time))
        line += f'  {pace_text(pace, {name: _free_name(name, shown) for name in pace})}'.rstrip()
        tag = {**scalars, **(others if with_non_scalar else {}), **times}
        return tag, line

    # -- scalars ----------------------------------------------------------------------------------

    def _collected(self, runner: Runner, batch_idx: int, mode: str) -> dict[str, Any]:
        """The scalars, through the methods that a subclass may override."""
        own = type(self)
        custom_cfg = self.custom_cfg
        if (
            own._parse_windows_size is not LogProcessor._parse_windows_size
            or own._collect_scalars is not LogProcessor._collect_scalars
        ):
            custom_cfg = self._parse_windows_size(runner, batch_idx, custom_cfg)
        return self._collect_scalars(custom_cfg, runner, mode)

    # Subclasses of projects call and override this method and the next ones.
    def _collect_scalars(
        self,
        custom_cfg: list[dict[str, Any]],
        runner: Runner,
        mode: str,
        reserve_prefix: bool = False,
    ) -> dict[str, Any]:
        """Each scalar of ``mode`` averaged over its window, then the custom statistics.

        Args:
            custom_cfg: The custom statistics; windows may be numbers, 'epoch' or 'global'.
            runner: The run.
            mode: 'train', 'val' or 'test'.
            reserve_prefix: Whether names begin with the mode.
        """
        # A window of 0 would mean the whole history.
        num_batches, whole_epoch = max(self._logged_batches, 1), self._is_pass_over
        scalars: dict[str, Any] = {}
        buffers = runner.message_hub.log_scalars.copy()  # another thread may add keys
        times = _time_names(runner.message_hub, mode)
        in_place, added = self._custom_of(custom_cfg, mode, buffers)
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
        if reserve_prefix and not self.log_with_hierarchy:
            return {f'{mode}/{name}': value for name, value in scalars.items()}
        return scalars

    def _collect_non_scalars(self, runner: Runner, mode: str) -> dict[str, Any]:
        """The values of ``mode`` in the message hub that are not a single number."""
        return {
            self._full_name(key.split('/', 1)[1], mode): value
            for key, value in runner.message_hub.runtime_info.copy().items()
            if key.startswith(f'{mode}/')
        }

    def _parse_windows_size(
        self, runner: Runner, batch_idx: int, custom_cfg: list[dict[str, Any]] | None = None
    ) -> list[dict[str, Any]]:
        """``custom_cfg`` with the number of iterations in place of 'epoch' and 'global'."""
        self._logged_batches = batch_idx if self._is_pass_over else batch_idx + 1
        parsed = []
        for entry in self.custom_cfg if custom_cfg is None else custom_cfg:
            window = entry.get('window_size')
            if window == 'epoch':
                entry = {**entry, 'window_size': batch_idx + 1}
            elif window == 'global':
                entry = {**entry, 'window_size': runner.iter + 1}
            parsed.append(dict(entry))
        return parsed

    def _get_iter(self, runner: Runner, batch_idx: int | None = None) -> int:
        """The number of the iteration in the log line: in its epoch, or in the run."""
        return batch_idx + 1 if self.by_epoch and batch_idx is not None else runner.iter + 1

    def _get_epoch(self, runner: Runner, mode: str) -> int:
        """The number of the epoch that trains, or that has ended before a validation.

        Raises:
            ArgumentError: If ``mode`` is neither 'train' nor 'val'.
        """
        if mode not in ('train', 'val'):
            raise ArgumentError(f"The mode of an epoch is 'train' or 'val', got {mode!r}.")
        return runner.epoch + 1 if mode == 'train' else runner.epoch

    def _remove_prefix(self, string: str, prefix: str) -> str:
        return string.removeprefix(prefix)

    def _get_max_memory(self, runner: Runner) -> int | None:
        """Peak memory of this rank's device in MB."""
        return _max_memory_mb()

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
        self, custom_cfg: list[dict[str, Any]], mode: str, buffers: Mapping[str, Any]
    ) -> tuple[dict[str, dict[str, Any]], list[dict[str, Any]]]:
        """Custom statistics with an existing source: those that replace it and additional ones."""
        in_place, added = {}, []
        for entry in custom_cfg:
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
            done = self._get_iter(runner, batch_idx) if self.by_epoch else batch_idx + 1
            at = f'[{done:>{len(length)}}/{length}]'
        if not self.by_epoch:
            if mode == 'train':
                width = len(str(runner.max_iters))
                at = f'[{self._get_iter(runner):>{width}}/{runner.max_iters}]'
            return f'Iter({mode}) {at}  '
        if mode == 'test':
            return f'Epoch({mode}) {at}  '
        epoch = f'[{self._get_epoch(runner, mode)}]'
        width = len(str(runner.max_epochs)) + 2
        return f'Epoch({mode}) {epoch:>{width}}{at}  '

    def _epoch_position(self, runner: Runner, mode: str) -> str:
        length = self._shown_length(runner, mode)
        at = f'[{length}/{length}]    '
        if not self.by_epoch:
            return f'Iter({mode}) {at}'
        return (
            f'Epoch(val) [{self._get_epoch(runner, mode)}]{at}'
            if mode == 'val'
            else f'Epoch({mode}) {at}'
        )

    def _times(self, hub: MessageHub, values: Mapping[str, Any], times: Sequence[str]) -> str:
        """Remaining time and times, if a timer hook records them."""
        if any(name not in values for name in times):
            return ''
        eta = timedelta(seconds=int(hub.get_info('eta') or 0))
        shown = '  '.join(f'{name}: {values[name]:.{self.num_digits}f}' for name in times)
        return f'{_free_name("eta", values)}: {eta}  {shown}  '

    def _pace(
        self, runner: Runner, mode: str, values: Mapping[str, Any], times: Sequence[str]
    ) -> dict[str, float]:
        if any(name not in values for name in times):
            return {}
        return pace_of(self._get_cur_loop(runner, mode).dataloader, values, times)

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
