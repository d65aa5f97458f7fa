"""NonFiniteLossHook: what a run does when a loss, a gradient or a weight is NaN or infinite."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from torch import Tensor
from torch.nn.parallel import DistributedDataParallel

from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.hooks._finite import FiniteCheck, few, weights_by_name
from mmengine.hooks._gradient_guard import CheckedStep, GradientGuard, checked_step
from mmengine.hooks._snapshot import Snapshot
from mmengine.hooks.hook import DataBatch, Hook
from mmengine.hooks.logger_hook import log_interval
from mmengine.logging.history_buffer import NUM_KEPT
from mmengine.optim.optimizer.optimizer_wrapper_dict import wrappers_of
from mmengine.registry import HOOKS
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from mmengine.hooks.run import Run
    from mmengine.logging import HistoryBuffer, MessageHub

_POLICIES = ('raise', 'skip', 'rollback', 'ignore')
# Points at which a policy does something.
_POINTS = {
    'raise': {
        'before_train', 'after_train_iter', 'after_train_epoch', 'before_save_checkpoint',
        'after_train',
    },
    'skip': {'before_train', 'before_train_iter', 'after_train_iter', 'after_train'},
    'rollback': {'before_train', 'before_train_iter', 'after_train_iter', 'after_train'},
    'ignore': set(),
}  # fmt: skip


class NonFiniteLossError(FloatingPointError):
    """A loss, a gradient or a weight became NaN or infinite."""


@HOOKS.register_module()
class NonFiniteLossHook(Hook):
    """Checks losses, gradients and weights for NaN and infinity.

    Weights are checked before each save and at the end of training, so that a checkpoint never
    contains broken weights. Besides that, each policy checks as much as it needs:

    - 'raise' ends the run. Losses, and the gradient norm if it is clipped, are checked at the log
      points, where they are read from the device anyway, and at least every 4,096 iterations.
      Losses are the values named so that the training step returns.
    - 'skip' leaves out the optimizer step of such a batch, and warns. The loss and the gradients
      are checked before each step, for which the host waits for the device.
    - 'rollback' returns weights, their averages, optimizer state and loss scale to a copy in
      memory, and goes on with the next batch. The gradients are checked without waiting: the result
      of a step is read one step later.
    - 'ignore' does nothing.

    All ranks do the same. A step that a gradient scaler leaves out because of an overflow is not a
    failure.

    Args:
        policy: 'raise', 'skip', 'rollback' or 'ignore'.
        interval: Iterations between two checks of the losses; None checks whenever LoggerHook logs.
        give_up_after: Batches skipped in a row, or rollbacks to the same copy, after which the run
            ends with an error.
        snapshot_interval: Iterations between two copies for 'rollback'.

    Raises:
        ArgumentError: If an argument is not one of these, or an engine has copies of the weights
            that 'rollback' does not reach.
    """

    # Runs after LoggerHook, so that the last log line shows the loss; before CheckpointHook.
    priority = 'BELOW_NORMAL'

    def __init__(
        self,
        policy: str = 'raise',
        interval: int | None = None,
        *,
        give_up_after: int = 10,
        snapshot_interval: int = 100,
    ) -> None:
        if policy not in _POLICIES:
            raise ArgumentError(f'policy must be one of {", ".join(_POLICIES)}; got {policy!r}.')
        if interval is not None and interval < 1:
            raise ArgumentError(f'interval must be a positive integer or None, got {interval!r}.')
        for name, number in (
            ('give_up_after', give_up_after),
            ('snapshot_interval', snapshot_interval),
        ):
            if not isinstance(number, int) or number < 1:
                raise ArgumentError(f'{name} must be a positive integer, got {number!r}.')
        self.policy = policy
        self.interval = interval
        self.give_up_after = give_up_after
        self.snapshot_interval = snapshot_interval
        self._every = interval or 10
        self._looked_at = 0
        self._batch_idx = 0
        self._guards: list[GradientGuard] = []
        self._unread: list[CheckedStep] = []
        self._snapshot: Snapshot | None = None
        self._num_rollbacks = 0
        self._last_report = ''

    # -- points -----------------------------------------------------------------------------------

    def _overrides(self, name: str) -> bool:
        """Points of this class that the policy does not need count as not overridden."""
        is_off = name in self.stages and name not in _POINTS[self.policy]
        is_off = is_off and self._inherits(NonFiniteLossHook, name)
        return not is_off and super()._overrides(name)

    def before_train(self, runner: Run) -> None:
        """Begin to check gradients if the policy does, and read the log interval."""
        self._every = self.interval or log_interval(runner) or 10
        self._looked_at = runner.iter
        self._remove_guards()
        if self.policy not in ('skip', 'rollback'):
            return
        names = {id(param): name for name, param in unwrap_model(runner.model).named_parameters()}
        for wrapper in wrappers_of(runner.optim_wrapper):
            if self.policy == 'rollback' and getattr(wrapper, 'has_own_copies', False):
                raise ArgumentError(
                    "policy='rollback' of NonFiniteLossHook returns to earlier weights, of which "
                    f"the engine of {type(wrapper).__name__} has copies. Use policy='skip'."
                )
            wrapper.num_skipped = 0
            wrapper.skip_non_finite = wrapper.skip_non_finite or self.policy == 'skip'
            if not hasattr(wrapper.optimizer, 'register_step_pre_hook'):
                runner.logger.warning(
                    f'The gradients of {type(wrapper.optimizer).__name__} cannot be checked: it is '
                    'not an optimizer of torch.'
                )
                continue
            self._guards.append(
                GradientGuard(
                    wrapper, names, lambda guard, flag: self._take_check(runner, guard, flag)
                )
            )
        if self.policy == 'rollback':
            self._take_snapshot(runner, runner.iter)

    def before_train_iter(self, runner: Run, batch_idx: int, data_batch: DataBatch = None) -> None:
        """Remember the batch for messages."""
        self._batch_idx = batch_idx

    def after_train_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Check what was recorded since the last check."""
        self._batch_idx = batch_idx
        if self.policy == 'raise':
            # A history keeps that many values one by one: a longer interval is looked at in parts.
            if (batch_idx + 1) % self._every % NUM_KEPT == 0:
                self._look(runner)
        elif self.policy == 'skip':
            self._give_up_on_skips(runner)
        else:
            self._read_checks(runner, runner.iter)
            finished = runner.iter + 1
            if (
                finished % self.snapshot_interval == 0
                and self._read_checks(runner, finished)
                and self._weights(runner) is None
            ):
                self._take_snapshot(runner, finished)

    def after_train_epoch(self, runner: Run) -> None:
        """Check the remaining losses of the epoch."""
        self._look(runner)

    def before_gather_state(self, runner: Run) -> None:
        """Check the weights before the state of the run is gathered for a checkpoint."""
        if self.policy != 'ignore':
            self._settle(runner)

    def before_save_checkpoint(self, runner: Run, checkpoint: dict[str, Any]) -> None:
        """Check the losses first, so that broken weights do not replace a good checkpoint."""
        self._look(runner)

    def after_train(self, runner: Run) -> None:
        """Check the trained weights."""
        self._settle(runner)
        self._remove_guards()
        self._snapshot = None

    def on_exception(self, runner: Run, error: BaseException) -> None:
        """Stop checking gradients."""
        self._remove_guards()
        self._snapshot = None

    # -- gradients --------------------------------------------------------------------------------

    def _take_check(self, runner: Run, guard: GradientGuard, flag: Tensor) -> None:
        """Called right before each step with the flag of its gradients."""
        if self.policy == 'rollback':
            self._unread.append(checked_step(guard, flag, runner.iter, self._batch_idx))
            return
        if self._agree(runner, flag):
            guard.wrapper.num_skipped = 0
            return
        names = guard.names_now() if guard.check is None else guard.check.non_finite()
        guard.drop_gradients()
        guard.wrapper.num_skipped += 1
        self._last_report = self._report(runner, runner.iter, self._batch_idx, names)
        runner.logger.warning(f'{self._last_report} The optimizer step is skipped.')

    def _give_up_on_skips(self, runner: Run) -> None:
        for wrapper in wrappers_of(runner.optim_wrapper):
            if wrapper.num_skipped >= self.give_up_after:
                raise NonFiniteLossError(
                    f'{wrapper.num_skipped} batches in a row were skipped, up to iteration '
                    f'{runner.iter + 1} (batch {self._batch_idx + 1} of epoch {runner.epoch + 1}), '
                    f'because their losses or gradients are not finite. {self._last_report} '
                    f'{_latest_losses(runner)} Lower the learning rate or inspect the data.'
                )

    def _read_checks(self, runner: Run, end: int) -> bool:
        """Read the flags of the steps before iteration ``end``; roll back at the first bad one.

        Returns:
            Whether there was none.
        """
        while self._unread and self._unread[0].iteration < end:
            step = self._unread[0]
            finite = (
                step.is_finite()
                if self._has_same_gradients(runner)
                else self._agree(runner, step.flag)
            )
            if not finite:
                report = self._report(runner, step.iteration, step.batch, step.names())
                self._roll_back(runner, report)
                return False
            self._unread.pop(0)
        return True

    def _roll_back(self, runner: Run, report: str) -> None:
        snapshot = self._snapshot
        assert snapshot is not None
        self._num_rollbacks += 1
        if self._num_rollbacks > self.give_up_after:
            raise NonFiniteLossError(
                f'{report} The run was returned to the state after iteration {snapshot.iteration} '
                f'{self.give_up_after} times already. {_latest_losses(runner)} Lower the '
                'learning rate or inspect the data.'
            )
        # The gradients of an open window may be where `zero_grad` does not reach them.
        for wrapper in wrappers_of(runner.optim_wrapper):
            groups = getattr(wrapper.optimizer, 'param_groups', [])
            runner.strategy.average_gradients(runner.model, groups)
        snapshot.restore()
        self._unread.clear()
        runner.logger.warning(
            f'{report} Weights and optimizer are as after iteration {snapshot.iteration} again.'
        )

    def _take_snapshot(self, runner: Run, iteration: int) -> None:
        averages = [hook.ema_model for hook in runner.hooks if hasattr(hook, 'ema_model')]
        self._snapshot = None  # frees its memory first
        self._snapshot = Snapshot(
            [runner.model, *averages], wrappers_of(runner.optim_wrapper), iteration
        )
        self._num_rollbacks = 0

    def _remove_guards(self) -> None:
        for guard in self._guards:
            guard.remove()
        self._guards.clear()
        self._unread.clear()

    def _has_same_gradients(self, runner: Run) -> bool:
        """Whether all ranks have the same gradients, so that their flags are the same."""
        return runner.world_size == 1 or isinstance(runner.model, DistributedDataParallel)

    def _agree(self, runner: Run, flag: Tensor) -> bool:
        if self._has_same_gradients(runner):
            return bool(flag)
        return runner.strategy.all_ranks_agree(flag)

    # -- weights ----------------------------------------------------------------------------------

    def _settle(self, runner: Run) -> None:
        """Make sure that the weights are finite: roll back, or raise an error, if they are not."""
        if self.policy == 'raise':
            self._look(runner)  # a loss says more about the cause
        self._read_checks(runner, runner.iter + 1)
        broken = self._weights(runner)
        if broken is None:
            return
        report = (
            f'After iteration {_finished(runner)} (batch {self._batch_idx + 1}) these weights are '
            f'not finite: {few(broken) or "some of another rank"}.'
        )
        if self._snapshot is not None:
            self._roll_back(runner, report)
            return
        raise NonFiniteLossError(
            f'{report} They are not saved; earlier checkpoints are kept. {_latest_losses(runner)} '
            'Lower the learning rate, clip gradients, or inspect that batch. '
            "default_hooks=dict(non_finite_loss=dict(policy='skip')) skips such steps, "
            "policy='rollback' returns to earlier weights, policy='ignore' disables the check."
        )

    def _weights(self, runner: Run) -> list[str] | None:
        """Names of the broken weights; None if the weights are finite on all ranks."""
        weights = weights_by_name(unwrap_model(runner.model))
        if not weights:
            return None
        check = FiniteCheck(weights)
        flag = check.flag(next(iter(weights.values())).device)
        return None if runner.strategy.all_ranks_agree(flag) else check.non_finite()

    # -- recorded values --------------------------------------------------------------------------

    def _look(self, runner: Run) -> None:
        hub = runner.message_hub
        finished = _finished(runner)
        window = finished - self._looked_at
        if window < 1:
            return
        self._looked_at = finished
        hub.read_scalars()
        # A gradient scaler lets norms be infinite, and leaves out those steps.
        is_scaled = any(
            getattr(wrapper, 'loss_scaler', None) is not None and wrapper.loss_scaler.is_enabled()
            for wrapper in wrappers_of(runner.optim_wrapper)
        )
        values = {
            key.removeprefix('train/'): buffer
            for key, buffer in hub.log_scalars.copy().items()
            if _is_loss(key, hub) or (_is_norm(key) and not is_scaled)
        }
        # A mean is finite only if all of its values are finite; it needs no copy.
        if all(math.isfinite(buffer.mean(window)) for buffer in values.values()):
            return
        if bad := _first_bad(values, window):
            raise NonFiniteLossError(self._describe(runner, values, window, finished, *bad))

    def _describe(
        self,
        runner: Run,
        values: dict[str, HistoryBuffer],
        window: int,
        finished: int,
        back: int,
        name: str,
    ) -> str:
        recent = {
            other: of_name
            for other, buffer in values.items()
            if len(of_name := buffer.data[0][-window:]) >= back
        }
        at_that_time = ', '.join(f'{other} {of[-back]:.4g}' for other, of in recent.items())
        batch = self._batch_idx + 2 - back
        where = f'(epoch {runner.epoch + 1})' + (
            f', batch {batch} of the epoch' if batch > 0 else ''
        )
        broken = self._weights(runner) if runner.world_size == 1 else None
        weights = f' Weights that are not finite now: {few(broken)}.' if broken else ''
        what = 'gradient norm' if _is_norm(f'train/{name}') else 'loss'
        return (
            f'The {what} {name!r} became {recent[name][-back]} at iteration {finished - back + 1} '
            f'{where}. All losses of that iteration: {at_that_time}.{weights} Lower the '
            'learning rate, clip gradients, or inspect that batch. '
            "default_hooks=dict(non_finite_loss=dict(policy='skip')) skips such steps, "
            "policy='rollback' returns to earlier weights, policy='ignore' disables the check."
        )

    def _report(self, runner: Run, iteration: int, batch: int, names: list[str]) -> str:
        which = f' of {few(names)}' if names else ''
        return (
            f'The gradients{which} are not finite at iteration {iteration + 1} (batch {batch + 1} '
            f'of epoch {runner.epoch + 1}).'
        )


