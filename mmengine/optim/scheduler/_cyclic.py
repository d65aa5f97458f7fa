"""Schedules that set the value directly, at some steps or at every step."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING

from mmengine.registry import PARAM_SCHEDULERS
from mmengine.utils.errors import ArgumentError, did_you_mean

from ._base import INF, _ParamScheduler, groups_of
from ._checks import require_count, require_range
from ._decay import _CosineSchedule, require_one_floor

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from mmengine.optim.optimizer import BaseOptimWrapper


@PARAM_SCHEDULERS.register_module()
class CosineRestartParamScheduler(_CosineSchedule):
    """Decrease the parameter along half a cosine in each period, then restart it.

    Period ``i`` starts at ``base * restart_weights[i]`` and falls to the lowest value over
    ``periods[i]`` steps (SGDR, Loshchilov & Hutter 2017, arXiv:1608.03983). After the last period
    the value stays.

    Args:
        optimizer: See :class:`_ParamScheduler`, as for the other arguments not listed here.
        param_name: Key of the scheduled value.
        periods: Steps of each period.
        restart_weights: Multiple of the base value that each period starts from.
        eta_min: The lowest value; 0 when ``eta_min_ratio`` is left out too.
        eta_min_ratio: The lowest value as a multiple of each group's base value.
        begin: First step of the window.
        end: Step that ends the window.
        last_step: Index of the last step taken.
        by_epoch: Whether steps are epochs.
        verbose: Log each value.

    Raises:
        ArgumentError: If ``periods`` and ``restart_weights`` differ in length, a period is not a
            positive integer, or both floors are given.
    """

    _epoch_counts = ('begin', 'end', 'periods')

    def __init__(
        self,
        optimizer: 'Optimizer | BaseOptimWrapper',
        param_name: str,
        periods: Sequence[int],
        restart_weights: Sequence[float] = (1,),
        eta_min: float | None = None,
        eta_min_ratio: float | None = None,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ) -> None:
        if len(periods) != len(restart_weights):
            raise ArgumentError(
                f'{type(self).__name__} needs one restart weight a period, got {len(periods)} '
                f'periods and {len(restart_weights)} restart_weights.'
            )
        require_one_floor(self, eta_min, eta_min_ratio)
        self.periods = [require_count(self, 'every period', period) for period in periods]
        self.cumulative_periods = list(accumulate(self.periods))
        self.restart_weights = list(restart_weights)
        self.eta_min = eta_min
        self.eta_min_ratio = eta_min_ratio
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose)

    def _get_value(self) -> list[float] | None:
        index = self.get_position_from_periods(self.last_step, self.cumulative_periods)
        if index is None:
            return None
        if self.last_step == self.cumulative_periods[index] - self.periods[index]:
            weight = self.restart_weights[index]
            return [base * weight for base in self.base_values]
        return super()._get_value()

    def _factor(self, step: int) -> float:
        index = bisect_right(self.cumulative_periods, step)
        period = self.periods[index]
        since_restart = step - (self.cumulative_periods[index] - period)
        return (1 + math.cos(math.pi * since_restart / period)) / 2

    @staticmethod
    def get_position_from_periods(iteration: int, cumulative_periods: Sequence[int]) -> int | None:
        """Index of the period that contains ``iteration``; None after the last period.

        Example:
            >>> CosineRestartParamScheduler.get_position_from_periods(5, [4, 7])
            1
        """
        index = bisect_right(cumulative_periods, iteration)
        return index if index < len(cumulative_periods) else None


@PARAM_SCHEDULERS.register_module()
class OneCycleParamScheduler(_ParamScheduler):
    """Raise the parameter to ``eta_max`` and anneal it far below its start, in one cycle.

    The super-convergence policy (Smith & Topin 2018, arXiv:1708.07120), from ``eta_max /
    div_factor`` up and down to ``eta_max / div_factor / final_div_factor``. With ``three_phase`` it
    first falls back to its start, as long as it rose. The groups get ``initial_<param>``,
    ``max_<param>`` and ``min_<param>``.

    Args:
        optimizer: See :class:`_ParamScheduler`, as for the other arguments not listed here.
        param_name: Key of the scheduled value.
        eta_max: Peak of the cycle, positive.
        total_steps: Steps of the cycle; the window's length when left out.
        pct_start: Share of the cycle spent rising, in [0, 1].
        anneal_strategy: Shape of each phase, ``'cos'`` or ``'linear'``.
        div_factor: Peak over start.
        final_div_factor: Start over end.
        three_phase: Whether a mirrored fall comes before the last phase.
        begin: First step of the window.
        end: Step that ends the window.
        last_step: Index of the last step taken.
        by_epoch: Whether steps are epochs.
        verbose: Log each value.

    Raises:
        ArgumentError: If an argument is out of range, or neither ``total_steps`` nor ``end`` is
            given; in :meth:`step`, past the end of the cycle.
    """

    _epoch_counts = ('begin', 'end', 'total_steps')
    # Older checkpoints have these two: a function, and a table computed from the arguments.
    _not_state = _ParamScheduler._not_state | {'anneal_func', '_schedule_phases'}

    def __init__(
        self,
        optimizer: 'Optimizer | BaseOptimWrapper',
        param_name: str,
        eta_max: float = 0,
        total_steps: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = 'cos',
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ) -> None:
        require_range(self, 'eta_max', eta_max, 0, above_low=True)
        require_range(self, 'pct_start', pct_start, 0, 1)
        require_range(self, 'div_factor', div_factor, 0, above_low=True)
        require_range(self, 'final_div_factor', final_div_factor, 0, above_low=True)
        if anneal_strategy not in _ANNEAL:
            raise ArgumentError(
                f"{type(self).__name__} needs anneal_strategy 'cos' or 'linear', got "
                f'{anneal_strategy!r}.'
                f'{did_you_mean(str(anneal_strategy), _ANNEAL)}'
            )
        if total_steps is None and end == INF:
            raise ArgumentError(
                f'{type(self).__name__} needs the length of its cycle: pass total_steps or end.'
            )
        self.total_steps = require_count(
            self, 'total_steps', end - begin if total_steps is None else total_steps
        )
        self.eta_max = eta_max
        self.pct_start = pct_start
        self.anneal_strategy = anneal_strategy
        self.div_factor = div_factor
        self.final_div_factor = final_div_factor
        self.three_phase = three_phase
        if last_step == -1:
            self._mark_groups(optimizer, param_name)
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose)

    def _mark_groups(self, optimizer: 'Optimizer | BaseOptimWrapper', param_name: str) -> None:
        start = self.eta_max / self.div_factor
        for group in groups_of(optimizer):
            group[f'initial_{param_name}'] = start
            group[f'max_{param_name}'] = self.eta_max
            group[f'min_{param_name}'] = start / self.final_div_factor

    def _rewind_groups(self) -> None:
        super()._rewind_groups()
        self._mark_groups(self.optimizer, self.param_name)

    def _restart_from(self, base_values: Sequence[float]) -> None:
        self._mark_groups(self.optimizer, self.param_name)
        super()._restart_from([self.eta_max / self.div_factor] * len(base_values))

    def _get_value(self) -> list[float]:
        return [self._value_at(self.last_step)] * len(self.optimizer.param_groups)

    def _value_at(self, step: int) -> float:
        if step > self.total_steps:
            raise ArgumentError(
                f'{type(self).__name__} has a cycle of {self.total_steps} steps, and this is step '
                f'{step}. Set total_steps to the length of the run, or end to where the schedule '
                'should stop.'
            )
        anneal = _ANNEAL[self.anneal_strategy]
        phase_start = 0.0
        for phase_end, start, stop in self._phases():
            if step <= phase_end:
                length = phase_end - phase_start
                return anneal(start, stop, (step - phase_start) / length if length > 0 else 1.0)
            phase_start = phase_end
        return stop

    def _phases(self) -> list[tuple[float, float, float]]:
        """(last step, value at its start, value at its last step) of each phase."""
        start = self.eta_max / self.div_factor
        lowest = start / self.final_div_factor
        peak_step = self.pct_start * self.total_steps - 1
        rise = (peak_step, start, self.eta_max)
        last_step = self.total_steps - 1
        if self.three_phase:
            fall = (2 * self.pct_start * self.total_steps - 2, self.eta_max, start)
            return [rise, fall, (last_step, start, lowest)]
        return [rise, (last_step, self.eta_max, lowest)]


def _anneal_cos(start: float, stop: float, share: float) -> float:
    return stop + (start - stop) * (1 + math.cos(math.pi * share)) / 2


def _anneal_linear(start: float, stop: float, share: float) -> float:
    return start + (stop - start) * share


_ANNEAL = {'cos': _anneal_cos, 'linear': _anneal_linear}
