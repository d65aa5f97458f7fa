"""A loss that is no number any more: stops the run, or leaves its steps out, and says which loss it was."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mmengine.hooks.hook import DataBatch, Hook
from mmengine.registry import HOOKS
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from mmengine.runner import Runner

_POLICIES = ('raise', 'skip', 'ignore')


class NonFiniteLossError(FloatingPointError):
    """A loss became NaN or infinite."""


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Looks for NaN and infinity among the recorded losses.

    Losses are looked at when they are read anyway, at the end of each ``interval``, so looking costs no step a read of the
    device. The policy 'skip' has to know before the step, and reads one value in each.

    Args:
        policy: 'raise' ends the run; 'skip' leaves out the optimizer step of such a batch, with a warning; 'ignore' does nothing.
        interval: Iterations between two looks; None looks whenever the logger hook logs.

    Raises:
        ArgumentError: If ``policy`` or ``interval`` is not one of these.
    """

    # After the logger, so that the last line of the log shows the loss; before a checkpoint is written.
    priority = 'BELOW_NORMAL'

    def __init__(self, policy: str = 'raise', interval: int | None = None) -> None:
        if policy not in _POLICIES:
            raise ArgumentError(f'policy is one of {", ".join(_POLICIES)}; got {policy!r}.')
        if interval is not None and interval < 1:
            raise ArgumentError(f'interval is a whole number above 0 or None, got {interval!r}.')
        self.policy = policy
        self.interval = interval
        self._every = interval or 10
        self._names: list[str] = []

    def before_train(self, runner: Runner) -> None:
        """Tell the optimizers, and find out how often the log is written."""
        if self.policy == 'skip':
            for wrapper in _wrappers(runner.optim_wrapper):
                wrapper.skip_non_finite = True
        if self.interval is None:
            intervals = [
                hook.interval for hook in runner.hooks if type(hook).__name__ == 'LoggerHook'
            ]
            self._every = intervals[0] if intervals else 10
        self._seen = runner.iter

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Every ``interval`` iterations: look at all losses since the last look."""
        if (batch_idx + 1) % self._every or self.policy != 'raise':
            return
        self._look(runner)

    def after_train_epoch(self, runner: Runner) -> None:
        """Look at the rest of the epoch before a checkpoint is written."""
        if self.policy == 'raise' and runner.iter > self._seen:
            self._look(runner, finished=runner.iter)

    def _look(self, runner: Runner, finished: int | None = None) -> None:
        end = runner.iter + 1 if finished is None else finished
        window, self._seen = end - self._seen, end
        if window < 1:
            return
        hub = runner.message_hub
        hub.read_scalars()
        for key, buffer in hub.log_scalars.items():
            if not key.startswith('train/') or 'loss' not in key:
                continue
            if math.isfinite(buffer.mean(window)):
                continue
            recent = buffer.data[0][-window:]
            first = int(np.flatnonzero(~np.isfinite(recent))[0])
            raise NonFiniteLossError(
                f'{key.removeprefix("train/")!r} became {recent[first]} at iteration {end - len(recent) + first + 1} '
                f'(epoch {runner.epoch + 1}). Losses since the last look: {_others(hub, window, first)}. Lower the '
                "learning rate, clip gradients, or look at that batch. default_hooks=dict(non_finite_loss=dict(policy='skip')) "
                "leaves such steps out, policy='ignore' goes on."
            )


def _others(hub: Any, window: int, at: int) -> str:
    values = {
        key.removeprefix('train/'): buffer.data[0][-window:][at]
        for key, buffer in hub.log_scalars.items()
        if key.startswith('train/') and 'loss' in key and len(buffer.data[0]) > at
    }
    return ', '.join(f'{name} {value:.4g}' for name, value in values.items())


def _wrappers(optim_wrapper: Any) -> list[Any]:
    from mmengine.optim import OptimWrapperDict

    if isinstance(optim_wrapper, OptimWrapperDict):
        return [wrapper for _, wrapper in optim_wrapper.items()]
    return [optim_wrapper]
