"""Makes the buffers of all ranks equal, so that every rank validates and saves the same model."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmengine.dist import all_reduce_params, is_distributed
from mmengine.hooks.hook import Hook
from mmengine.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.hooks.run import Run


@HOOKS.register_module()
class SyncBuffersHook(Hook):
    """Averages the floating buffers (running statistics) over the ranks.

    Integer buffers count the same on every rank and are left alone. All ranks take part: at the end
    of each training epoch and, for runs by iteration, before each validation.
    """

    priority = 'NORMAL'

    def __init__(self) -> None:
        self.distributed = is_distributed()
        self._synced_at = -1

    def before_train(self, runner: Run) -> None:
        """A resumed run has buffers that are equal already."""
        self._synced_at = runner.iter

    def after_train_epoch(self, runner: Run) -> None:
        """Before a checkpoint is saved."""
        self._sync(runner)

    def before_val(self, runner: Run) -> None:
        """Iteration-based runs have no epoch end before a validation, so buffers are synchronised
        here."""
        if runner.state.stage == 'train' and self._synced_at >= 0:
            self._sync(runner)

    def after_train(self, runner: Run) -> None:
        """A validation after this is not one of the training."""
        self._synced_at = -1

    def _sync(self, runner: Run) -> None:
        if self._synced_at == runner.iter or not is_distributed():
            return
        self._synced_at = runner.iter
        buffers = [buffer for buffer in runner.model.buffers() if buffer.is_floating_point()]
        all_reduce_params(buffers, op='mean')
