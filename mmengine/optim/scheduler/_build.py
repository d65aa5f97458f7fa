"""From the ``param_scheduler`` of a config to the schedules that a run steps."""

import copy
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from mmengine.config import Config, source_location
from mmengine.optim.optimizer import OptimWrapperDict
from mmengine.registry import PARAM_SCHEDULERS
from mmengine.utils._quantities import counted
from mmengine.utils.errors import ArgumentError, did_you_mean

from ._base import _ParamScheduler
from ._torch import TorchSchedule, torch_scheduler_class

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch.optim import Optimizer

    from mmengine.optim.optimizer import BaseOptimWrapper

Schedules = list[_ParamScheduler]

_UNITS = {
    'epoch': 'epoch', 'iter': 'iteration', 'step': 'optimizer step', 'sample': 'sample'
}  # fmt: skip


def build_param_schedulers(
    scheduler: Any,
    optim_wrapper: 'BaseOptimWrapper | Optimizer',
    *,
    epoch_length: int | None = None,
    max_epochs: int | None = None,
    max_iters: int | None = None,
    max_samples: int | None = None,
) -> Schedules | dict[str, Schedules]:
    """Build every schedule of a run.

    A config without ``end`` acts to the end of the run. With an ``OptimWrapperDict`` one config, or
    a list of them, is built once for each of its optimizers. The configs are left unchanged.

    Args:
        scheduler: One config or a list of them, or a dict of either by optimizer name. Schedules
            that are built already are taken as they are.
        optim_wrapper: What holds the parameter groups.
        epoch_length: Iterations in an epoch, for configs with ``convert_to_iter_based=True``.
        max_epochs: Epochs of the run: the default ``end`` of schedules with ``by_epoch=True``.
        max_iters: Iterations of the run: the default ``end`` of the others.
        max_samples: Samples of the run: the default ``end`` of schedules with ``unit='sample'``.

    Returns:
        The schedules in order; by optimizer name when configs were built for an
        ``OptimWrapperDict``.

    Raises:
        TypeError: If something is neither a config nor a schedule.
        ArgumentError: If configs by name come with a single optimizer, a name is unknown, a
            schedule would begin after the run has ended, a conversion lacks ``epoch_length``, or a
            unit is wrong.
    """

    def build(config: Any, optimizer: Any) -> _ParamScheduler:
        if isinstance(config, _ParamScheduler):
            return config
        config, unit = _without_unit(config)
        torchs = torch_scheduler_class(config.get('type'))
        schedule: _ParamScheduler
        filled = config
        if torchs is not None:  # without an end it goes on, as it does in torch
            options = {key: config[key] for key in config if key not in ('type', '_scope_')}
            schedule = TorchSchedule(optimizer, torchs, **options)
        else:
            limits = {
                'epoch': max_epochs,
                'iter': max_iters,
                'step': _num_steps(max_iters, optimizer),
                'sample': max_samples,
            }
            filled = _with_default_end(config, unit, limits)
            defaults = {'optimizer': optimizer, 'epoch_length': epoch_length}
            schedule = PARAM_SCHEDULERS.build(filled, default_args=defaults)
        if unit is not None:
            schedule.unit = unit
            schedule._ends_with_run = filled is not config
        if isinstance(schedule, _ParamScheduler):
            # Once more: a subclass may set attributes after the constructor of the base.
            schedule._note_as_built()
        return schedule

    if not isinstance(optim_wrapper, OptimWrapperDict):
        if _is_by_name(scheduler):
            raise ArgumentError(
                'A param_scheduler without "type" gives schedules by optimizer name, which needs '
                f'an OptimWrapperDict; the optimizer is a single {type(optim_wrapper).__name__}. '
                f'Its keys: {", ".join(map(repr, scheduler))}{_written_at(scheduler)}.'
            )
        return [build(config, optim_wrapper) for config in _as_list(scheduler)]
    if _is_by_name(scheduler):
        return _build_by_name(scheduler, optim_wrapper, build)
    configs = _as_list(scheduler)
    if configs and all(isinstance(config, _ParamScheduler) for config in configs):
        return configs
    if any(isinstance(config, _ParamScheduler) for config in configs):
        raise ArgumentError(
            'With several optimizers a list of schedules is either all built or all configs; to '
            'mix them, give a dict by optimizer name.'
        )
    return {
        name: [build(config, wrapper) for config in configs]
        for name, wrapper in optim_wrapper.items()
    }


