"""Every schedule, for the learning rate."""

from typing import TYPE_CHECKING, Any, ClassVar

from mmengine.registry import PARAM_SCHEDULERS

from .param_scheduler import (
    ConstantParamScheduler,
    CosineAnnealingParamScheduler,
    CosineRestartParamScheduler,
    ExponentialParamScheduler,
    LinearParamScheduler,
    MultiStepParamScheduler,
    OneCycleParamScheduler,
    PolyParamScheduler,
    ReduceOnPlateauParamScheduler,
    StepParamScheduler,
)

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from mmengine.optim.optimizer import BaseOptimWrapper


class LRSchedulerMixin:
    """Fixes ``param_name`` to ``'lr'``; must be listed before the schedule in the bases."""

    _fixed_param_name: ClassVar[str | None] = 'lr'

    def __init__(
        self, optimizer: 'Optimizer | BaseOptimWrapper', *args: Any, **kwargs: Any
    ) -> None:
        super().__init__(optimizer, 'lr', *args, **kwargs)  # type: ignore[call-arg]  # of the schedule


@PARAM_SCHEDULERS.register_module()
class ConstantLR(LRSchedulerMixin, ConstantParamScheduler):
    """The learning rate by :class:`ConstantParamScheduler`: a constant factor."""


@PARAM_SCHEDULERS.register_module()
class CosineAnnealingLR(LRSchedulerMixin, CosineAnnealingParamScheduler):
    """The learning rate by :class:`CosineAnnealingParamScheduler`: half a cosine."""


@PARAM_SCHEDULERS.register_module()
class CosineRestartLR(LRSchedulerMixin, CosineRestartParamScheduler):
    """The learning rate by :class:`CosineRestartParamScheduler`: cosines with restarts."""


@PARAM_SCHEDULERS.register_module()
class ExponentialLR(LRSchedulerMixin, ExponentialParamScheduler):
    """The learning rate by :class:`ExponentialParamScheduler`: a factor a step."""


@PARAM_SCHEDULERS.register_module()
class LinearLR(LRSchedulerMixin, LinearParamScheduler):
    """The learning rate by :class:`LinearParamScheduler`: a straight line."""


@PARAM_SCHEDULERS.register_module()
class MultiStepLR(LRSchedulerMixin, MultiStepParamScheduler):
    """The learning rate by :class:`MultiStepParamScheduler`: milestones."""


@PARAM_SCHEDULERS.register_module()
class OneCycleLR(LRSchedulerMixin, OneCycleParamScheduler):
    """The learning rate by :class:`OneCycleParamScheduler`: one cycle."""


@PARAM_SCHEDULERS.register_module()
class PolyLR(LRSchedulerMixin, PolyParamScheduler):
    """The learning rate by :class:`PolyParamScheduler`: a polynomial."""


@PARAM_SCHEDULERS.register_module()
class ReduceOnPlateauLR(LRSchedulerMixin, ReduceOnPlateauParamScheduler):
    """The learning rate by :class:`ReduceOnPlateauParamScheduler`: a stalled metric."""


@PARAM_SCHEDULERS.register_module()
class StepLR(LRSchedulerMixin, StepParamScheduler):
    """The learning rate by :class:`StepParamScheduler`: equal steps."""
