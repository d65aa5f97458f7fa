"""Schedules that scale the value of a group: each is one factor as a function of the step."""

import math
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mmengine.registry import PARAM_SCHEDULERS
from mmengine.utils.errors import ArgumentError

from ._base import INF, _ParamScheduler
from ._checks import require_count, require_range

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from mmengine.optim.optimizer import BaseOptimWrapper


class _ScalingSchedule(_ParamScheduler):
    """A schedule given by its factor: ``value = floor + (base - floor) * factor(step)``.

    Each step multiplies what lies above the floor by ``factor(step) / factor(step - 1)``, so that
    schedules acting at the same time multiply, and a value changed by hand in mid-run is kept. The
    ratio does not depend on the group; it is worked out once a step. The order of the operations
    is the API's, down to the last bit: runs that compare learning rates get equal ones.
    """

    def _factor(self, step: int) -> float:
        """The multiple of the base value at ``step`` (0 is the first one inside the window)."""
        raise NotImplementedError(f'{type(self).__name__} must define _factor() or _ratio().')

    def _ratio(self, step: int) -> float | None:
        """The change from the step before to ``step``; None when it rises from a factor of 0."""
        before = self._factor(step - 1) if step > 0 else 1.0
        now = self._factor(step)
        if now == before:
            return 1.0
        return None if before == 0 else now / before

    def _rise(self, step: int) -> float:
        """The factor at ``step`` where the factor of the step before is 0."""
        return self._factor(step)

    def _floors(self) -> float | list[float]:
        """The value at a factor of 0: one for all groups, or one for each."""
        return 0.0

    def _get_value(self) -> list[float] | None:
        ratio = self._ratio(self.last_step)
        if ratio == 1.0:
            return None
        name = self.param_name
        groups = self.optimizer.param_groups
        floor = self._floors()
        if ratio is None:
            # The value equals the floor, so it rises from the base value instead.
            rise = self._rise(self.last_step)
            lows = floor if isinstance(floor, list) else [floor] * len(groups)
            return [
                group[name] + (base - low) * rise
                for group, base, low in zip(groups, self.base_values, lows, strict=True)
            ]
        if isinstance(floor, list):
            pairs = zip(groups, floor, strict=True)
            return [(group[name] - low) * ratio + low for group, low in pairs]
        if not self._holds_tensors and groups[0][name] == groups[-1][name]:
            # Most runs have one learning rate for hundreds of groups.
            values = self._read()
            if values.count(values[0]) == len(values):
                return [(values[0] - floor) * ratio + floor] * len(values)
        return [(group[name] - floor) * ratio + floor for group in groups]


@PARAM_SCHEDULERS.register_module()
class ConstantParamScheduler(_ScalingSchedule):
    """Hold the parameter at ``factor`` times its value until the window's last step.

    Args:
        optimizer: See :class:`_ParamScheduler`, as for the other arguments not listed here.
        param_name: Key of the scheduled value.
        factor: Multiple of the value, in [0, 1].
        begin: First step of the window.
        end: Step that ends the window; the value is restored at ``end - 1``.
        last_step: Index of the last step taken.
        by_epoch: Whether steps are epochs.
        verbose: Log each value.

    Raises:
        ArgumentError: If ``factor`` is outside [0, 1].
    """

    def __init__(
        self,
        optimizer: 'Optimizer | BaseOptimWrapper',
        param_name: str,
        factor: float = 1.0 / 3,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ) -> None:
        require_range(self, 'factor', factor, 0, 1)
        self.factor = factor
        self.total_iters = end - begin - 1
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose)

    def _factor(self, step: int) -> float:
        return self.factor if step < max(self.total_iters, 1) else 1.0


@PARAM_SCHEDULERS.register_module()
class LinearParamScheduler(_ScalingSchedule):
    """Move the factor along a line, from ``start_factor`` to ``end_factor`` at ``end - 1``.

    The usual warm-up: ``LinearLR(start_factor=0.001, by_epoch=False, begin=0, end=500)``.

    Args:
        optimizer: See :class:`_ParamScheduler`, as for the other arguments not listed here.
        param_name: Key of the scheduled value.
        start_factor: Factor at ``begin``, in [0, 1].
        end_factor: Factor at ``end - 1``, in [0, 1].
        begin: First step of the window.
        end: Step that ends the window.
        last_step: Index of the last step taken.
        by_epoch: Whether steps are epochs.
        verbose: Log each value.

    Raises:
        ArgumentError: If a factor is outside its range.
    """

    def __init__(
        self,
        optimizer: 'Optimizer | BaseOptimWrapper',
        param_name: str,
        start_factor: float = 1.0 / 3,
        end_factor: float = 1.0,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ) -> None:
        require_range(self, 'start_factor', start_factor, 0, 1)
        require_range(self, 'end_factor', end_factor, 0, 1)
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = end - begin - 1
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose)

    def _ratio(self, step: int) -> float | None:
        if step == 0:
            return self.start_factor
        if step > self.total_iters:
            return 1.0
        rise = self.end_factor - self.start_factor
        # Of step - 1, in units of 1 / total_iters: (start + rise * (step - 1) / total) * total.
        before = self.total_iters * self.start_factor + (step - 1) * rise
        return None if before == 0 and rise else 1.0 + rise / (before or 1.0)

    def _rise(self, step: int) -> float:
        return (self.end_factor - self.start_factor) / self.total_iters


