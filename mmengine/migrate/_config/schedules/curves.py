"""Drive MMCV's schedule and the converted one over a whole run, and compare."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.migrate._schedule.legacy_schedule import LegacySchedule, Run

Curve = list[list[float]]
"""A value for every group, at every iteration."""


@dataclass(frozen=True)
class Comparison:
    """How far two curves are apart.

    Args:
        largest: The largest difference of two values, relative to the legacy one.
        iteration: Where it is.
        legacy: The legacy curve.
        converted: The converted one.
    """

    largest: float
    iteration: int
    legacy: Curve
    converted: Curve


def legacy_curve(schedule: LegacySchedule | None, bases: Sequence[float], run: Run) -> Curve:
    """The values that MMCV trains each iteration with; None as schedule keeps the base values."""
    if schedule is None:
        return [list(bases)] * run.max_iters
    return [schedule.values(bases, iteration, run) for iteration in range(run.max_iters)]


def converted_curve(
    schedulers: Sequence[Mapping[str, Any]],
    bases: Sequence[float],
    run: Run,
    *,
    by_epoch: bool,
    param_name: str = 'lr',
) -> Curve:
    """The values that this engine trains each iteration with, stepping the schedulers as its
    hooks do.

    Args:
        schedulers: Configs, as ``param_scheduler`` has them.
        bases: The initial value of each parameter group.
        run: The run's length.
        by_epoch: Whether the run counts epochs.
        param_name: 'lr' or 'momentum'.
    """
    import torch

    from mmengine.optim.scheduler._build import build_param_schedulers

    rates, momenta = (
        (bases, [0.9] * len(bases)) if param_name == 'lr' else ([0.1] * len(bases), bases)
    )
    groups = [
        {'params': [torch.nn.Parameter(torch.zeros(1))], 'lr': rate, 'momentum': momentum}
        for rate, momentum in zip(rates, momenta, strict=True)
    ]
    optimizer = torch.optim.SGD(groups, lr=0.1)
    built = build_param_schedulers(
        list(schedulers),
        optimizer,
        epoch_length=run.epoch_length,
        max_epochs=run.max_epochs if by_epoch else None,
        max_iters=run.max_iters,
    )
    assert isinstance(built, list)
    late: list[Any] = [one for one in built if getattr(one, 'starts_late', False)]
    by_iter = [one for one in built if not one.by_epoch and one not in late]
    after_epoch = [one for one in built if one.by_epoch]
    curve = []
    for iteration in range(1, run.max_iters + 1):
        for scheduler in late:
            # As LegacyParamSchedulerHook does, with which they are written.
            if by_epoch and (iteration - 1) % run.epoch_length == 0:
                scheduler.begin_epoch(iteration - 1)
            scheduler.begin_iter(iteration - 1)
        curve.append([group[param_name] for group in optimizer.param_groups])
        if iteration == run.max_iters:
            break
        for scheduler in by_iter:
            scheduler.step()
        if by_epoch and iteration % run.epoch_length == 0:
            for scheduler in after_epoch:
                scheduler.step()
    return curve


def compare(legacy: Curve, converted: Curve) -> Comparison:
    """The largest relative difference of two curves."""
    largest, at = 0.0, 0
    for iteration, (old, new) in enumerate(zip(legacy, converted, strict=True)):
        for expected, got in zip(old, new, strict=True):
            if expected == got:
                continue
            difference = abs(got - expected) / abs(expected) if expected else float('inf')
            if difference > largest:
                largest, at = difference, iteration
    return Comparison(largest, at, legacy, converted)
