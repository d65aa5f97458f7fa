"""``--check``: the schedules of a converted config beside those of the legacy one, over the whole
run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mmengine.migrate.config.check import Comparison, compare, converted_curve, legacy_curve
from mmengine.migrate.config.convert import SCHEDULES
from mmengine.migrate.config.schedules import Length, parse_schedule
from mmengine.utils.errors import ArgumentError

TOLERANCE = 1e-6
ASSUMED_EPOCH_LENGTH = 250


@dataclass(frozen=True)
class Check:
    """The comparison of one schedule.

    Args:
        key: 'lr_config' or 'momentum_config'.
        comparison: The two curves; None when they cannot be compared.
        reason: Why they cannot be.
        epoch_length: The iterations of an epoch that were used.
        was_assumed: Whether nobody told them.
    """

    key: str
    comparison: Comparison | None
    reason: str = ''
    epoch_length: int = 0
    was_assumed: bool = False

    @property
    def passed(self) -> bool:
        return self.comparison is None or self.comparison.largest <= TOLERANCE


def check_schedules(
    legacy: Mapping[str, Any], converted: Mapping[str, Any], length: Length | None
) -> list[Check]:
    """Compare every schedule of a config that converted; none where it has none."""
    checks: list[Check] = []
    schedulers = converted.get('param_scheduler') or []
    for key in SCHEDULES:
        config = legacy.get(key)
        if config is None or length is None:
            continue
        if str(config.get('policy', '')).title() == 'Reduce':
            checks.append(Check(key, None, 'it follows a metric, so there is no curve to compare.'))
            continue
        checks.append(_check(key, config, schedulers, legacy, length))
    return checks


def _check(
    key: str,
    config: Mapping[str, Any],
    schedulers: Any,
    legacy: Mapping[str, Any],
    length: Length,
) -> Check:
    of_momentum = key == 'momentum_config'
    schedule = parse_schedule(config, length, of_momentum=of_momentum)
    run = length.run(_assumed(config))
    mine = [
        one
        for one in schedulers
        if one['type'].endswith(('Momentum', 'MomentumScheduler')) == of_momentum
    ]
    bases = _bases(legacy, of_momentum, config)
    never_acts = schedule.by_epoch and not length.by_epoch
    was_assumed = length.by_epoch and length.epoch_length is None
    try:
        comparison = compare(
            legacy_curve(None if never_acts else schedule, bases, run),
            converted_curve(
                mine,
                bases,
                run,
                by_epoch=length.by_epoch,
                param_name='momentum' if of_momentum else 'lr',
            ),
        )
    except (ArgumentError, TypeError, ArithmeticError) as error:
        return Check(key, None, str(error), run.epoch_length, was_assumed)
    return Check(key, comparison, '', run.epoch_length, was_assumed)


def _assumed(config: Mapping[str, Any]) -> int:
    return ASSUMED_EPOCH_LENGTH


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