@PARAM_SCHEDULERS.register_module()
class ExponentialParamScheduler(_ScalingSchedule):
    """Multiply the parameter by ``gamma`` at every step after the first.

    Args:
        optimizer: See :class:`_ParamScheduler`, as for the other arguments not listed here.
        param_name: Key of the scheduled value.
        gamma: Factor of one step, at least 0.
        begin: First step of the window.
        end: Step that ends the window.
        last_step: Index of the last step taken.
        by_epoch: Whether steps are epochs.
        verbose: Log each value.

    Raises:
        ArgumentError: If ``gamma`` is negative.
    """

    def __init__(
        self,
        optimizer: 'Optimizer | BaseOptimWrapper',
        param_name: str,
        gamma: float,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ) -> None:
        require_range(self, 'gamma', gamma, 0)
        self.gamma = gamma
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose)

    def _ratio(self, step: int) -> float:
        return self.gamma if step > 0 else 1.0


@PARAM_SCHEDULERS.register_module()
class StepParamScheduler(_ScalingSchedule):
    """Multiply the parameter by ``gamma`` every ``step_size`` steps.

    Args:
        optimizer: See :class:`_ParamScheduler`, as for the other arguments not listed here.
        param_name: Key of the scheduled value.
        step_size: Steps from one change to the next, positive.
        gamma: Factor of one change, at least 0.
        begin: First step of the window.
        end: Step that ends the window.
        last_step: Index of the last step taken.
        by_epoch: Whether steps are epochs.
        verbose: Log each value.

    Raises:
        ArgumentError: If ``step_size`` is not a positive integer, or ``gamma`` is negative.
    """

    _epoch_counts = ('begin', 'end', 'step_size')

    def __init__(
        self,
        optimizer: 'Optimizer | BaseOptimWrapper',
        param_name: str,
        step_size: int,
        gamma: float = 0.1,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ) -> None:
        require_range(self, 'gamma', gamma, 0)
        self.step_size = require_count(self, 'step_size', step_size)
        self.gamma = gamma
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose)

    def _ratio(self, step: int) -> float:
        return 1.0 if step == 0 or step % self.step_size else self.gamma


@PARAM_SCHEDULERS.register_module()
class MultiStepParamScheduler(_ScalingSchedule):
    """Multiply the parameter by ``gamma`` at each milestone, counted from ``begin``.

    Args:
        optimizer: See :class:`_ParamScheduler`, as for the other arguments not listed here.
        param_name: Key of the scheduled value.
        milestones: Steps in any order; one that appears twice multiplies twice.
        gamma: Factor of one milestone, at least 0.
        last_step: Index of the last step taken.
        begin: First step of the window.
        end: Step that ends the window.
        by_epoch: Whether steps are epochs.
        verbose: Log each value.

    Raises:
        TypeError: If ``milestones`` is not a sequence.
        ArgumentError: If the milestones are negative or no whole numbers, or ``gamma`` is
            negative.
    """

    _epoch_counts = ('begin', 'end', 'milestones')

    def __init__(
        self,
        optimizer: 'Optimizer | BaseOptimWrapper',
        param_name: str,
        milestones: Sequence[int],
        gamma: float = 0.1,
        last_step: int = -1,
        begin: int = 0,
        end: int = INF,
        by_epoch: bool = True,
        verbose: bool = False,
    ) -> None:
        require_range(self, 'gamma', gamma, 0)
        self.milestones = Counter(self._checked(milestones))
        self.gamma = gamma
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose)

    def _checked(self, milestones: Any) -> list[int]:
        if isinstance(milestones, str) or not isinstance(milestones, Sequence):
            raise TypeError(
                f'{type(self).__name__} expects a list of steps for milestones, got {milestones!r}.'
            )
        for milestone in milestones:
            require_range(self, 'every milestone', milestone, 0)
        steps = [int(milestone) for milestone in milestones]
        if steps != list(milestones):
            raise ArgumentError(
                f'{type(self).__name__} needs whole numbers for milestones, got '
                f'{list(milestones)}. Fractions of an epoch need convert_to_iter_based=True.'
            )
        return steps

    def state_dict(self) -> dict[str, Any]:
        """See :meth:`_ParamScheduler.state_dict`; the milestones are a plain dict."""
        return super().state_dict() | {'milestones': dict(self.milestones)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """See :meth:`_ParamScheduler.load_state_dict`."""
        super().load_state_dict(state_dict)
        self.milestones = Counter(self.milestones)

    def _ratio(self, step: int) -> float:
        times = self.milestones.get(step)
        return 1.0 if times is None else self.gamma**times


@PARAM_SCHEDULERS.register_module()
class PolyParamScheduler(_ScalingSchedule):
    """Decrease the parameter by ``(1 - step / total) ** power`` to ``eta_min`` at ``end - 1``.

    Args:
        optimizer: See :class:`_ParamScheduler`, as for the other arguments not listed here.
        param_name: Key of the scheduled value.
        eta_min: Value at the window's last step.
        power: Exponent of the fall, at least 0; 1 is a straight line.
        begin: First step of the window.
        end: Step that ends the window.
        last_step: Index of the last step taken.
        by_epoch: Whether steps are epochs.
        verbose: Log each value.

    Raises:
        ArgumentError: If ``power`` is negative.
    """

    def __init__(
        self,
        optimizer: 'Optimizer | BaseOptimWrapper',
        param_name: str,
        eta_min: float = 0,
        power: float = 1.0,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
    ) -> None:
        require_range(self, 'power', power, 0)
        self.eta_min = eta_min
        self.power = power
        self.total_iters = end - begin - 1
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose)

    def _floors(self) -> float:
        return self.eta_min

    def _ratio(self, step: int) -> float:
        if step == 0 or step > self.total_iters:
            return 1.0
        return float((1.0 - 1.0 / (self.total_iters - step + 1)) ** self.power)


