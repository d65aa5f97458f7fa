"""DistSamplerSeedHook: passes the epoch to the samplers, so that each epoch has another order."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mmengine.dataset._dataloader import set_epoch
from mmengine.hooks.hook import Hook
from mmengine.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.hooks.run import Run


@HOOKS.register_module()
class DistSamplerSeedHook(Hook):
    """Calls ``set_epoch`` of the training sampler, or of the sampler under its batch sampler."""

    priority = 'NORMAL'

    def before_train_epoch(self, runner: Run) -> None:
        """Set the epoch; the order of samples depends on the seed and the epoch only."""
        set_epoch(runner.train_loop.dataloader, runner.epoch)
