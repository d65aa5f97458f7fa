"""``--check``: the schedules of a converted config beside the legacy schedules, over the whole
run."""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.migrate._config.convert import SCHEDULES
from mmengine.migrate._config.schedules.conversion import Length
from mmengine.migrate._config.schedules.curves import Comparison, compare, converted_curve
from mmengine.migrate._config.schedules.mmcv_account import legacy_values, run_of
from mmengine.migrate._config.schedules.plateau import compare_plateaus, is_plateau
from mmengine.migrate._schedule.legacy_schedule import is_own_policy
from mmengine.utils.errors import ArgumentError

TOLERANCE = 1e-6
ASSUMED_EPOCH_LENGTHS = (1, 7, 250)
"""A config does not tell how long its dataset is, and its conversion has to hold for any."""

LONGEST_RUN = 3_000_000
_OF_MOMENTUM = ('Momentum', 'MomentumScheduler')


@dataclass(frozen=True)
class Check:
    """The comparison of one schedule.

    Args:
        key: 'lr_config' or 'momentum_config'.
        comparison: The two curves, for the longest epochs, or for those where they differ by too
            much; None when they cannot be compared.
        reason: Why they cannot be, or what was compared instead.
        epoch_lengths: The iterations of an epoch that were tried; none where no epoch matters.
        was_assumed: Whether they are assumed, not given.
        unit: What the curves count: 'iterations' or 'validations'.
        largest: The largest difference of all lengths that were tried.
    """

    key: str
    comparison: Comparison | None
    reason: str = ''
    epoch_lengths: tuple[int, ...] = ()
    was_assumed: bool = False
    unit: str = 'iterations'
    largest: float = 0.0

    @property
    def passed(self) -> bool:
        return self.comparison is not None and self.largest <= TOLERANCE


def check_schedules(
    legacy: Mapping[str, Any],
    converted: Mapping[str, Any],
    length: Length | None,
    own: Container[str] = (),
) -> list[Check]:
    """Compare every schedule of a config that converted; none where it has none.

    Args:
        legacy: The config of MMCV 1.x.
        converted: What became of it.
        length: How long it runs.
        own: Classes of the project, whose schedules are not compared.
    """
    checks: list[Check] = []
    if run_of(legacy, 1) is None:
        # A part of a config: those that use it say how long they run.
        return checks
    schedulers = converted.get('param_scheduler') or []
    for key in SCHEDULES:
        config = legacy.get(key)
        if config is None or length is None or is_own_policy(config, own):
            continue
        if is_plateau(config):
            checks.append(_check_plateau(key, config, schedulers, legacy, length))
        else:
            checks.append(_check(key, config, schedulers, legacy, length))
    return checks


def _check(
    key: str,
    config: Mapping[str, Any],
    schedulers: Sequence[Mapping[str, Any]],
    legacy: Mapping[str, Any],
    length: Length,
) -> Check:
    of_momentum = key == 'momentum_config'
    mine = [one for one in schedulers if one['type'].endswith(_OF_MOMENTUM) == of_momentum]
    bases = _bases(legacy, of_momentum, config)
    is_assumed = length.by_epoch and length.epoch_length is None
    lengths = ASSUMED_EPOCH_LENGTHS if is_assumed else (length.epoch_length or 0,)
    found: dict[int, Comparison] = {}
    reason = ''
    for epoch_length in lengths:
        iterations = length.run(epoch_length).max_iters
        if iterations > LONGEST_RUN:
            reason = f'{iterations:,} iterations are too many to go through one by one'
            continue
        try:
            run = run_of(legacy, epoch_length)
            assert run is not None
            expected = legacy_values(config, bases, run, of_momentum=of_momentum)
        except (ArgumentError, TypeError, ArithmeticError, KeyError) as error:
            # MMCV could not have trained on epochs this short: its own formula has no value.
            reason = (
                f'the policy gives no learning rate with epochs of {epoch_length} iterations '
                f'({error})'
            )
            continue
        try:
            curve = converted_curve(
                mine,
                bases,
                length.run(epoch_length),
                by_epoch=length.by_epoch,
                param_name='momentum' if of_momentum else 'lr',
            )
        except (ArgumentError, TypeError, ArithmeticError) as error:
            return Check(key, None, str(error), (epoch_length,), is_assumed)
        found[epoch_length] = compare(expected, curve)
    if not found:
        return Check(key, None, reason, lengths, is_assumed)
    tried = tuple(found) if length.by_epoch else ()
    worst = max(found.values(), key=lambda one: one.largest)
    # Where all is well, the longest epochs make the better picture.
    shown = worst if worst.largest > TOLERANCE else list(found.values())[-1]
    return Check(key, shown, '', tried, is_assumed, largest=worst.largest)


def _check_plateau(
    key: str,
    config: Mapping[str, Any],
    schedulers: Sequence[Mapping[str, Any]],
    legacy: Mapping[str, Any],
    length: Length,
) -> Check:
    mine = [one for one in schedulers if one['type'] == 'ReduceOnPlateauLR']
    if not mine:
        return Check(key, None, 'it follows the training loss and is left in place.')
    evaluation = legacy.get('evaluation')
    interval = evaluation.get('interval', 1) if isinstance(evaluation, Mapping) else 1
    validations = min(max(length.total // max(int(interval), 1), 20), 1000)
    try:
        comparison = compare_plateaus(
            config, mine[0], _bases(legacy, False, config)[0], validations
        )
    except (ArgumentError, TypeError, ValueError) as error:
        return Check(key, None, str(error))
    reason = (
        f"its curve depends on the metric {mine[0]['monitor']!r}: compared with torch's "
        'ReduceLROnPlateau over made-up metrics instead'
    )
    return Check(key, comparison, reason, unit='validations', largest=comparison.largest)


def _bases(legacy: Mapping[str, Any], of_momentum: bool, config: Mapping[str, Any]) -> list[float]:
    """The value of the optimizer, and a smaller one as some parameter group may have."""
    if of_momentum:
        return [0.9]
    optimizer = legacy.get('optimizer') or legacy.get('optimizers') or {}
    if 'type' not in optimizer and optimizer:
        optimizer = next(iter(optimizer.values()))
    rate = optimizer.get('lr', 0.01) if isinstance(optimizer, Mapping) else 0.01
    rate = float(rate) if isinstance(rate, (int, float)) and rate > 0 else 0.01
    groups = config.get('max_lr')
    count = len(groups) if isinstance(groups, (list, tuple)) else 2
    return [rate * 0.1**index for index in range(count)]