def _finished(runner: Run) -> int:
    """Number of the latest iteration, from 1, even if the loop has not counted it yet."""
    return int(runner.message_hub.get_info('iter', -1)) + 1


def _is_loss(key: str, hub: MessageHub) -> bool:
    """Whether a training step returned the scalar ``key`` as a loss: not if a hook logged it."""
    returned = hub.step_keys or (key,)  # an adapter may record the losses itself
    return key.startswith('train/') and 'loss' in key and key in returned


def _is_norm(key: str) -> bool:
    return key in ('train/grad_norm', 'train/engine_grad_norm')


def _first_bad(values: dict[str, HistoryBuffer], window: int) -> tuple[int, str] | None:
    """The first non-finite value: its position counted from the end, and its name."""
    found = []
    for name, buffer in values.items():
        recent = buffer.data[0][-window:]
        positions = np.flatnonzero(~np.isfinite(recent))
        if len(positions):
            found.append((len(recent) - int(positions[0]), name))
    # The total is usually non-finite because of one of its parts, whose name is more useful; and
    # a norm because of a loss.
    return max(
        found,
        key=lambda one: (one[0], not _is_norm(f'train/{one[1]}'), one[1] != 'loss'),
        default=None,
    )


def _latest_losses(runner: Run) -> str:
    hub = runner.message_hub
    hub.read_scalars()
    losses = ', '.join(
        f'{key.removeprefix("train/")} {buffer.current():.4g}'
        for key, buffer in hub.log_scalars.copy().items()
        if _is_loss(key, hub)
    )
    return f'Latest losses: {losses}.' if losses else ''
