"""A loss that is no number any more stops the run, or its steps are left out; it says which one."""

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
    """Looks for NaN and infinity among the recorded losses.

    Losses are looked at when they are read anyway, at the log points, so looking makes no step read
    from the device. The policy 'skip' has to know before the step, and reads one value in each.

    Args:
        policy: 'raise' ends the run; 'skip' leaves out the optimizer step of such a batch, with a
            warning; 'ignore' does nothing.
        interval: Iterations between two looks; None looks whenever the logger hook logs.

    Raises:
        ArgumentError: If ``policy`` or ``interval`` is not one of these.
    """

    # After the logger, so that the log's last line shows the loss; before a checkpoint is written.
    priority = 'BELOW_NORMAL'

    def __init__(self, policy: str = 'raise', interval: int | None = None) -> None:
        if policy not in _POLICIES:
            raise ArgumentError(f'policy is one of {", ".join(_POLICIES)}; got {policy!r}.')
        if interval is not None and interval < 1:
            raise ArgumentError(f'interval is a whole number above 0 or None, got {interval!r}.')
        self.policy = policy
        self.interval = interval
        self._every = interval or 10
        self._looked_at = 0

    def get_triggered_stages(self) -> list[str]:
        """Those of the policy: only 'raise' looks at losses."""
        stages = super().get_triggered_stages()
        return [stage for stage in stages if self.policy == 'raise' or stage not in _LOOKS]

    def before_train(self, runner: Run) -> None:
        """Tell the optimizers, and find out how often the log is written."""
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
        """Every ``interval`` iterations: look at all losses since the last look."""
        if (batch_idx + 1) % self._every == 0:
            self._look(runner)

    def after_train_epoch(self, runner: Run) -> None:
        """Look at the rest of the epoch."""
        self._look(runner)

    def before_save_checkpoint(self, runner: Run, checkpoint: dict[str, Any]) -> None:
        """Look before a checkpoint with broken weights takes the place of a good one."""
        self._look(runner)

    def _look(self, runner: Run) -> None:
        hub = runner.message_hub
        # The iteration of the latest values, whether the loop has counted it yet or not.
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
        # A mean is finite only if all of its values are, and it copies nothing.
        if all(math.isfinite(buffer.mean(window)) for buffer in losses.values()):
            return
        if bad := _first_bad(losses, window):
            raise NonFiniteLossError(_describe(losses, window, finished, runner.epoch + 1, *bad))


def _first_bad(losses: dict[str, HistoryBuffer], window: int) -> tuple[int, str] | None:
    """How many of the latest values come from the first that is not finite on, and its loss."""
    found = []
    for name, buffer in losses.items():
        recent = buffer.data[0][-window:]
        positions = np.flatnonzero(~np.isfinite(recent))
        if len(positions):
            found.append((len(recent) - int(positions[0]), name))
    # The total is in most cases not finite because of a part of it, which says more.
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
        'clip gradients, or look at that batch. '
        "default_hooks=dict(non_finite_loss=dict(policy='skip')) leaves such steps out, "
        "policy='ignore' goes on."
    )
