"""``lr_config`` and ``momentum_config`` to ``param_scheduler``.

A stock scheduler is used where it follows MMCV's curve at every iteration; else
``LegacyLRScheduler``, which holds MMCV's own formula. Stock schedulers act on what they find, so
those that act together multiply: that is right for a warm-up on a schedule that falls to 0, and
wrong for one that falls to a positive floor.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.migrate._config.notes import Notes
from mmengine.migrate._schedule.legacy_schedule import (
    LegacySchedule,
    Run,
    canonical_name,
)
from mmengine.migrate._schedule.policies import flat_until
from mmengine.utils.errors import ArgumentError

WARMUP_KEYS = ('warmup', 'warmup_iters', 'warmup_ratio', 'warmup_by_epoch')
COUNTS_ITERATIONS_BY_DEFAULT = ('Cyclic', 'OneCycle')

Config = dict[str, Any]


@dataclass(frozen=True)
class Length:
    """How long a run is, as far as its config tells.

    Args:
        by_epoch: Whether the runner counts epochs.
        total: Epochs or iterations.
        epoch_length: Iterations of an epoch, if somebody told.
    """

    by_epoch: bool
    total: int
    epoch_length: int | None = None

    @property
    def max_iters(self) -> int | None:
        """Iterations of the run, if known."""
        if not self.by_epoch:
            return self.total
        return None if self.epoch_length is None else self.total * self.epoch_length

    def run(self, assumed_epoch_length: int) -> Run:
        """The run, with an epoch length where the config tells none."""
        length = self.epoch_length or assumed_epoch_length
        if self.by_epoch:
            return Run.of_epochs(self.total, length)
        return Run.of_iters(self.total, self.epoch_length)


def parse_schedule(
    config: Mapping[str, Any], length: Length, *, of_momentum: bool = False
) -> LegacySchedule:
    """What a ``lr_config`` or ``momentum_config`` means under the runner of ``length``.

    Raises:
        ArgumentError: If MMCV would have refused it.
    """
    options = dict(config)
    policy = options.pop('policy', None)
    hook_type = options.pop('type', None)
    if policy is None and isinstance(hook_type, str):
        suffix = 'MomentumUpdaterHook' if of_momentum else 'LrUpdaterHook'
        if not hook_type.endswith(suffix):
            raise ArgumentError(f'type {hook_type!r} is not a known {suffix}.')
        policy = hook_type.removesuffix(suffix)
    if not isinstance(policy, str):
        raise ArgumentError(f"it needs policy='step' or another name, got {policy!r}.")
    warmup = {key: options.pop(key) for key in WARMUP_KEYS if key in options}
    if warmup.get('warmup') is None:
        warmup = {}
    name = canonical_name(policy)
    # A runner of iterations changes the default for learning rates alone.
    default = (of_momentum or length.by_epoch) and name not in COUNTS_ITERATIONS_BY_DEFAULT
    by_epoch = bool(options.pop('by_epoch', default))
    return LegacySchedule(policy, options, by_epoch, of_momentum=of_momentum, **warmup)


def convert_schedule(
    config: Mapping[str, Any],
    length: Length,
    notes: Notes,
    *,
    of_momentum: bool = False,
    key: str = 'lr_config',
    keeps_times: bool = False,
    stock: bool = True,
) -> list[Config]:
    """The schedulers for one ``lr_config`` or ``momentum_config``; none where the value never
    changes.

    Args:
        config: The legacy config.
        length: The length of the run.
        notes: Gets what there is to tell.
        of_momentum: Whether it is a ``momentum_config``.
        key: Its key.
        keeps_times: Whether hooks see when MMCV set the value, or set it themselves: no stock
            scheduler follows then.
        stock: Whether stock schedulers may be taken.

    Raises:
        ArgumentError: If MMCV would have refused it.
    """
    schedule = parse_schedule(config, length, of_momentum=of_momentum)
    name = canonical_name(schedule.policy)
    if name in COUNTS_ITERATIONS_BY_DEFAULT and schedule.by_epoch:
        raise ArgumentError(f'policy {name} takes by_epoch=False alone; MMCV stops with an error.')
    if schedule.warmup is not None and schedule.warmup_by_epoch and not length.by_epoch:
        raise ArgumentError(
            'warmup_by_epoch=True needs an epoch runner; MMCV stops with an error on this one.'
        )
    if schedule.by_epoch and not length.by_epoch:
        is_default = 'by_epoch' not in config
        notes.info(
            key,
            f'by_epoch=True{", the default of a momentum," if is_default else ""} on an iteration '
            'runner: MMCV never changed the value, so there is no schedule. For one that acts, set '
            'by_epoch=False.',
        )
        return []
    schedulers = _stock(schedule, length) if stock and not (of_momentum or keeps_times) else None
    if schedulers is not None:
        return schedulers
    legacy = _legacy(schedule, length, config)
    if keeps_times:
        notes.info(
            key,
            f'hooks see when MMCV set the value, or set it themselves: {legacy["type"]} with '
            'LegacyParamSchedulerHook sets it at the same times.',
        )
        return [{**legacy, 'starts_late': True}]
    notes.info(
        key,
        f'no stock scheduler follows policy {canonical_name(schedule.policy)}'
        f'{" with this warm-up" if schedule.warmup else ""} exactly: {legacy["type"]} does.',
    )
    return [legacy]


def _legacy(schedule: LegacySchedule, length: Length, config: Mapping[str, Any]) -> Config:
    kind = 'LegacyMomentumScheduler' if schedule.of_momentum else 'LegacyLRScheduler'
    converted: Config = {'type': kind, 'policy': canonical_name(schedule.policy)}
    if schedule.by_epoch:
        converted['policy_by_epoch'] = True
    dropped: tuple[str, ...] = ('policy', 'type', 'by_epoch')
    if schedule.warmup is None:
        dropped += WARMUP_KEYS
    converted |= {key: value for key, value in config.items() if key not in dropped}
    if length.by_epoch:
        converted |= {'by_epoch': True, 'end': length.total, 'convert_to_iter_based': True}
    else:
        converted |= {'by_epoch': False, 'end': length.total}
        if canonical_name(schedule.policy) == 'YOLOX':
            if length.epoch_length is None:
                raise ArgumentError(
                    'policy YOLOX counts its last epochs, and an iteration runner has none: '
                    'pass --iters-per-epoch.'
                )
            converted['iters_per_epoch'] = length.epoch_length
    return converted


@dataclass(frozen=True)
class _Plan:
    """Stock schedulers for a policy.

    Args:
        schedulers: Their configs.
        is_factor: Whether each of them only multiplies what it finds, from the first step on.
        acts_from: The iteration before which they leave the value alone, if known.
        sets_start: Whether the first step sets the base value outright, so that a warm-up must
            come after it.
    """

    schedulers: list[Config]
    is_factor: bool = True
    acts_from: int = 0
    sets_start: bool = False


def _stock(schedule: LegacySchedule, length: Length) -> list[Config] | None:
    plan = _plan(schedule, length)
    if plan is None:
        return None
    if schedule.warmup is None:
        return plan.schedulers
    warmup = _warmup(schedule, length)
    if warmup is None:
        return None
    if not plan.is_factor and plan.acts_from < warmup['end'] - 1:
        return None
    return [*plan.schedulers, warmup] if plan.sets_start else [warmup, *plan.schedulers]


def _warmup(schedule: LegacySchedule, length: Length) -> Config | None:
    iterations = schedule.warmup_iters
    if schedule.warmup_by_epoch:
        if length.epoch_length is None:
            return None
        iterations *= length.epoch_length
    # The factor reaches 1 one step before the window ends.
    window = {'by_epoch': False, 'begin': 0, 'end': iterations + 1}
    if schedule.warmup == 'linear':
        return {'type': 'LinearLR', 'start_factor': schedule.warmup_ratio, **window}
    if schedule.warmup == 'constant':
        return {'type': 'ConstantLR', 'factor': schedule.warmup_ratio, **window}
    return None


def _plan(schedule: LegacySchedule, length: Length) -> _Plan | None:
    maker = _PLANS.get(canonical_name(schedule.policy))
    return None if maker is None else maker(schedule, length)


def _total(schedule: LegacySchedule, length: Length) -> int | None:
    """The run's length in the unit that the policy counts, if known."""
    return length.total if schedule.by_epoch else length.max_iters


