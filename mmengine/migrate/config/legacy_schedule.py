"""The learning rates and momenta of MMCV 1.x, as mathematics.

A *policy* maps the base values of all parameter groups to their values at time ``t`` of ``n``, both
counted in
epochs or in iterations. A *warm-up* is a factor on what the policy gives at that very iteration.
Nothing depends
on the values before, so any iteration can be asked for alone.
"""

from __future__ import annotations

import inspect
import math
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

from mmengine.utils.errors import ArgumentError, did_you_mean

Values = list[float]
Regular = Callable[[Sequence[float], int, int], Values]
"""(base values, time, length of the run in the unit of time) -> values."""

WARMUPS = ('constant', 'linear', 'exp')


@dataclass(frozen=True)
class Run:
    """How long a training is.

    Args:
        max_iters: Its iterations.
        epoch_length: Iterations in one of its epochs; an iteration run is one epoch.
        max_epochs: Its epochs.
    """

    max_iters: int
    epoch_length: int
    max_epochs: int

    @classmethod
    def of_epochs(cls, max_epochs: int, epoch_length: int) -> Run:
        return cls(max_epochs * epoch_length, epoch_length, max_epochs)

    @classmethod
    def of_iters(cls, max_iters: int, epoch_length: int | None = None) -> Run:
        return cls(max_iters, epoch_length or max_iters, 1)


@dataclass(frozen=True)
class LegacySchedule:
    """One ``lr_config`` or ``momentum_config``.

    Args:
        policy: Name of the policy, as written in a config.
        options: The policy's own arguments.
        by_epoch: Whether the policy counts epochs.
        warmup: 'constant', 'linear', 'exp', or None for none.
        warmup_iters: Length of the warm-up.
        warmup_ratio: Factor at its first iteration.
        warmup_by_epoch: Whether ``warmup_iters`` counts epochs.
        of_momentum: Whether the values are momenta: warm-up then divides by the factor.

    Raises:
        ArgumentError: If the policy is unknown or MMCV would have refused an option.
    """

    policy: str
    options: Mapping[str, Any] = field(default_factory=dict)
    by_epoch: bool = True
    warmup: str | None = None
    warmup_iters: int = 0
    warmup_ratio: float = 0.1
    warmup_by_epoch: bool = False
    of_momentum: bool = False

    def __post_init__(self) -> None:
        table = MOMENTUM_POLICIES if self.of_momentum else POLICIES
        name = canonical_name(self.policy)
        if name not in table:
            raise ArgumentError(
                f'policy {self.policy!r} is none of those known: {", ".join(sorted(table))}.'
                f'{did_you_mean(name, table)}'
            )
        object.__setattr__(self, '_regular', _bound(name, table[name], self.options))
        if self.warmup is None:
            if name == 'YOLOX':
                raise ArgumentError("policy YOLOX needs warmup='exp'.")
            return
        if name in _WITH_WARMUP_OF_THEIR_OWN and self.warmup != _WITH_WARMUP_OF_THEIR_OWN[name]:
            raise ArgumentError(
                f'policy {name} warms up in a way of its own, which its configs call '
                f'{_WITH_WARMUP_OF_THEIR_OWN[name]!r}; got {self.warmup!r}.'
            )
        if self.warmup not in WARMUPS:
            raise ArgumentError(
                f'warmup is {", ".join(map(repr, WARMUPS))} or None, got {self.warmup!r}.'
                f'{did_you_mean(str(self.warmup), WARMUPS)}'
            )
        if self.warmup_iters <= 0:
            raise ArgumentError(f'a warm-up needs warmup_iters above 0, got {self.warmup_iters!r}.')
        if not 0 < self.warmup_ratio <= 1:
            raise ArgumentError(f'warmup_ratio lies in (0, 1], got {self.warmup_ratio!r}.')

    def values(self, bases: Sequence[float], iteration: int, run: Run) -> Values:
        """The value of every group with which ``iteration`` (from 0) is trained."""
        if self.by_epoch:
            time, length = iteration // run.epoch_length, run.max_epochs
        else:
            time, length = iteration, run.max_iters
        policy: Any = self._regular  # type: ignore[attr-defined]  # set in __post_init__
        if canonical_name(self.policy) in _WITH_WARMUP_OF_THEIR_OWN:
            at = Moment(time, length, iteration, self.warmup_length(run), run.epoch_length, self)
            own_values: Values = policy(bases, at)
            return own_values
        values: Values = policy(bases, time, length)
        factor = self._warmup_factor(iteration, run)
        if factor is None:
            return values
        if self.of_momentum:
            return [value / factor for value in values]
        return [value * factor for value in values]

    def warmup_length(self, run: Run) -> int:
        """Iterations until the warm-up is over."""
        if self.warmup is None:
            return 0
        return self.warmup_iters * (run.epoch_length if self.warmup_by_epoch else 1)

    def _warmup_factor(self, iteration: int, run: Run) -> float | None:
        length = self.warmup_length(run)
        if iteration >= length:
            return None
        left = 1 - iteration / length
        if self.warmup == 'constant':
            return self.warmup_ratio
        if self.warmup == 'linear':
            return 1 - left * (1 - self.warmup_ratio)
        return float(self.warmup_ratio**left)


