"""The policies of MMCV 1.x and of the projects on it: one function of time each.

A policy takes its options and gives a function that maps the base values of all parameter groups
to their values at time ``t`` of ``n``, both counted in epochs or in iterations. The parts that
several share come last, and the tables of names at the end.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from mmengine.utils.errors import ArgumentError, did_you_mean

Values = list[float]
Regular = Callable[[Sequence[float], int, int], Values]
"""(base values, time, length of the run in the unit of time) -> values."""


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
        elif rising:
            start, stop, share = peak, bottom, (at - rising) / (length - rising)
        else:
            # Without a rise MMCV lets gamma act on where a cycle ends, not on its peak.
            start, stop, share = top, 1 + (bottom - 1) * gamma**cycle, at / length
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
    """What policies that depend on the warm-up look at."""

    time: int
    length: int
    iteration: int
    by_epoch: bool
    epoch_length: int
    warmup_length: int
    warmup_ratio: float


def _yolox(
    num_last_epochs: int, min_lr_ratio: float | None = None, min_lr: float | None = None
) -> Callable[[Sequence[float], Moment], Values]:
    floor = _floor(min_lr, min_lr_ratio)

    def values(bases: Sequence[float], at: Moment) -> Values:
        if at.iteration < at.warmup_length:
            factor = at.warmup_ratio * ((at.iteration + 1) / at.warmup_length) ** 2
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
        skipped = 0 if at.by_epoch else at.warmup_length
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
        raise ArgumentError(f'{name} is a positive integer, got {value!r}.')
    return value


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
WITH_WARMUP_OF_THEIR_OWN = {'YOLOX': 'exp', 'StepFixCosineAnnealing': 'linear'}
MOMENTUM_POLICIES: dict[str, Callable[..., Any]] = {
    'Fixed': _fixed,
    'Step': _momentum_step,
    'CosineAnnealing': _momentum_cosine,
    'LinearAnnealing': _momentum_linear,
    'Cyclic': _momentum_cyclic,
    'OneCycle': _momentum_one_cycle,
}
