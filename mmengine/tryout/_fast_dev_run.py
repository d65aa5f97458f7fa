"""fast_dev_run: a few batches of everything a run does, to find mistakes early."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from torch import Tensor

from mmengine.hooks import Hook
from mmengine.runner._arguments import ConfigLike, own_config
from mmengine.runner.utils import as_positive
from mmengine.tryout._limits import STAGES, limit_batches
from mmengine.tryout._scratch import log_of, scratch_config, scratch_runner
from mmengine.tryout._stop_after import StopAfter, train_until_over
from mmengine.utils._quantities import counted
from mmengine.utils._rows import rows_text
from mmengine.utils.errors import ArgumentError


@dataclass
class FastDevRun:
    """What a check has run.

    Attributes:
        num_batches: Batches of each stage, as requested.
        trained: Batches of the training.
        values: Values that the last training step returned.
        val: Metrics of the validation; None if there is none.
        test: Metrics of the test; None if there is none.
        seconds: How long it took.
        log: The log file.
    """

    num_batches: int
    trained: int = 0
    values: dict[str, float] = field(default_factory=dict)
    val: dict[str, float] | None = None
    test: dict[str, float] | None = None
    seconds: float = 0.0
    log: str = ''

    def __str__(self) -> str:
        parts = {
            'Trained': f'{_batches(self.trained)}{_values(self.values)}',
            'Validated': self._evaluated(self.val),
            'Tested': self._evaluated(self.test),
            'Time': f'{self.seconds:.1f} s',
            'Log': self.log,
        }
        lines = [rows_text(parts.items())]
        if not self.trained:
            lines.append('The run had ended before: nothing was left to train.')
        lines.append('This was a check: no checkpoint or other file of it is kept.')
        return '\n'.join(lines)

    def _evaluated(self, metrics: dict[str, float] | None) -> str:
        if metrics is None:
            return 'not configured'
        return f'up to {_batches(self.num_batches)}{_values(metrics)}'


def fast_dev_run(cfg: ConfigLike, num_batches: int = 1) -> FastDevRun:
    """Train on a few batches, then validate and test on as many, where configured.

    All of it runs as in the real run, with its learning rates, hooks and checkpoints, but in a
    hidden folder of the work dir that is removed: only the log is kept, and no tracker hears of it.
    A run that resumes does so from the work dir.

    Args:
        cfg: The config of a run, with its ``work_dir``. Left as it is.
        num_batches: Batches of each stage.

    Raises:
        ArgumentError: If ``num_batches`` is not a positive integer, or the config trains nothing.
    """
    num_batches = as_positive('num_batches', num_batches)
    if cfg.get('train_cfg') is None:
        raise ArgumentError('A fast_dev_run trains, but the config has no train_cfg.')
    cfg = own_config(cfg)
    result = FastDevRun(num_batches)
    begun = perf_counter()
    with scratch_config(cfg) as own:
        limit_batches(own, **{stage: num_batches for stage in STAGES if stage != 'train'})
        runner = scratch_runner(own, cfg)
        result.log = log_of(cfg, runner)
        check = _Check(num_batches)
        runner.register_hook(check)
        validation = _ValidationAtEnd(check)
        runner.register_hook(validation)
        train_until_over(runner)
        result.trained, result.val = check.done, validation.metrics
        result.values = _numbers(check.outputs)
        if result.val is None and runner._val_loop is not None:
            result.val = runner.val()
        if runner._test_loop is not None:
            result.test = runner.test()
    result.seconds = perf_counter() - begun
    return result


class _Check(StopAfter):
    """Notes the values of the last training step."""

    def __init__(self, num_iters: int) -> None:
        super().__init__(num_iters)
        self.outputs: dict[str, Any] = {}

    def after_train_iter(
        self, runner: Any, batch_idx: int, data_batch: Any = None, outputs: Any = None
    ) -> None:
        super().after_train_iter(runner, batch_idx, data_batch, outputs)
        self.outputs = outputs if isinstance(outputs, dict) else {}


class _ValidationAtEnd(Hook):
    """Validates at the end of the training, within it, unless nothing was trained since."""

    priority = 'HIGHEST'

    def __init__(self, check: _Check) -> None:
        self.metrics: dict[str, float] | None = None
        self._check = check
        self._validated_at = -1

    def after_val_epoch(self, runner: Any, metrics: dict[str, float] | None = None) -> None:
        """Note the metrics."""
        self.metrics = metrics or {}
        self._validated_at = self._check.done

    def after_train(self, runner: Any) -> None:
        """Validate, before the last checkpoint is saved."""
        if runner.val_loop is not None and self._validated_at != self._check.done:
            runner.val_loop.run()
            runner.model.train()


def _numbers(outputs: dict[str, Any]) -> dict[str, float]:
    values = {}
    for name, value in outputs.items():
        if isinstance(value, Tensor) and value.numel() == 1:
            values[name] = float(value.detach())
        elif isinstance(value, (int, float)):
            values[name] = float(value)
    return values


def _batches(number: int) -> str:
    return counted(number, 'batch')


def _values(values: dict[str, float]) -> str:
    shown = [
        f'{name} {value:.4g}' for name, value in values.items() if isinstance(value, (int, float))
    ]
    return f': {", ".join(shown)}' if shown else ''
