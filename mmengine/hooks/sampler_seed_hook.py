"""Tells samplers which epoch begins, so that each is shuffled its own way."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmengine.hooks.hook import Hook
from mmengine.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.runner import Runner


@HOOKS.register_module()
class DistSamplerSeedHook(Hook):
    """Calls ``set_epoch`` of the training sampler, or of the sampler under its batch sampler."""

    priority = 'NORMAL'

    def before_train_epoch(self, runner: Runner) -> None:
        """A new epoch: its order of samples is a function of seed and epoch alone."""
        dataloader = runner.train_loop.dataloader
        batch_sampler = getattr(dataloader, 'batch_sampler', None)
        samplers = (
            getattr(dataloader, 'sampler', None),
            batch_sampler,
            getattr(batch_sampler, 'sampler', None),
        )
        told: list[Any] = []
        for sampler in samplers:
            if (
                sampler is not None
                and hasattr(sampler, 'set_epoch')
                and not any(sampler is one for one in told)
            ):
                sampler.set_epoch(runner.epoch)
                told.append(sampler)