class _CosineSchedule(_ScalingSchedule):
    """A fall to a lowest value, given as it is or as a multiple of each group's base value."""

    eta_min: float | None
    eta_min_ratio: float | None

    # Subclasses override this one to work the lowest value out in another way.
    def _get_eta_min(self, base_value: float) -> float:
        """The lowest value of a group that starts from ``base_value``."""
        if self.eta_min_ratio is not None:
            return base_value * self.eta_min_ratio
        return 0.0 if self.eta_min is None else self.eta_min

    def _floors(self) -> float | list[float]:
        is_one = self.eta_min_ratio is None
        if is_one and type(self)._get_eta_min is _CosineSchedule._get_eta_min:
            return 0.0 if self.eta_min is None else self.eta_min
        return [self._get_eta_min(base) for base in self.base_values]


@PARAM_SCHEDULERS.register_module()
class CosineAnnealingParamScheduler(_CosineSchedule):
    """Vary the parameter between its value and ``eta_min`` by half a cosine of ``T_max`` steps.

    Past ``T_max`` it rises again, as the cosine does (Loshchilov & Hutter 2017, arXiv:1608.03983,
    without restarts).

    Args:
        optimizer: See :class:`_ParamScheduler`, as for the other arguments not listed here.
        param_name: Key of the scheduled value.
        T_max: Steps from the highest value to the lowest; the window's length when left out.
        eta_min: The lowest value; 0 when ``eta_min_ratio`` is left out too.
        begin: First step of the window.
        end: Step that ends the window.
        last_step: Index of the last step taken.
        by_epoch: Whether steps are epochs.
        verbose: Log each value.
        eta_min_ratio: The lowest value as a multiple of each group's base value.

    Raises:
        ArgumentError: If both floors are given, or ``T_max`` is not positive.
    """

    _epoch_counts = ('begin', 'end', 'T_max')

    def __init__(
        self,
        optimizer: 'Optimizer | BaseOptimWrapper',
        param_name: str,
        T_max: int | None = None,
        eta_min: float | None = None,
        begin: int = 0,
        end: int = INF,
        last_step: int = -1,
        by_epoch: bool = True,
        verbose: bool = False,
        eta_min_ratio: float | None = None,
    ) -> None:
        self.T_max = end - begin if T_max is None else T_max
        if T_max is not None:
            require_range(self, 'T_max', T_max, 0, above_low=True)
        require_one_floor(self, eta_min, eta_min_ratio)
        # Subclasses of projects compute with it.
        self.eta_min = 0.0 if eta_min is None and eta_min_ratio is None else eta_min
        self.eta_min_ratio = eta_min_ratio
        super().__init__(optimizer, param_name, begin, end, last_step, by_epoch, verbose)

    def _factor(self, step: int) -> float:
        return (1 + math.cos(math.pi * step / self.T_max)) / 2

    def _rise(self, step: int) -> float:
        # The same as _factor but for the last bit, which is the API's.
        return (1 - math.cos(math.pi / self.T_max)) / 2


def require_one_floor(owner: object, eta_min: float | None, eta_min_ratio: float | None) -> None:
    """Refuse a floor given both as a value and as a ratio."""
    if eta_min is not None and eta_min_ratio is not None:
        raise ArgumentError(
            f'{type(owner).__name__} takes its lowest value from eta_min or from eta_min_ratio, '
            f'got both ({eta_min!r} and {eta_min_ratio!r}).'
        )