def _fixed(schedule: LegacySchedule, length: Length) -> _Plan:
    return _Plan([])


def _step(schedule: LegacySchedule, length: Length) -> _Plan | None:
    step, gamma = schedule.options['step'], schedule.options.get('gamma', 0.1)
    if schedule.options.get('min_lr') or gamma < 0:
        return None
    common = {'by_epoch': schedule.by_epoch, 'gamma': gamma}
    if isinstance(step, int):
        return _Plan([{'type': 'StepLR', 'step_size': step, **common}])
    if list(step) != sorted(step):
        return None
    return _Plan([{'type': 'MultiStepLR', 'milestones': step, **common}])


def _exp(schedule: LegacySchedule, length: Length) -> _Plan | None:
    gamma = schedule.options['gamma']
    if gamma < 0:
        return None
    return _Plan([{'type': 'ExponentialLR', 'gamma': gamma, 'by_epoch': schedule.by_epoch}])


def _poly(schedule: LegacySchedule, length: Length) -> _Plan | None:
    total = _total(schedule, length)
    if total is None:
        return None
    power, floor = schedule.options.get('power', 1.0), schedule.options.get('min_lr', 0.0)
    if power < 0:
        return None
    # PolyLR reaches its floor one step before the window ends; MMCV one step after the run.
    window = {'by_epoch': schedule.by_epoch, 'begin': 0, 'end': total + 1}
    scheduler = {'type': 'PolyLR', 'power': power, 'eta_min': floor, **window}
    return _Plan([scheduler], is_factor=not floor)


