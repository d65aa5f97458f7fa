"""The averaged weights of MMCV 1.x, to the bit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mmengine.hooks import EMAHook
from mmengine.model.averaged_model import BaseAveragedModel
from mmengine.registry import HOOKS, MODELS
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from mmengine.hooks.run import Run


@MODELS.register_module()
class LegacyMovingAverage(BaseAveragedModel):
    """The average that ``EMAHook`` of MMCV 1.x kept.

    Iterations are counted from 0. After every ``interval``-th one, the first included, the new
    weights get the share ``min(momentum ** interval, (1 + t) / (warm_up + t))`` at iteration ``t``:
    a larger momentum than the usual ones is reached slowly. Buffers are the model's.

    Args:
        model: The model to follow.
        momentum: Share of the new weights in the long run, if ``interval`` is 1.
        interval: Average after every how many iterations.
        warm_up: How slowly the share rises.
        device: Where the average lives.

    Raises:
        ArgumentError: If ``momentum`` is not between 0 and 1, or a number is below 1.
    """

    def __init__(
        self,
        model: nn.Module,
        momentum: float = 0.0002,
        interval: int = 1,
        warm_up: int = 100,
        device: torch.device | None = None,
    ) -> None:
        super().__init__(model, interval, device)
        if not 0.0 < momentum < 1.0:
            raise ArgumentError(
                f'momentum has to lie between 0 and 1 (both excluded), got {momentum}.'
            )
        if warm_up < 1:
            raise ArgumentError(f'warm_up counts iterations, so it is at least 1, got {warm_up}.')
        self.momentum = momentum
        self.warm_up = warm_up

    def avg_func(self, averaged_param: Tensor, source_param: Tensor, steps: Tensor) -> None:
        """Mix ``source_param`` into ``averaged_param``, in the arithmetic of MMCV."""
        iteration = int(steps) - 1
        share = min(self.momentum**self.interval, (1 + iteration) / (self.warm_up + iteration))
        averaged_param.mul_(1 - share).add_(source_param, alpha=share)

    def _averages_at(self, steps: int) -> bool:
        # The first step copied the weights that training began with.
        return (steps - 1) % self.interval == 0


@HOOKS.register_module()
class LegacyEMAHook(EMAHook):
    """:class:`EMAHook` with the average of MMCV 1.x, which begins at the weights before training.

    Validation uses the average and checkpoints hold it as their ``state_dict``, as the hooks of
    this engine have it; MMCV did so only at the end of an epoch, and for checkpoints only where the
    hook came before the one that saves.

    Args:
        momentum: Share of the new weights in the long run.
        interval: Average after every how many iterations.
        warm_up: How slowly the share rises; see :class:`LegacyMovingAverage`.
        strict_load: Fail when the averaged weights of a resumed checkpoint do not fit.
    """

    def __init__(
        self,
        momentum: float = 0.0002,
        interval: int = 1,
        warm_up: int = 100,
        strict_load: bool = False,
    ) -> None:
        options: dict[str, Any] = {'momentum': momentum, 'interval': interval, 'warm_up': warm_up}
        super().__init__('LegacyMovingAverage', strict_load, unit='iter', **options)

    def before_train(self, runner: Run) -> None:
        """Begin the average, unless a resumed run brought one."""
        super().before_train(runner)
        if not self._has_average():
            self.ema_model.update_parameters(self.src_model)
        # Share and turn depend on the iteration of the run.
        self.ema_model.steps.fill_(runner.iter + 1)
