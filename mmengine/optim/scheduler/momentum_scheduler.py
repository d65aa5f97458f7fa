"""Every schedule but the one-cycle, for the momentum: ``momentum``, or the first of ``betas``."""

from typing import TYPE_CHECKING, Any, ClassVar

from mmengine.registry import PARAM_SCHEDULERS
from mmengine.utils.errors import ArgumentError

from ._base import groups_of
from .param_scheduler import (
    ConstantParamScheduler,
    CosineAnnealingParamScheduler,
    CosineRestartParamScheduler,
    ExponentialParamScheduler,
    LinearParamScheduler,
    MultiStepParamScheduler,
    PolyParamScheduler,
    ReduceOnPlateauParamScheduler,
    StepParamScheduler,
)

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from mmengine.optim.optimizer import BaseOptimWrapper


class MomentumSchedulerMixin:
    """Fixes a schedule's ``param_name`` to ``'momentum'``; must be listed first in the bases.

    Adam and its relatives keep their momentum as the first of ``betas``. There the groups get a key
    ``momentum``, which is what the schedule acts on, and each step copies it into ``betas``.

    Raises:
        ArgumentError: If the optimizer has neither ``momentum`` nor ``betas``.
    """

    _fixed_param_name: ClassVar[str | None] = 'momentum'
    optimizer: 'Optimizer | BaseOptimWrapper'

    def __init__(
        self, optimizer: 'Optimizer | BaseOptimWrapper', *args: Any, **kwargs: Any
    ) -> None:
        groups = groups_of(optimizer)
        self.use_betas = all('betas' in group for group in groups)
        if self.use_betas:
            for group in groups:
                group['momentum'] = group['betas'][0]
        elif not all('momentum' in group for group in groups):
            raise ArgumentError(
                f'{type(self).__name__} needs an optimizer whose groups have momentum or betas; '
                f'the groups of {type(optimizer).__name__} have '
                f'{", ".join(key for key in groups[0] if key != "params")}.'
            )
        super().__init__(optimizer, 'momentum', *args, **kwargs)  # type: ignore[call-arg]  # the same

    def step(self) -> None:
        """See :meth:`_ParamScheduler.step`."""
        super().step()  # type: ignore[misc]  # the next class is the schedule
        self._write_betas()

    def _rewind_groups(self) -> None:
        super()._rewind_groups()  # type: ignore[misc]  # the next class is the schedule
        self._write_betas()

    def _write_betas(self) -> None:
        if self.use_betas:
            for group in self.optimizer.param_groups:
                group['betas'] = (group['momentum'], *group['betas'][1:])


@PARAM_SCHEDULERS.register_module()
class ConstantMomentum(MomentumSchedulerMixin, ConstantParamScheduler):
    """The momentum by :class:`ConstantParamScheduler`: a constant factor."""


@PARAM_SCHEDULERS.register_module()
class CosineAnnealingMomentum(MomentumSchedulerMixin, CosineAnnealingParamScheduler):
    """The momentum by :class:`CosineAnnealingParamScheduler`: half a cosine."""


@PARAM_SCHEDULERS.register_module()
class CosineRestartMomentum(MomentumSchedulerMixin, CosineRestartParamScheduler):
    """The momentum by :class:`CosineRestartParamScheduler`: cosines with restarts."""


@PARAM_SCHEDULERS.register_module()
class ExponentialMomentum(MomentumSchedulerMixin, ExponentialParamScheduler):
    """The momentum by :class:`ExponentialParamScheduler`: a factor a step."""


@PARAM_SCHEDULERS.register_module()
class LinearMomentum(MomentumSchedulerMixin, LinearParamScheduler):
    """The momentum by :class:`LinearParamScheduler`: a straight line."""


@PARAM_SCHEDULERS.register_module()
class MultiStepMomentum(MomentumSchedulerMixin, MultiStepParamScheduler):
    """The momentum by :class:`MultiStepParamScheduler`: milestones."""


@PARAM_SCHEDULERS.register_module()
class PolyMomentum(MomentumSchedulerMixin, PolyParamScheduler):
    """The momentum by :class:`PolyParamScheduler`: a polynomial."""


@PARAM_SCHEDULERS.register_module()
class ReduceOnPlateauMomentum(MomentumSchedulerMixin, ReduceOnPlateauParamScheduler):
    """The momentum by :class:`ReduceOnPlateauParamScheduler`: a stalled metric."""

    def step(self, metrics: dict[str, Any] | None = None) -> None:
        """See :meth:`ReduceOnPlateauParamScheduler.step`."""
        ReduceOnPlateauParamScheduler.step(self, metrics)
        self._write_betas()


@PARAM_SCHEDULERS.register_module()
class StepMomentum(MomentumSchedulerMixin, StepParamScheduler):
    """The momentum by :class:`StepParamScheduler`: equal steps."""