def _build_by_name(
    scheduler: dict[str, Any],
    optim_wrapper: OptimWrapperDict,
    build: 'Callable[[Any, Any], _ParamScheduler]',
) -> dict[str, Schedules]:
    wrappers = dict(optim_wrapper.items())
    for name in scheduler:
        if name not in wrappers:
            raise ArgumentError(
                'param_scheduler has schedules for optimizer '
                f'{name!r}{_written_at(scheduler, name)}, but the optimizers are '
                f'{", ".join(map(repr, wrappers))}.{did_you_mean(str(name), wrappers)}'
            )
    return {
        name: [build(config, wrappers[name]) for config in _as_list(configs)]
        for name, configs in scheduler.items()
    }


def _is_by_name(scheduler: Any) -> bool:
    return isinstance(scheduler, Mapping) and 'type' not in scheduler


def _as_list(scheduler: Any) -> list[Any]:
    kinds = (Mapping, _ParamScheduler)
    is_one = isinstance(scheduler, kinds) or not isinstance(scheduler, Iterable)
    given = [scheduler] if is_one else list(scheduler)
    configs = [part._cfg_dict if isinstance(part, Config) else part for part in given]
    for config in configs:
        if not isinstance(config, (dict, _ParamScheduler)):
            raise TypeError(
                'A parameter schedule is a config dict such as dict(type="LinearLR", end=5) or a '
                f'built schedule of mmengine.optim, got {config!r} of type {type(config).__name__}.'
            )
    return configs


def _without_unit(config: dict[str, Any]) -> tuple[dict[str, Any], str | None]:
    """A config in which ``by_epoch`` replaces ``unit``, and the unit if ``by_epoch`` has none.

    Raises:
        ArgumentError: If the unit is unknown, or contradicts another entry.
    """
    unit = config.get('unit')
    if 'unit' not in config or unit is None:
        return config, None
    place = _written_at(config, 'unit')
    if unit not in _UNITS:
        raise ArgumentError(
            f'unit of {config.get("type")} must be {", ".join(map(repr, _UNITS))}, got {unit!r}'
            f'{place}.{did_you_mean(str(unit), _UNITS)}'
        )
    if config.get('by_epoch', unit == 'epoch') != (unit == 'epoch'):
        raise ArgumentError(
            f'{config.get("type")} has unit={unit!r}{place} and by_epoch={config["by_epoch"]}, '
            'which contradict each other. Leave by_epoch out.'
        )
    if config.get('convert_to_iter_based') and unit != 'epoch':
        raise ArgumentError(
            f'{config.get("type")} has unit={unit!r}{place}, and convert_to_iter_based=True turns '
            'epochs into iterations. Leave one of them out.'
        )
    # A copy of a ConfigDict keeps its location in the file, which the registry's errors name.
    rest = copy.copy(config)
    del rest['unit']
    rest['by_epoch'] = unit == 'epoch'
    return rest, unit if unit in ('step', 'sample') else None


def _num_steps(max_iters: int | None, optimizer: Any) -> int | None:
    """Optimizer steps in ``max_iters`` iterations, the one of a shorter last window included."""
    counts = getattr(optimizer, '_accumulative_counts', 1)
    return None if max_iters is None else -(-max_iters // counts)


def _with_default_end(
    config: dict[str, Any], unit: str | None, limits: Mapping[str, int | None]
) -> dict[str, Any]:
    unit = unit or ('epoch' if config.get('by_epoch', True) else 'iter')
    limit = limits[unit]
    if limit is None or 'end' in config:
        return config
    begin = config.get('begin', 0)
    if begin >= limit:
        raise ArgumentError(
            f'{config.get("type")} begins at {begin}{_written_at(config, "begin")}, but the run '
            f'ends after {counted(limit, _UNITS[unit])}. Begin earlier, train longer, or set the '
            'end of this schedule.'
        )
    kind = config.get('type')
    kind = PARAM_SCHEDULERS.get(kind) if isinstance(kind, str) else kind
    if getattr(kind, 'need_val_args', False):
        # It judges the last validation too, so that a run which goes on after it is the longer run.
        return config
    filled = copy.copy(config)
    filled['end'] = limit
    return filled


def _written_at(config: Any, key: str | None = None) -> str:
    place = source_location(config, key)
    return '' if place is None else f' ({place})'
