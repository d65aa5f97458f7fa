"""SyncBuffersHook: makes buffers equal on all ranks, so that all ranks validate the same model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmengine.dist import all_reduce_params, is_distributed
from mmengine.hooks.hook import Hook
from mmengine.hooks.run import evaluates_alone
from mmengine.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.hooks.run import Run


@HOOKS.register_module()
class SyncBuffersHook(Hook):
    """Averages floating-point buffers (running statistics) over the ranks.

    Integer buffers are equal on all ranks and do not change. All ranks take part at the end of each
    training epoch and, in iteration-based runs, before each validation.
    """

    priority = 'NORMAL'

    def __init__(self) -> None:
        self.distributed = is_distributed()
        self._synced_at = -1

    def before_train(self, runner: Run) -> None:
        """Reset: the buffers are already equal at the start, also in a resumed run."""
        self._synced_at = runner.iter

    def after_train_epoch(self, runner: Run) -> None:
        """Synchronise the buffers before a checkpoint is saved."""
        self._sync(runner)

    def before_val(self, runner: Run) -> None:
        """Iteration-based runs have no epoch end before a validation, so buffers are synchronised
        here."""
        if not evaluates_alone(runner) and self._synced_at >= 0:
            self._sync(runner)

    def after_train(self, runner: Run) -> None:
        """Stop: a later validation is not part of the training."""
        self._synced_at = -1

    def _sync(self, runner: Run) -> None:
        if self._synced_at == runner.iter or not is_distributed():
            return
        self._synced_at = runner.iter
        buffers = [buffer for buffer in runner.model.buffers() if buffer.is_floating_point()]
        all_reduce_params(buffers, op='mean')
