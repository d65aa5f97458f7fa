"""ProfilerHook and NPUProfilerHook: profile the first epochs or iterations of a run."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mmengine.hooks.hook import DataBatch, Hook
from mmengine.registry import HOOKS
from mmengine.utils.errors import ArgumentError, ArgumentTypeError, did_you_mean

if TYPE_CHECKING:
    from torch.profiler import profile

    from mmengine.hooks.run import Run

Outputs = dict[str, Any] | None

_TRACES = ('log_trace', 'tb_trace')
_SCHEDULE_KEYS = ('wait', 'warmup', 'active', 'repeat', 'skip_first', 'skip_first_wait')
_ROWS = 15


def check_kineto() -> bool:
    """Whether this build of torch can write traces."""
    return bool(torch.profiler.kineto_available())


@HOOKS.register_module()
class ProfilerHook(Hook):
    """Runs ``torch.profiler`` at the start of a training, or of a separate validation or test.

    Every rank profiles itself. Without ``on_trace_ready`` and ``json_trace_path`` a table of the
    slowest operators is logged. Profiling slows a run down: a few iterations are enough.

    Args:
        by_epoch: Whether ``profile_times`` counts epochs (passes over the data).
        profile_times: Epochs or iterations to profile, counted from this start.
        activity_with_cpu: Record the activity of the host.
        activity_with_cuda: Record the activity of the GPU.
        schedule: Arguments of ``torch.profiler.schedule``: which of these steps are recorded.
        on_trace_ready: Called with the profiler after each recording; or ``dict(type='log_trace',
            sort_by=..., row_limit=15)``, which logs a table; or ``dict(type='tb_trace',
            dir_name=..., worker_name=...)``, which writes files for TensorBoard into a folder, by
            default ``tf_tracing_logs`` beside the log.
        record_shapes: Record the shapes of inputs.
        profile_memory: Record allocations and frees of memory.
        with_stack: Record source files and lines.
        with_flops: Estimate the FLOPs of common operators.
        json_trace_path: Write a trace for chrome://tracing or perfetto; ranks other than 0 add
            ``_rank<n>`` to the file name.

    Raises:
        ArgumentError: If ``profile_times`` is not positive or exceeds the length of the training,
            or ``schedule`` or ``on_trace_ready`` is not as described.
    """

    priority = 'VERY_LOW'

    def __init__(
        self,
        *,
        by_epoch: bool = True,
        profile_times: int = 1,
        activity_with_cpu: bool = True,
        activity_with_cuda: bool = False,
        schedule: dict[str, Any] | None = None,
        on_trace_ready: Callable[..., Any] | dict[str, Any] | None = None,
        record_shapes: bool = False,
        profile_memory: bool = False,
        with_stack: bool = False,
        with_flops: bool = False,
        json_trace_path: str | None = None,
    ) -> None:
        if not isinstance(by_epoch, bool):
            raise ArgumentTypeError(f'by_epoch is True or False, got {by_epoch!r}.')
        if profile_times < 1:
            raise ArgumentError(f'profile_times must be at least 1, got {profile_times}.')
        if not (activity_with_cpu or activity_with_cuda):
            raise ArgumentError(
                'There is nothing to profile: set activity_with_cpu or activity_with_cuda.'
            )
        activity = torch.profiler.ProfilerActivity
        self.by_epoch = by_epoch
        self.profile_times = profile_times
        self.activities = [activity.CPU] if activity_with_cpu else []
        if activity_with_cuda:
            self.activities.append(activity.CUDA)
        self.schedule = _schedule(schedule)
        self.on_trace_ready = _checked_trace(on_trace_ready)
        self.record_shapes = record_shapes
        self.profile_memory = profile_memory
        self.with_stack = with_stack
        self.with_flops = with_flops
        self.json_trace_path = json_trace_path
        self.profiler: profile | None = None
        self._is_training = False
        self._left = 0

    # -- start ------------------------------------------------------------------------------------

    def before_train(self, runner: Run) -> None:
        """Start profiling the training."""
        unit, most = (
            ('epochs', runner.max_epochs) if self.by_epoch else ('iterations', runner.max_iters)
        )
        if self.profile_times > most >= 0:
            raise ArgumentError(
                f'profile_times={self.profile_times} {unit} are more than the {most} of this '
                'training. A few iterations are enough: by_epoch=False, profile_times=20.'
            )
        self._is_training = True
        self._start(runner)

    def before_val(self, runner: Run) -> None:
        """Start profiling a validation that is not part of a training."""
        if not self._is_training:
            self._start(runner)

    def before_test(self, runner: Run) -> None:
        """Start profiling a test that is not part of a training."""
        if not self._is_training:
            self._start(runner)

    # -- steps ------------------------------------------------------------------------------------

    def after_train_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: Outputs = None,
    ) -> None:
        """Count a training step."""
        if self.profiler is not None:
            self._step(runner)

    def after_val_iter(
        self, runner: Run, batch_idx: int, data_batch: DataBatch = None, outputs: Any = None
    ) -> None:
        """Count a validation step."""
        if self.profiler is not None and not self._is_training:
            self._step(runner)

    def after_test_iter(
        self, runner: Run, batch_idx: int, data_batch: DataBatch = None, outputs: Any = None
    ) -> None:
        """Count a test step."""
        if self.profiler is not None and not self._is_training:
            self._step(runner)

    def after_train_epoch(self, runner: Run) -> None:
        """Count an epoch."""
        self._end_epoch(runner)

    # -- end --------------------------------------------------------------------------------------

    def after_train(self, runner: Run) -> None:
        """Stop profiling, if it is still active at the end of training."""
        self._end(runner)
        self._is_training = False

    def after_val(self, runner: Run) -> None:
        """Stop profiling after a separate validation."""
        if not self._is_training:
            self._end(runner)

    def after_test(self, runner: Run) -> None:
        """Stop profiling after a separate test."""
        if not self._is_training:
            self._end(runner)

    # -- profiling --------------------------------------------------------------------------------

    def _start(self, runner: Run) -> None:
        if not check_kineto():
            raise RuntimeError(
                'This build of torch has no kineto, so it cannot profile. Remove the ProfilerHook, '
                'or install a build of torch with kineto.'
            )
        self._left = self.profile_times
        self.profiler = torch.profiler.profile(
            activities=self.activities,
            schedule=self.schedule,
            on_trace_ready=self._trace_handler(runner),
            record_shapes=self.record_shapes,
            profile_memory=self.profile_memory,
            with_stack=self.with_stack,
            with_flops=self.with_flops,
        )
        self.profiler.start()
        unit = 'epoch(s)' if self.by_epoch else 'iteration(s)'
        runner.logger.info(f'Profiling the first {self.profile_times} {unit}; it slows them down.')

    def _step(self, runner: Run) -> None:
        assert self.profiler is not None
        self.profiler.step()
        if not self.by_epoch:
            self._left -= 1
            if self._left == 0:
                self._end(runner)

    def _end_epoch(self, runner: Run) -> None:
        if self.by_epoch and self.profiler is not None:
            self._left -= 1
            if self._left == 0:
                self._end(runner)

    def _end(self, runner: Run) -> None:
        profiler, self.profiler = self.profiler, None
        if profiler is None:
            return
        # This call passes the last recording to the handler.
        profiler.stop()

    def _trace_handler(self, runner: Run) -> Callable[[profile], None]:
        """The function that receives each recording."""
        handlers: list[Callable[..., Any]] = []
        if isinstance(self.on_trace_ready, Mapping):
            handlers.append(_configured_handler(runner, dict(self.on_trace_ready)))
        elif self.on_trace_ready is not None:
            handlers.append(self.on_trace_ready)
        if self.json_trace_path is not None:
            path = _path_of_rank(self.json_trace_path, runner.rank)
            handlers.append(lambda profiler: _export(runner, profiler, path))
        if not handlers:
            handlers.append(_configured_handler(runner, {'type': 'log_trace'}))

        def hand_over(profiler: profile) -> None:
            for handler in handlers:
                handler(profiler)

        return hand_over


@HOOKS.register_module()
class NPUProfilerHook(Hook):
    """Profiles iterations on an Ascend NPU, through ``torch_npu``.

    Args:
        begin: The first iteration to profile, from 0.
        end: The iteration at which profiling stops; it is not profiled.
        result_path: Folder for the results.
        exit_after_profiling: End the process after the profile is written.
        use_e2e_profiler: Also record the work of the framework.
        ge_profiling_to_std_out: Let the graph engine print its profile.

    Raises:
        ArgumentError: If ``begin`` is not below ``end``.
        ImportError: If ``torch_npu`` is not installed.
    """

    priority = 'VERY_LOW'

    def __init__(
        self,
        *,
        begin: int = 0,
        end: int = 1,
        result_path: str = 'cann_profiling',
        exit_after_profiling: bool = True,
        use_e2e_profiler: bool = False,
        ge_profiling_to_std_out: bool = False,
    ) -> None:
        try:
            self._npu: Any = importlib.import_module('torch_npu').npu
        except ImportError as error:
            raise ImportError(
                'NPUProfilerHook needs torch_npu, which is part of the Ascend toolkit: '
                'pip install torch-npu.'
            ) from error
        if not 0 <= begin < end:
            raise ArgumentError(
                f'begin must be 0 or more and less than end, got begin={begin} and end={end}.'
            )
        self.begin = begin
        self.end = end
        self.result_path = os.path.abspath(result_path)
        self.exit_after_profiling = exit_after_profiling
        self.use_e2e_profiler = use_e2e_profiler
        if ge_profiling_to_std_out:
            # The graph engine reads this when it starts.
            os.environ['GE_PROFILING_TO_STD_OUT'] = '1'
        self._profile: Any = None

    def before_run(self, runner: Run) -> None:
        """Check that the training reaches ``end``, and create the folder for the results."""
        if self.end > runner.max_iters >= 0:
            raise ArgumentError(
                f'NPUProfilerHook stops at iteration {self.end}, but the training ends at '
                f'iteration {runner.max_iters}.'
            )
        os.makedirs(self.result_path, exist_ok=True)

    def before_train_iter(self, runner: Run, batch_idx: int, data_batch: DataBatch = None) -> None:
        """Start at iteration ``begin``."""
        if runner.iter == self.begin and self._profile is None:
            self._profile = self._npu.profile(
                self.result_path, use_e2e_profiler=self.use_e2e_profiler
            )
            self._profile.__enter__()

    def after_train_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: Outputs = None,
    ) -> None:
        """Stop before iteration ``end``."""
        if self._profile is None or runner.iter != self.end - 1:
            return
        self._profile.__exit__(None, None, None)
        self._profile = None
        runner.logger.info(f'The profile is in {self.result_path}.')
        if self.exit_after_profiling:
            raise SystemExit(0)


def _configured_handler(runner: Run, options: dict[str, Any]) -> Callable[..., Any]:
    if options.pop('type') == 'log_trace':
        return lambda profiler: runner.logger.info(f'Profile:\n{_table(profiler, **options)}')
    folder = options.pop('dir_name', None) or os.path.join(runner.log_dir, 'tf_tracing_logs')
    to_folder: Callable[..., Any] = torch.profiler.tensorboard_trace_handler(folder, **options)
    return to_folder


def _export(runner: Run, profiler: profile, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    profiler.export_chrome_trace(str(path))
    runner.logger.info(f'The trace is in {path}: open it in https://ui.perfetto.dev.')


def _table(profiler: profile, sort_by: str | None = None, row_limit: int = _ROWS) -> str:
    activity = torch.profiler.ProfilerActivity
    if sort_by is None:
        on_host = activity.CPU in profiler.activities
        sort_by = 'self_cpu_time_total' if on_host else 'self_device_time_total'
    # torch 2.4 replaced the name of the device in sort keys by 'device'.
    sort_by = sort_by.replace('cuda', 'device')
    return str(profiler.key_averages().table(sort_by=sort_by, row_limit=row_limit))


def _schedule(schedule: dict[str, Any] | None) -> Callable[..., Any] | None:
    if schedule is None:
        return None
    if not isinstance(schedule, Mapping):
        raise ArgumentError(
            f'schedule must be a dict of {", ".join(_SCHEDULE_KEYS)}; got '
            f'{type(schedule).__name__}.'
        )
    for key in schedule:
        if key not in _SCHEDULE_KEYS:
            raise TypeError(
                f'A profiler schedule has no {key!r}.{did_you_mean(key, _SCHEDULE_KEYS)}'
            )
    return torch.profiler.schedule(**schedule)


def _checked_trace(on_trace_ready: Any) -> Any:
    if isinstance(on_trace_ready, Mapping):
        kind = on_trace_ready.get('type')
        if kind not in _TRACES:
            raise ArgumentError(
                f'The type of on_trace_ready must be {" or ".join(_TRACES)}, got {kind!r}.'
                f'{did_you_mean(str(kind), _TRACES)}'
            )
    elif on_trace_ready is not None and not callable(on_trace_ready):
        raise ArgumentError(
            'on_trace_ready must be a function, a dict or None, got '
            f'{type(on_trace_ready).__name__}.'
        )
    return on_trace_ready


def _path_of_rank(path: str, rank: int) -> Path:
    whole = Path(path)
    return whole if rank == 0 else whole.with_stem(f'{whole.stem}_rank{rank}')