def canonical_name(policy: str) -> str:
    """The name by which MMCV finds a policy: title-cased, unless it holds capitals.

    Example:
        >>> canonical_name('step'), canonical_name('CosineAnnealing')
        ('Step', 'CosineAnnealing')
    """
    return policy.title() if policy == policy.lower() else policy


# Policies. Each takes its options and gives a function of (bases, time, length).


def _fixed() -> Regular:
    return lambda bases, t, n: list(bases)


def _step(step: int | Sequence[int], gamma: float = 0.1, min_lr: float | None = None) -> Regular:
    if isinstance(step, Sequence):
        milestones = [_count('every step', one) for one in step]

        def passed(t: int) -> int:
            later = (index for index, milestone in enumerate(milestones) if t < milestone)
            return next(later, len(milestones))
    else:
        width = _count('step', step)

        def passed(t: int) -> int:
            return t // width

    def regular(bases: Sequence[float], t: int, n: int) -> Values:
        factor = gamma ** passed(t)
        scaled = [base * factor for base in bases]
        # MMCV keeps the floor out of the way of schedules without one.
        return scaled if min_lr is None else [max(value, min_lr) for value in scaled]

    return regular


def _exp(gamma: float) -> Regular:
    return lambda bases, t, n: [base * gamma**t for base in bases]


def _poly(power: float = 1.0, min_lr: float = 0.0) -> Regular:
    def regular(bases: Sequence[float], t: int, n: int) -> Values:
        left = (1 - t / n) ** power
        return [(base - min_lr) * left + min_lr for base in bases]

    return regular


def _inv(gamma: float, power: float = 1.0) -> Regular:
    return lambda bases, t, n: [base * (1 + gamma * t) ** -power for base in bases]


def _cosine(min_lr: float | None = None, min_lr_ratio: float | None = None) -> Regular:
    floor = _floor(min_lr, min_lr_ratio)
    return lambda bases, t, n: [_cos(base, floor(base), t / n) for base in bases]


def _flat_cosine(
    start_percent: float = 0.75, min_lr: float | None = None, min_lr_ratio: float | None = None
) -> Regular:
    if not 0 <= start_percent <= 1:
        raise ArgumentError(f'start_percent lies in [0, 1], got {start_percent!r}.')
    floor = _floor(min_lr, min_lr_ratio)

    def regular(bases: Sequence[float], t: int, n: int) -> Values:
        start = flat_until(n, start_percent)
        if t < start:
            return list(bases)
        return [_cos(base, floor(base), (t - start) / (n - start)) for base in bases]

    return regular


def flat_until(length: int, start_percent: float) -> int:
    """Where FlatCosineAnnealing begins to fall."""
    return round(length * start_percent)


def _restart(
    periods: Sequence[int],
    restart_weights: Sequence[float] = (1,),
    min_lr: float | None = None,
    min_lr_ratio: float | None = None,
) -> Regular:
    if len(periods) != len(restart_weights):
        raise ArgumentError(
            f'CosineRestart needs one restart weight a period, got {len(periods)} periods and '
            f'{len(restart_weights)} restart_weights.'
        )
    floor = _floor(min_lr, min_lr_ratio)
    ends = list(accumulate(periods))

    def regular(bases: Sequence[float], t: int, n: int) -> Values:
        index = bisect_right(ends, t)
        if index == len(ends):
            raise ArgumentError(
                f'CosineRestart has periods for {ends[-1]} steps, and the run asks for step {t}. '
                'MMCV stopped here with an error.'
            )
        share = (t - (ends[index] - periods[index])) / periods[index]
        weight = restart_weights[index]
        return [_cos(base, floor(base), share, weight) for base in bases]

    return regular


def _linear_annealing(min_lr: float | None = None, min_lr_ratio: float | None = None) -> Regular:
    floor = _floor(min_lr, min_lr_ratio)
    return lambda bases, t, n: [_line(base, floor(base), t / n) for base in bases]