def _cosine(schedule: LegacySchedule, length: Length) -> _Plan | None:
    floor = _floor(schedule)
    if schedule.by_epoch or not length.by_epoch:
        counts = {'by_epoch': schedule.by_epoch, 'begin': 0, 'end': length.total}
        scheduler = {'type': 'CosineAnnealingLR', 'T_max': length.total, **floor, **counts}
    else:
        scheduler = {
            'type': 'CosineAnnealingLR', 'T_max': length.total, **floor, 'by_epoch': True,
            'begin': 0, 'end': length.total, 'convert_to_iter_based': True,
        }  # fmt: skip
    return _Plan([scheduler], is_factor=not any(floor.values()))


def _flat_cosine(schedule: LegacySchedule, length: Length) -> _Plan | None:
    total = _total(schedule, length)
    if total is None:
        return None
    start = flat_until(total, schedule.options.get('start_percent', 0.75))
    if start == total:
        return _Plan([])
    floor = _floor(schedule)
    window = {'by_epoch': schedule.by_epoch, 'begin': start, 'end': total}
    scheduler = {'type': 'CosineAnnealingLR', 'T_max': total - start, **floor, **window}
    acts_from = start * (length.epoch_length or 1) if schedule.by_epoch else start
    return _Plan([scheduler], is_factor=not any(floor.values()), acts_from=acts_from)


def _restart(schedule: LegacySchedule, length: Length) -> _Plan | None:
    periods = schedule.options['periods']
    weights = schedule.options.get('restart_weights', [1])
    floor = _floor(schedule)
    if weights[0] != 1:
        return None
    scheduler = {
        'type': 'CosineRestartLR', 'periods': periods, 'restart_weights': weights, **floor,
        'by_epoch': schedule.by_epoch,
    }  # fmt: skip
    # A restart at the warm-up's last step would be multiplied by that step.
    warmup_ends_in_first_period = not schedule.by_epoch and schedule.warmup_iters < periods[0]
    if any(floor.values()) and any(weight != 1 for weight in weights):
        return None
    is_factor = not any(floor.values()) and (
        schedule.warmup is None or (warmup_ends_in_first_period and not schedule.warmup_by_epoch)
    )
    return _Plan([scheduler], is_factor=is_factor, sets_start=True)


def _linear_annealing(schedule: LegacySchedule, length: Length) -> _Plan | None:
    total = _total(schedule, length)
    if total is None:
        return None
    window = {'by_epoch': schedule.by_epoch, 'begin': 0, 'end': total + 1}
    ratio, floor = schedule.options.get('min_lr_ratio'), schedule.options.get('min_lr')
    if ratio is not None:
        if not 0 <= ratio <= 1:
            return None
        return _Plan([{'type': 'LinearLR', 'start_factor': 1.0, 'end_factor': ratio, **window}])
    scheduler = {'type': 'PolyLR', 'power': 1.0, 'eta_min': floor, **window}
    return _Plan([scheduler], is_factor=not floor)


def _one_cycle(schedule: LegacySchedule, length: Length) -> _Plan | None:
    options = dict(schedule.options)
    peak, total = options.pop('max_lr'), options.pop('total_steps', None)
    if schedule.by_epoch or schedule.warmup is not None or not isinstance(peak, (int, float)):
        return None
    scheduler: Config = {'type': 'OneCycleLR', 'eta_max': peak, **options}
    if total is not None:
        scheduler |= {'total_steps': total, 'by_epoch': False}
    elif length.by_epoch:
        whole = {'by_epoch': True, 'begin': 0, 'end': length.total, 'convert_to_iter_based': True}
        scheduler |= whole
    else:
        scheduler |= {'by_epoch': False, 'begin': 0, 'end': length.total}
    return _Plan([scheduler])


def _floor(schedule: LegacySchedule) -> Config:
    ratio = schedule.options.get('min_lr_ratio')
    if ratio is not None:
        return {'eta_min_ratio': ratio}
    return {'eta_min': schedule.options['min_lr']}


_PLANS = {
    'Fixed': _fixed,
    'Step': _step,
    'Exp': _exp,
    'Poly': _poly,
    'CosineAnnealing': _cosine,
    'FlatCosineAnnealing': _flat_cosine,
    'CosineRestart': _restart,
    'LinearAnnealing': _linear_annealing,
    'OneCycle': _one_cycle,
}
