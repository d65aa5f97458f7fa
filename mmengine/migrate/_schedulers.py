"""Schedulers that follow a schedule of MMCV 1.x where no stock scheduler can.

Registered under their names like any other; a migrated config needs no import for them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from mmengine.migrate._schedule.legacy_schedule import LegacySchedule, Run
from mmengine.optim.scheduler._base import INF, _ParamScheduler, to_iterations
from mmengine.optim.scheduler.lr_scheduler import LRSchedulerMixin
from mmengine.optim.scheduler.momentum_scheduler import MomentumSchedulerMixin
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from mmengine.optim.optimizer import BaseOptimWrapper

_Legacy = TypeVar('_Legacy', bound='LegacyParamScheduler')


class LegacyParamScheduler(_ParamScheduler):
    """Give a parameter, at each iteration, the value that MMCV 1.x would have given it.

    It sets the value outright, from each group's initial one, so it stands alone among the
    schedulers of its
    parameter. In an epoch run, write
    ``by_epoch=True, end=<max_epochs>, convert_to_iter_based=True``; in an
    iteration run, ``by_epoch=False, end=<max_iters>``.

    Args:
        optimizer: An optimizer or an ``OptimWrapper``.
        param_name: Key of the scheduled value.
        policy: Name of the MMCV policy: 'poly', 'CosineAnnealing', 'cyclic' ...
        policy_by_epoch: Whether the policy counts epochs.
        warmup: 'linear', 'constant', 'exp' or None.
        warmup_iters: Length of the warm-up.
        warmup_ratio: Factor at its first iteration.
        warmup_by_epoch: Whether ``warmup_iters`` counts epochs.
        begin: 0, as the policies of MMCV cover the whole run.
        end: Iterations of the run.
        iters_per_epoch: Needed where something counts epochs.
        last_step: Index of the last step taken.
        by_epoch: False: the value changes at every iteration.
        verbose: Log each value.
        starts_late: Leave the groups as they were built until ``LegacyParamSchedulerHook`` begins
            the first epoch or iteration.
        **options: The policy's own arguments.

    Raises:
        ArgumentError: If the policy or its arguments are wrong, or the length of the run or of an
        epoch is not known.
    """

    _not_state = _ParamScheduler._not_state | {'_schedule', '_run', 'starts_late'}
    _of_momentum: ClassVar[bool] = False

    def __init__(
        self,
        optimizer: Optimizer | BaseOptimWrapper,
        param_name: str,
        policy: str,
        policy_by_epoch: bool = False,
        warmup: str | None = None,
        warmup_iters: int = 0,
        warmup_ratio: float = 0.1,
        warmup_by_epoch: bool = False,
        begin: int = 0,
        end: int = INF,
        iters_per_epoch: int | None = None,
        last_step: int = -1,
        by_epoch: bool = False,
        verbose: bool = False,
        *,
        starts_late: bool = False,
        **options: Any,
    ) -> None:
        name = type(self).__name__
        if by_epoch:
            raise ArgumentError(
                f'{name} changes the value at every iteration: add convert_to_iter_based=True to '
                'by_epoch=True, or count iterations with by_epoch=False.'
            )
        if begin != 0:
            raise ArgumentError(f'{name} covers the whole run, so begin is 0; got {begin}.')
        if end == INF:
            raise ArgumentError(
                f'{name} needs the length of the run: give end=max_iters, or in an epoch '
                'run end=max_epochs with by_epoch=True, convert_to_iter_based=True.'
            )
        if iters_per_epoch is None and (policy_by_epoch or warmup_by_epoch or policy == 'YOLOX'):
            raise ArgumentError(
                f'{name} with policy {policy!r} counts epochs here, so it needs '
                'iters_per_epoch. In an epoch run convert_to_iter_based=True supplies it.'
            )
        self._schedule = LegacySchedule(
            policy,
            options,
            by_epoch=policy_by_epoch,
            warmup=warmup,
            warmup_iters=warmup_iters,
            warmup_ratio=warmup_ratio,
            warmup_by_epoch=warmup_by_epoch,
            of_momentum=self._of_momentum,
        )
        self.starts_late = starts_late
        length = iters_per_epoch or end
        self._run = Run(end, length, max(end // length, 1))
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose)

    def begin_run(self) -> None:
        """Start from the values that hooks may have set since, if it starts late."""
        if self.starts_late and self._global_step == 0:
            self.base_values = self._read()
            for group, value in zip(self.optimizer.param_groups, self.base_values, strict=True):
                group[f'initial_{self.param_name}'] = value

    def begin_epoch(self, iteration: int) -> None:
        """Set what the policy gives for the epoch that begins, if it counts epochs."""
        self._catch_up(iteration)
        if self._schedule.by_epoch:
            values = self._schedule.values(self.base_values, iteration, self._run, warms_up=False)
            self._set(values)

    def begin_iter(self, iteration: int) -> None:
        """Set the value of an iteration, if MMCV set one: by epoch, it did so in the warm-up."""
        self._catch_up(iteration)
        if not self._schedule.by_epoch or iteration <= self._schedule.warmup_length(self._run) > 0:
            self._set(self._get_value())

    def _catch_up(self, iteration: int) -> None:
        """Count the steps until ``iteration``; the groups keep what hooks may have given them."""
        if self._global_step >= iteration:
            return
        held = self._read()
        # After resuming, several steps may be missing.
        while self._global_step < iteration:
            self.step()
        self._set(held)

    def _set(self, values: Sequence[float]) -> None:
        """Write values, of which momenta may have a copy elsewhere."""
        self._write(values)

    def _take_first_step(self) -> None:
        super()._take_first_step()
        if self.starts_late:
            self._set(self.base_values)

    def _get_value(self) -> Sequence[float]:
        return self._schedule.values(self.base_values, self.last_step, self._run)

    @classmethod
    def build_iter_from_epoch(
        cls: type[_Legacy],
        *args: Any,
        begin: float = 0,
        end: float = INF,
        by_epoch: bool = True,
        epoch_length: int | None = None,
        **kwargs: Any,
    ) -> _Legacy:
        """Build it for an epoch run of ``end`` epochs of ``epoch_length`` iterations."""
        if not by_epoch or not epoch_length:
            raise ArgumentError(
                f'Converting {cls.__name__} from epochs to iterations needs by_epoch=True and '
                f'a positive epoch_length, got by_epoch={by_epoch!r} and {epoch_length!r}.'
            )
        kwargs |= {
            'begin': to_iterations(begin, epoch_length),
            'end': to_iterations(end, epoch_length),
            'iters_per_epoch': epoch_length,
        }
        return cls(*args, **kwargs)


@PARAM_SCHEDULERS.register_module()
class LegacyLRScheduler(LRSchedulerMixin, LegacyParamScheduler):
    """The learning rate by :class:`LegacyParamScheduler`.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.zeros(1))
        >>> optimizer = torch.optim.SGD([weight], lr=0.1)
        >>> scheduler = LegacyLRScheduler(
        ...     optimizer, policy='poly', min_lr=0.001, warmup='exp', warmup_iters=2, end=4)
        >>> [round(optimizer.param_groups[0]['lr'], 4)]
        [0.01]
    """


@PARAM_SCHEDULERS.register_module()
class LegacyMomentumScheduler(MomentumSchedulerMixin, LegacyParamScheduler):
    """The momentum by :class:`LegacyParamScheduler`: the ``momentum_config`` of MMCV 1.x."""

    _of_momentum = True

    def _set(self, values: Sequence[float]) -> None:
        super()._set(values)
        self._write_betas()