def _cyclic(
    target_ratio: float | Sequence[float] = (10, 1e-4),
    cyclic_times: int = 1,
    step_ratio_up: float = 0.4,
    anneal_strategy: str = 'cos',
    gamma: float = 1,
) -> Regular:
    if isinstance(target_ratio, Sequence):
        top, bottom = (*target_ratio, target_ratio[0] / 1e5)[:2]
    else:
        top, bottom = target_ratio, target_ratio / 1e5
    if not 0 <= step_ratio_up < 1:
        raise ArgumentError(f'step_ratio_up lies in [0, 1), got {step_ratio_up!r}.')
    anneal = _annealing(anneal_strategy)
    times = _count('cyclic_times', cyclic_times)

    def regular(bases: Sequence[float], t: int, n: int) -> Values:
        length = n // times
        rising = int(step_ratio_up * length)
        cycle, at = divmod(t, length)
        peak = 1 + (top - 1) * gamma**cycle if gamma != 1 else top
        if at < rising:
            start, stop, share = 1.0, peak, at / rising
        else:
            start, stop, share = peak, bottom, (at - rising) / (length - rising)
        return [anneal(base * start, base * stop, share) for base in bases]

    return regular


def _one_cycle(
    max_lr: float | Sequence[float],
    total_steps: int | None = None,
    pct_start: float = 0.3,
    anneal_strategy: str = 'cos',
    div_factor: float = 25,
    final_div_factor: float = 1e4,
    three_phase: bool = False,
) -> Regular:
    anneal = _annealing(anneal_strategy)

    def regular(bases: Sequence[float], t: int, n: int) -> Values:
        total = n if total_steps is None else total_steps
        peaks = max_lr if isinstance(max_lr, Sequence) else [max_lr] * len(bases)
        if len(peaks) != len(bases):
            raise ArgumentError(
                f'OneCycle has {len(peaks)} max_lr for {len(bases)} parameter groups.'
            )
        return [at(peak, total, t) for peak in peaks]

    def at(peak: float, total: int, t: int) -> float:
        low = peak / div_factor
        lowest = low / final_div_factor
        turn = pct_start * total - 1
        phases = (
            [(turn, low, peak), (2 * pct_start * total - 2, peak, low), (total - 1, low, lowest)]
            if three_phase
            else [(turn, low, peak), (total - 1, peak, lowest)]
        )
        return _in_phases(anneal, phases, t)

    return regular


def _cooldown(
    min_lr: float | None = None,
    min_lr_ratio: float | None = None,
    cool_down_ratio: float = 0.1,
    cool_down_time: int = 10,
) -> Regular:
    floor = _floor(min_lr, min_lr_ratio)

    def regular(bases: Sequence[float], t: int, n: int) -> Values:
        falling = n - cool_down_time
        if t > falling:
            return [floor(base) * cool_down_ratio for base in bases]
        return [_cos(base, floor(base), t / falling) for base in bases]

    return regular


