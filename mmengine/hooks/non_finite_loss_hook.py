"""NonFiniteLossHook: stops the run, or skips the optimizer step, if a loss is NaN or infinite."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from mmengine.hooks.hook import DataBatch, Hook
from mmengine.hooks.logger_hook import log_interval
from mmengine.optim.optimizer.optimizer_wrapper_dict import wrappers_of
from mmengine.registry import HOOKS
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from mmengine.hooks.run import Run
    from mmengine.logging import HistoryBuffer

_POLICIES = ('raise', 'skip', 'ignore')
_LOOKS = ('after_train_iter', 'after_train_epoch', 'before_save_checkpoint')


class NonFiniteLossError(FloatingPointError):
    """A loss became NaN or infinite."""


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Checks the recorded losses for NaN and infinity.

    Losses are checked at the log points, where they are read from the device anyway. The policy
    'skip' checks before each optimizer step, and reads one value from the device in each step.

    Args:
        policy: 'raise' ends the run with an error; 'skip' skips the optimizer step of such a batch
            and warns; 'ignore' does nothing.
        interval: Iterations between two checks; None checks whenever LoggerHook logs.

    Raises:
        ArgumentError: If ``policy`` or ``interval`` is not one of these.
    """

    # Runs after LoggerHook, so that the last log line shows the loss; before CheckpointHook.
    priority = 'BELOW_NORMAL'

    def __init__(self, policy: str = 'raise', interval: int | None = None) -> None:
        if policy not in _POLICIES:
            raise ArgumentError(f'policy must be one of {", ".join(_POLICIES)}; got {policy!r}.')
        if interval is not None and interval < 1:
            raise ArgumentError(f'interval must be a positive integer or None, got {interval!r}.')
        self.policy = policy
        self.interval = interval
        self._every = interval or 10
        self._looked_at = 0

    def get_triggered_stages(self) -> list[str]:
        """The points that the policy needs: only 'raise' checks recorded losses."""
        stages = super().get_triggered_stages()
        return [stage for stage in stages if self.policy == 'raise' or stage not in _LOOKS]

    def before_train(self, runner: Run) -> None:
        """Set the policy of the optimizer wrappers, and read the log interval."""
        if self.policy == 'skip':
            for wrapper in wrappers_of(runner.optim_wrapper):
                wrapper.skip_non_finite = True
        self._every = self.interval or log_interval(runner) or 10
        self._looked_at = runner.iter

    def after_train_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Every ``interval`` iterations: check all losses since the last check."""
        if (batch_idx + 1) % self._every == 0:
            self._look(runner)

    def after_train_epoch(self, runner: Run) -> None:
        """Check the remaining losses of the epoch."""
        self._look(runner)

    def before_save_checkpoint(self, runner: Run, checkpoint: dict[str, Any]) -> None:
        """Check the losses first, so that broken weights do not replace a good checkpoint."""
        self._look(runner)

    def _look(self, runner: Run) -> None:
        hub = runner.message_hub
        # The iteration of the latest values, even if the loop has not counted it yet.
        finished = int(hub.get_info('iter', -1)) + 1
        window = finished - self._looked_at
        if window < 1:
            return
        self._looked_at = finished
        hub.read_scalars()
        losses = {
            key.removeprefix('train/'): buffer
            for key, buffer in hub.log_scalars.items()
            if key.startswith('train/') and 'loss' in key
        }
        # A mean is finite only if all of its values are finite; it needs no copy.
        if all(math.isfinite(buffer.mean(window)) for buffer in losses.values()):
            return
        if bad := _first_bad(losses, window):
            raise NonFiniteLossError(_describe(losses, window, finished, runner.epoch + 1, *bad))


def _first_bad(losses: dict[str, HistoryBuffer], window: int) -> tuple[int, str] | None:
    """The first non-finite loss: its position counted from the end, and its name."""
    found = []
    for name, buffer in losses.items():
        recent = buffer.data[0][-window:]
        positions = np.flatnonzero(~np.isfinite(recent))
        if len(positions):
            found.append((len(recent) - int(positions[0]), name))
    # The total is usually non-finite because of one of its parts, whose name is more useful.
    return max(found, key=lambda one: (one[0], one[1] != 'loss'), default=None)


def _describe(
    losses: dict[str, HistoryBuffer], window: int, finished: int, epoch: int, back: int, name: str
) -> str:
    recent = {
        other: values
        for other, buffer in losses.items()
        if len(values := buffer.data[0][-window:]) >= back
    }
    at_that_time = ', '.join(f'{other} {values[-back]:.4g}' for other, values in recent.items())
    return (
        f'The loss {name!r} became {recent[name][-back]} at iteration {finished - back + 1} '
        f'(epoch {epoch}). All losses of that iteration: {at_that_time}. Lower the learning rate, '
        'clip gradients, or inspect that batch. '
        "default_hooks=dict(non_finite_loss=dict(policy='skip')) skips such steps, "
        "policy='ignore' disables the check."
    )
