"""Warnings about schedules of a resumed run."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.optim.scheduler._base import INF, _ParamScheduler, same_value
from mmengine.strategy._resume_report import ResumeReport
from mmengine.strategy._schedule_chains import Chain


def tell_of_other_base(
    chain: Chain, used: list[float], logger: logging.Logger, report: ResumeReport | None
) -> None:
    """Tell which initial values are used, if the checkpoint has other ones than this run."""
    scheduler, saved = chain.first, chain.base_then
    if saved is None or same_value(saved, scheduler.base_values):
        return
    wins = 'the checkpoint' if same_value(saved, used) else 'this run'
    if report is None:
        logger.warning(
            f'The schedules of {scheduler.param_name!r} start from {_short(saved)} in the '
            f'checkpoint and from {_short(scheduler.base_values)} in this run. They continue with '
            f'the values of {wins}.'
        )
    elif not report.has_config_key('optim_wrapper', [scheduler.param_name, 'betas']):
        path = f'optim_wrapper.{chain.optimizer}' if chain.optimizer else 'optim_wrapper'
        report.add(
            f'{path}.param_groups.{scheduler.param_name}',
            _short(saved),
            _short(scheduler.base_values),
            'checkpoint' if wins == 'the checkpoint' else 'config',
            'optimizer',
        )


def tell_of_settings(
    scheduler: Any,
    state: dict[str, Any],
    names: list[str],
    logger: logging.Logger,
    report: ResumeReport | None,
) -> None:
    """Tell which settings of a schedule are used instead of the saved ones."""
    for name in names if state else ():
        kind, present = type(scheduler).__name__, getattr(scheduler, name)
        if report is None:
            logger.info(
                f'{kind} of {scheduler.param_name!r} continues with {name}={present!r} of this '
                f'run; the checkpoint has {state.get(name)!r}.'
            )
        elif not report.has_config_key('param_scheduler', [name, 'type']):
            report.add(
                f'{kind} of {scheduler.param_name}: {name}', state.get(name), present, 'config'
            )


def tell_of_early_end(
    chain: list[Any], max_epochs: int | None, max_iters: int | None, logger: logging.Logger
) -> None:
    """Warn if all schedules of a parameter end before the training, or a cosine rises again."""
    known = [each for each in chain if isinstance(each, _ParamScheduler)]
    if any(each.unit is not None for each in known):
        return  # the length of the run in that unit is not known here
    limits = [(each, max_epochs if each.by_epoch else max_iters) for each in known]
    if not limits or any(limit is None for _, limit in limits):
        return
    for each, limit in limits:
        unit = 'epoch' if each.by_epoch else 'iteration'
        turn = each.begin + getattr(each, 'T_max', INF)
        if turn < min(each.end, limit or 0):
            logger.warning(
                f'{type(each).__name__} has T_max={each.T_max}, so {each.param_name!r} '  # type: ignore[attr-defined]  # a cosine
                f'rises again after {unit} {turn}, but training continues to {unit} {limit}.'
            )
    if all(each.end < (limit or 0) for each, limit in limits):
        each, limit = limits[-1]
        unit = 'epoch' if each.by_epoch else 'iteration'
        logger.warning(
            f'{type(each).__name__} has end={each.end}, so {each.param_name!r} keeps its value '
            f'after {unit} {each.end}, but training continues to {unit} {limit}. Remove end from '
            'the config to let the schedule end with the run.'
        )


def _short(values: list[float]) -> str:
    different = sorted(set(values))
    return ', '.join(f'{value:g}' for value in different[:4]) + (', ...' * (len(different) > 4))