def _linear(target_lr: float = 0, start: int = 0, interval: int = 1) -> Regular:
    def regular(bases: Sequence[float], t: int, n: int) -> Values:
        if t < start:
            return list(bases)
        share = ((t - start) // interval) / ((n - start) // interval)
        return [_line(base, target_lr, share) for base in bases]

    return regular


@dataclass(frozen=True)
class Moment:
    """What the policies look at that know of the warm-up."""

    time: int
    length: int
    iteration: int
    warmup_length: int
    epoch_length: int
    schedule: LegacySchedule


def _yolox(
    num_last_epochs: int, min_lr_ratio: float | None = None, min_lr: float | None = None
) -> Callable[[Sequence[float], Moment], Values]:
    floor = _floor(min_lr, min_lr_ratio)

    def values(bases: Sequence[float], at: Moment) -> Values:
        if at.iteration < at.warmup_length:
            factor = at.schedule.warmup_ratio * ((at.iteration + 1) / at.warmup_length) ** 2
            return [base * factor for base in bases]
        # Both lengths count iterations, even where the policy counts epochs.
        falling = at.length - num_last_epochs * at.epoch_length
        time = at.time + 1
        if time >= falling:
            return [floor(base) for base in bases]
        share = (time - at.warmup_length) / (falling - at.warmup_length)
        return [_cos(base, floor(base), share) for base in bases]

    return values


def _step_fix_cosine(
    min_lr: float | None = None, min_lr_ratio: float | None = None
) -> Callable[[Sequence[float], Moment], Values]:
    floor = _floor(min_lr, min_lr_ratio)

    def values(bases: Sequence[float], at: Moment) -> Values:
        skipped = 0 if at.schedule.by_epoch else at.warmup_length
        share = (at.time - skipped) / (at.length - skipped)
        # The warm-up rises from 0: warmup_ratio is not looked at.
        factor = at.iteration / at.warmup_length if at.iteration < at.warmup_length else 1.0
        return [_cos(base, floor(base), share) * factor for base in bases]

    return values


def _momentum_step(
    step: int | Sequence[int], gamma: float = 0.5, min_momentum: float | None = None
) -> Regular:
    return _step(step, gamma, min_momentum)


def _momentum_cosine(
    min_momentum: float | None = None, min_momentum_ratio: float | None = None
) -> Regular:
    return _cosine(min_momentum, min_momentum_ratio)


def _momentum_linear(
    min_momentum: float | None = None, min_momentum_ratio: float | None = None
) -> Regular:
    return _linear_annealing(min_momentum, min_momentum_ratio)


def _momentum_cyclic(
    target_ratio: float | Sequence[float] = (0.85 / 0.95, 1),
    cyclic_times: int = 1,
    step_ratio_up: float = 0.4,
    anneal_strategy: str = 'cos',
    gamma: float = 1,
) -> Regular:
    return _cyclic(target_ratio, cyclic_times, step_ratio_up, anneal_strategy, gamma)


def _momentum_one_cycle(
    base_momentum: float = 0.85,
    max_momentum: float = 0.95,
    pct_start: float = 0.3,
    anneal_strategy: str = 'cos',
    three_phase: bool = False,
) -> Regular:
    anneal = _annealing(anneal_strategy)

    def regular(bases: Sequence[float], t: int, n: int) -> Values:
        turn = pct_start * n - 1
        phases = [(turn, max_momentum, base_momentum)]
        if three_phase:
            phases.append((2 * pct_start * n - 2, base_momentum, max_momentum))
            phases.append((n - 1, max_momentum, max_momentum))
        else:
            phases.append((n - 1, base_momentum, max_momentum))
        return [_in_phases(anneal, phases, t)] * len(bases)

    return regular


# Their parts


def _cos(start: float, stop: float, share: float, weight: float = 1.0) -> float:
    return stop + 0.5 * weight * (start - stop) * (math.cos(math.pi * share) + 1)


def _line(start: float, stop: float, share: float) -> float:
    return start + (stop - start) * share


def _annealing(strategy: str) -> Callable[[float, float, float], float]:
    known: dict[str, Callable[[float, float, float], float]] = {'cos': _cos, 'linear': _line}
    if strategy not in known:
        raise ArgumentError(
            f"anneal_strategy is 'cos' or 'linear', got {strategy!r}."
            f'{did_you_mean(str(strategy), known)}'
        )
    return known[strategy]


def _in_phases(
    anneal: Callable[[float, float, float], float],
    phases: list[tuple[float, float, float]],
    t: int,
) -> float:
    """The value at ``t`` of phases given as (last time, value at the start, value at the end)."""
    begun = 0.0
    for ended, start, stop in phases:
        if t <= ended:
            return anneal(start, stop, (t - begun) / (ended - begun))
        begun = ended
    return phases[-1][2]


def _floor(value: float | None, ratio: float | None) -> Callable[[float], float]:
    if (value is None) == (ratio is None):
        given = 'both' if value is not None else 'neither'
        raise ArgumentError(
            f'the lowest value is given absolutely (min_lr) or as a ratio (min_lr_ratio); here '
            f'are {given}.'
        )
    if ratio is not None:
        return lambda base: base * ratio
    lowest = float(value)  # type: ignore[arg-type]  # not None, as just seen
    return lambda base: lowest


def _count(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
        raise ArgumentError(f'{name} is a whole number above 0, got {value!r}.')
    return value


def _bound(name: str, policy: Callable[..., Any], options: Mapping[str, Any]) -> Any:
    known = inspect.signature(policy).parameters
    for option in options:
        if option not in known:
            raise ArgumentError(
                f'policy {name} has no {option!r}.{did_you_mean(str(option), known)} It takes: '
                f'{", ".join(known) or "nothing"}.'
            )
    for option, parameter in known.items():
        if parameter.default is parameter.empty and option not in options:
            raise ArgumentError(f'policy {name} needs {option!r}.')
    return policy(**options)


POLICIES: dict[str, Callable[..., Any]] = {
    'Fixed': _fixed,
    'Step': _step,
    'Exp': _exp,
    'Poly': _poly,
    'Inv': _inv,
    'CosineAnnealing': _cosine,
    'FlatCosineAnnealing': _flat_cosine,
    'CosineRestart': _restart,
    'LinearAnnealing': _linear_annealing,
    'Cyclic': _cyclic,
    'OneCycle': _one_cycle,
    # Those that projects brought along
    'CosineAnnealingCooldown': _cooldown,
    'Linear': _linear,
    'YOLOX': _yolox,
    'StepFixCosineAnnealing': _step_fix_cosine,
}
_WITH_WARMUP_OF_THEIR_OWN = {'YOLOX': 'exp', 'StepFixCosineAnnealing': 'linear'}
MOMENTUM_POLICIES: dict[str, Callable[..., Any]] = {
    'Fixed': _fixed,
    'Step': _momentum_step,
    'CosineAnnealing': _momentum_cosine,
    'LinearAnnealing': _momentum_linear,
    'Cyclic': _momentum_cyclic,
    'OneCycle': _momentum_one_cycle,
}
