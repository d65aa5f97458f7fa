"""profile: where the time of a training step goes, and a trace of it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from mmengine.hooks.profiler_hook import check_kineto
from mmengine.runner._arguments import ConfigLike, own_config
from mmengine.runner.utils import as_positive
from mmengine.tryout._scratch import folder_of, scratch_config, scratch_runner
from mmengine.tryout._step_clock import (
    BACKWARD,
    DATA,
    FORWARD,
    HOOKS,
    INPUTS,
    LOGS,
    OPTIMIZER,
    PHASES,
    VALIDATION,
    StepClock,
    phases_of,
)
from mmengine.tryout._stop_after import StopAfter, train_until_over
from mmengine.utils._quantities import counted, time_text
from mmengine.utils.errors import ArgumentError

_WARM_UP, _TRACED = 3, 3
_MAX_OPERATORS = 5
_ADVICE = {
    DATA: 'raise num_workers of the dataloader, keep them with persistent_workers=True, or make '
    'loading cheaper.',
    INPUTS: 'copy from pinned memory (pin_memory=True, and non_blocking=True of the data '
    'preprocessor), or augment in the workers.',
    FORWARD: 'mixed precision (--amp), compile=True, or a larger batch (--find-batch-size).',
    BACKWARD: 'mixed precision (--amp), compile=True, or a larger batch (--find-batch-size).',
    OPTIMIZER: 'a fused or foreach optimizer, or steps for several batches (accumulative_counts).',
    HOOKS: 'look at the hooks in custom_hooks: they act in every iteration.',
    LOGS: 'a larger interval of the logger and the checkpoint hook, or checkpoint='
    'dict(async_save=True).',
    VALIDATION: 'a larger val_interval, or --limit-val-batches.',
}


@dataclass
class StepProfile:
    """Where the time of training steps went.

    Attributes:
        num_iters: Iterations that were measured.
        seconds: Of each phase, over all of them; the sum is ``wall_s``.
        wall_s: How long they took together.
        operators: The slowest operators of the trace, with their seconds in an iteration.
        is_compiled: Whether the step is compiled, so that all of it counts as forward.
        trace: The trace, for https://ui.perfetto.dev; empty if torch cannot write traces.
        log: The log file.
    """

    num_iters: int
    seconds: dict[str, float]
    wall_s: float
    operators: dict[str, float]
    is_compiled: bool
    trace: str
    log: str

    @property
    def step_s(self) -> float:
        """Seconds of an iteration."""
        return self.wall_s / self.num_iters

    def __str__(self) -> str:
        lines = [f'{"phase":<20}  {"a step":>9}  {"share":>6}']
        total = self.wall_s or 1.0
        for phase, spent in self.seconds.items():
            name = 'training step' if self.is_compiled and phase == FORWARD else phase
            each = time_text(spent / self.num_iters)
            lines.append(f'{name:<20}  {each:>9}  {spent / total:>6.1%}')
        lines.append(f'{"together":<20}  {time_text(self.step_s):>9}  {1:>6.1%}')
        largest = max(self.seconds, key=lambda phase: self.seconds[phase])
        lines.append(f'Most time is {largest}. What may help: {_ADVICE[largest]}')
        if self.operators:
            names = (f'{name} {time_text(spent)}' for name, spent in self.operators.items())
            lines.append(f'Slowest operators of a step: {", ".join(names)}')
        if self.trace:
            lines.append(f'Trace: {self.trace} (open it in https://ui.perfetto.dev)')
        lines.append(f'Log: {self.log}')
        return '\n'.join(lines)


def profile(cfg: ConfigLike, num_iters: int = 20) -> StepProfile:
    """Train for some iterations, and say where their time went.

    After three iterations to warm up, ``num_iters`` are measured, and three more are recorded by
    ``torch.profiler``, which slows them down. On CUDA the host waits for the device at the end of
    each phase. Then the training ends. Its files are removed but for the log, ``trace.json`` and
    ``profile.json`` in ``<work dir>/<timestamp>``.

    Args:
        cfg: The config of a run, with its ``work_dir``. Left as it is.
        num_iters: Iterations to measure.

    Raises:
        ArgumentError: If ``num_iters`` is not a positive integer, the config trains nothing, or
            the training ends before the first iteration is measured.
    """
    num_iters = as_positive('num_iters', num_iters)
    if cfg.get('train_cfg') is None:
        raise ArgumentError('profile needs a training, but the config has no train_cfg.')
    cfg = own_config(cfg)
    with scratch_config(cfg, 'trace*.json', 'profile.json') as own:
        runner = scratch_runner(own, cfg)
        watch = _Watch(runner, num_iters)
        runner.register_hook(watch)
        try:
            train_until_over(runner)
        finally:
            watch.close()
        result = watch.result(folder_of(cfg, runner))
        if runner.rank == 0:
            path = Path(runner.log_dir, 'profile.json')
            path.write_text(json.dumps(asdict(result), indent=1), encoding='utf-8')
    return result


class _Watch(StopAfter):
    """Measures some iterations, then records some."""

    def __init__(self, runner: Any, num_iters: int) -> None:
        super().__init__(_WARM_UP + num_iters + _TRACED)
        self._end = _WARM_UP + num_iters
        settings = runner._compile_settings
        target = settings.get('target', 'train_step') if isinstance(settings, dict) else ''
        self._is_compiled = bool(settings) and target in ('', 'train_step')
        self._runner = runner
        self._clock = StepClock(waits=False)
        self._phases: Any = None
        self._profiler: Any = None
        self._seconds: dict[str, float] = {}
        self._wall_s = 0.0
        self._measured = 0
        self._operators: dict[str, float] = {}
        self._trace = ''

    def before_train(self, runner: Any) -> None:
        """Begin to follow the steps."""
        device = next((each.device for each in runner.model.parameters()), torch.device('cpu'))
        self._clock = StepClock(waits=device.type == 'cuda')
        self._phases = phases_of(runner, self._clock, self._is_compiled)
        self._phases.__enter__()

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        """Go from warming up to measuring to recording."""
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        if self.done == _WARM_UP:
            self._clock.restart()
        elif self.done == self._end:
            self._take_time()
            self._start_profiler()
        elif self.done == self.num_iters:
            self._stop_profiler()

    def after_train(self, runner: Any) -> None:
        """Take what was measured in a training that was shorter."""
        if not self._seconds and self.done > _WARM_UP:
            self._take_time()
        self._stop_profiler()
        self.close()

    def close(self) -> None:
        """Follow the steps no more."""
        phases, self._phases = self._phases, None
        if phases is not None:
            phases.__exit__(None, None, None)

    def result(self, folder: Path) -> StepProfile:
        """What was measured; the files will be in ``folder``.

        Raises:
            ArgumentError: If nothing was measured.
        """
        if not self._measured:
            raise ArgumentError(
                f'The training ended after {counted(self.done, "iteration")}; the first {_WARM_UP} '
                'only warm up, so nothing was measured. Train longer, or on more batches.'
            )
        seconds = {phase: self._seconds[phase] for phase in PHASES if phase in self._seconds}
        return StepProfile(
            num_iters=self._measured,
            seconds=seconds,
            wall_s=self._wall_s,
            operators=self._operators,
            is_compiled=self._is_compiled,
            trace=str(folder / self._trace) if self._trace else '',
            log=str(folder / f'{self._runner.timestamp}.log'),
        )

    def _take_time(self) -> None:
        self._seconds, self._wall_s = self._clock.stop()
        self._measured = self.done - _WARM_UP

    def _start_profiler(self) -> None:
        if not check_kineto():
            return
        activity = torch.profiler.ProfilerActivity
        activities = [activity.CPU]
        if torch.cuda.is_available():
            activities.append(activity.CUDA)
        self._profiler = torch.profiler.profile(activities=activities)
        self._profiler.start()
        self._clock.labels = True

    def _stop_profiler(self) -> None:
        profiler, self._profiler = self._profiler, None
        if profiler is None:
            return
        self._clock.close_label()
        profiler.stop()
        rank = self._runner.rank
        self._trace = 'trace.json' if rank == 0 else f'trace_rank{rank}.json'
        profiler.export_chrome_trace(str(Path(self._runner.log_dir, self._trace)))
        spent = {
            each.key: each.self_device_time_total or each.self_cpu_time_total
            for each in profiler.key_averages()
            if not each.key.startswith(('phase: ', 'ProfilerStep'))
        }
        slowest = sorted(spent, key=lambda name: -spent[name])[:_MAX_OPERATORS]
        recorded = max(self.done - self._end, 1)
        self._operators = {name: spent[name] / 1e6 / recorded for name in slowest}
