"""Checks what trains: the loop, the optimizers and the schedules of a config."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from mmengine.config import Config
from mmengine.optim import (
    AmpOptimWrapper,
    BaseOptimWrapper,
    DefaultOptimWrapperConstructor,
    OptimWrapper,
)
from mmengine.optim.optimizer._param_rules import KNOWN_KEYS
from mmengine.optim.optimizer.builder import _is_by_submodule
from mmengine.optim.optimizer.default_constructor import _first_argument
from mmengine.optim.scheduler._base import _ParamScheduler
from mmengine.optim.scheduler._build import _with_default_end, _without_unit
from mmengine.optim.scheduler._torch import TorchSchedule, torch_scheduler_class
from mmengine.registry import (
    LOOPS,
    OPTIM_WRAPPER_CONSTRUCTORS,
    OPTIM_WRAPPERS,
    OPTIMIZERS,
    PARAM_SCHEDULERS,
)
from mmengine.registry._signature import taken_by
from mmengine.runner._build import train_loop_type
from mmengine.runner._check.data import ask, check_number
from mmengine.runner._check.mistakes import Findings
from mmengine.runner._check.parts import Parts, is_of, nearest, raw_get, raw_items
from mmengine.runner._even_batches import checked_choice
from mmengine.runner._units import counts_epochs
from mmengine.runner._validating_loop import checked_val_unit
from mmengine.runner.utils import calc_dynamic_intervals
from mmengine.utils.errors import ArgumentError, did_you_mean

OF_WRAPPER = ('optimizer', 'constructor', 'paramwise_cfg', 'skip_non_finite')
OF_SCHEDULE = ('unit', 'convert_to_iter_based', 'epoch_length', 'by_epoch')
_READERS: dict[str, Callable[[Any], Any]] = {
    'dynamic_intervals': partial(calc_dynamic_intervals, 1),
    'uneven': checked_choice,
    'val_unit': checked_val_unit,
}
COUNTS = ('max_epochs', 'max_iters', 'val_interval')


def check_train_loop(config: Any, parts: Parts, findings: Findings) -> None:
    """Check ``train_cfg``."""
    if not isinstance(config, Mapping):
        return
    try:
        kind = train_loop_type(config)[1]
    except (RuntimeError, ArgumentError) as error:
        findings.add('train_cfg', str(error))
        return
    given = ('runner', 'dataloader')
    found = parts.check(
        config, 'train_cfg', LOOPS, default_type=kind or None, given=given,
        extra=('by_epoch',) if kind else (),
    )  # fmt: skip
    if is_of(found, 'mmengine.runner'):
        for key in COUNTS:
            value = raw_get(config, key)
            if value is not None:
                check_number(findings, 'train_cfg', key, value, 1)
        for key, read in _READERS.items():
            value = raw_get(config, key)
            if value is not None:
                ask(value, 'train_cfg', read, findings, key=key)


def check_evaluation_loop(config: Any, stage: str, parts: Parts) -> None:
    """Check ``val_cfg`` or ``test_cfg``."""
    parts.check(
        config, f'{stage}_cfg', LOOPS, default_type='ValLoop' if stage == 'val' else 'TestLoop',
        given=('runner', 'dataloader', 'evaluator'),
    )  # fmt: skip


def check_optim_wrapper(config: Any, path: str, parts: Parts, findings: Findings) -> None:
    """Check an optimizer wrapper, or several by the names of sub-modules."""
    if config is None or isinstance(config, BaseOptimWrapper):
        return
    if not isinstance(config, Mapping):
        findings.add(path, f'an optimizer wrapper is a dict, got {type(config).__name__}.')
        return
    if _is_by_submodule(config):
        for name, part in raw_items(config):
            check_optim_wrapper(part, f'{path}.{name}', parts, findings)
        return
    constructor = raw_get(config, 'constructor')
    if constructor is not None:
        found = _constructor(constructor, path, parts, findings)
        if found is not DefaultOptimWrapperConstructor:
            return  # a constructor of a project reads the config in its own way
    optimizer = raw_get(config, 'optimizer')
    if optimizer is None:
        keys = [str(key) for key, _ in raw_items(config)]
        findings.add(
            path,
            "an optimizer wrapper needs an optimizer, as in dict(optimizer=dict(type='SGD', "
            f'lr=0.1)).{did_you_mean("optimizer", keys, limit=1)}',
        )
        return
    kind = parts.check(
        config, path, OPTIM_WRAPPERS, default_type='OptimWrapper', given=('optimizer',),
        extra=OF_WRAPPER, skip=('optimizer', 'clip_grad', 'paramwise_cfg'),
    )  # fmt: skip
    built = _check_optimizer(optimizer, f'{path}.optimizer', parts, findings)
    for key, _ in raw_items(raw_get(config, 'paramwise_cfg') or {}):
        near = nearest(str(key), KNOWN_KEYS) if key not in KNOWN_KEYS else None
        if near is not None:
            message = f'there is no key {key!r}. Did you mean {near!r}?'
            findings.add(f'{path}.paramwise_cfg', message, key=str(key))
    if kind in (OptimWrapper, AmpOptimWrapper):
        parts.construct(
            config, path, kind, optimizer=built or _stand_in(),
            constructor=..., paramwise_cfg=..., skip_non_finite=...,
        )  # fmt: skip


def _constructor(kind: Any, path: str, parts: Parts, findings: Findings) -> Any:
    if isinstance(kind, Mapping):
        return None
    try:
        found = parts.resolve(kind, OPTIM_WRAPPER_CONSTRUCTORS)
    except ImportError as error:
        findings.add(
            path,
            f'constructor {kind!r} cannot be imported: {str(error).rstrip(".")}.',
            key='constructor',
        )
        return None
    if found is None:
        near = did_you_mean(str(kind), OPTIM_WRAPPER_CONSTRUCTORS.module_dict, limit=1)
        findings.add(path, f'constructor {kind!r} is not registered.{near}', key='constructor')
    return found


def _check_optimizer(
    config: Any, path: str, parts: Parts, findings: Findings
) -> torch.optim.Optimizer | None:
    """Check an optimizer; returns one of torch, built for a parameter without meaning."""
    if not isinstance(config, Mapping):
        parts.check(config, path, OPTIMIZERS)
        return None
    name = _first_argument(raw_get(config, 'type'))
    before = len(findings.mistakes)
    kind = parts.check(config, path, OPTIMIZERS, given=(name,))
    if len(findings.mistakes) > before or not is_of(kind, 'torch.optim'):
        return None
    params = [nn.Parameter(torch.zeros(2, 2))]
    built: torch.optim.Optimizer | None = parts.construct(config, path, kind, **{name: params})
    return built


def _stand_in() -> torch.optim.Optimizer:
    return torch.optim.SGD([nn.Parameter(torch.zeros(2, 2))], lr=1.0, momentum=0.9)


def check_schedules(cfg: Config, parts: Parts, findings: Findings) -> None:
    """Check ``param_scheduler``: one schedule, a list, or either by the name of an optimizer."""
    given = raw_get(cfg, 'param_scheduler')
    if given is None:
        return
    is_by_name = isinstance(given, Mapping) and 'type' not in given
    if not is_by_name:
        _check_list(given, 'param_scheduler', cfg, parts, findings)
        return
    optimizers = raw_get(cfg, 'optim_wrapper')
    if isinstance(optimizers, Mapping) and 'optimizer' in optimizers:
        findings.add(
            'param_scheduler',
            'a schedule needs a type; without it, the keys are names of optimizers, and '
            'optim_wrapper has a single one.',
        )
        return
    for name, part in raw_items(given):
        _check_list(part, f'param_scheduler.{name}', cfg, parts, findings)


def _check_list(given: Any, path: str, cfg: Config, parts: Parts, findings: Findings) -> None:
    if isinstance(given, Mapping):
        _check_schedule(given, path, cfg, parts, findings)
    elif isinstance(given, (list, tuple)):
        for index, config in enumerate(given):
            _check_schedule(config, f'{path}.{index}', cfg, parts, findings)
    elif not (hasattr(given, 'step') and hasattr(given, 'state_dict')):
        findings.add(path, f'a schedule is a dict or a list of dicts, got {given!r}.')


def _check_schedule(config: Any, path: str, cfg: Config, parts: Parts, findings: Findings) -> None:
    if not isinstance(config, Mapping):
        parts.check(config, path, PARAM_SCHEDULERS)
        return
    torchs = torch_scheduler_class(raw_get(config, 'type'))
    if torchs is not None:
        parts.found[path] = (config, torchs)
        _check_of_torch(config, path, torchs, findings)
        return
    before = len(findings.mistakes)
    given = ('optimizer', 'epoch_length')
    kind = parts.check(config, path, PARAM_SCHEDULERS, given=given, extra=OF_SCHEDULE)
    if len(findings.mistakes) > before or not is_of(kind, 'mmengine.optim'):
        return
    try:
        described, unit = _without_unit(dict(raw_items(config)))
        filled = _with_default_end(_counted(described, kind, cfg), unit, _limits(cfg))
    except (ArgumentError, TypeError) as error:
        findings.add(path, str(error), key='begin')
        return
    if isinstance(kind, type) and issubclass(kind, _ParamScheduler):
        left_out = {'unit': ..., 'convert_to_iter_based': ..., 'epoch_length': ...}
        parts.construct(filled, path, kind, optimizer=_stand_in(), verbose=False, **left_out)


def _check_of_torch(config: Mapping[str, Any], path: str, kind: Any, findings: Findings) -> None:
    own = taken_by(TorchSchedule).parameters
    parameters, takes_any = taken_by(kind)
    known = [*parameters, *own, *OF_SCHEDULE]
    for key, _ in raw_items(config):
        if key not in (*known, 'type', '_scope_') and not takes_any:
            near = nearest(str(key), known)
            hint = f' Did you mean {near!r}?' if near else ''
            findings.add(path, f'{kind.__name__} has no argument {key!r}.{hint}', key=str(key))


def _counted(config: dict[str, Any], kind: Any, cfg: Config) -> dict[str, Any]:
    """``config`` with the unit that the train loop gives to a schedule without one."""
    if getattr(kind, 'need_val_args', False):
        return config  # it acts on validations
    if 'by_epoch' in config or counts_epochs(raw_get(cfg, 'train_cfg')) is not False:
        return config
    return {**config, 'by_epoch': False}


def _limits(cfg: Config) -> dict[str, int | None]:
    """The end of the training in the units in which the config says it."""
    loop = raw_get(cfg, 'train_cfg')
    limits: dict[str, int | None] = dict.fromkeys(('epoch', 'iter', 'step', 'sample'))
    if isinstance(loop, Mapping) and counts_epochs(loop) is not None:
        for unit, key in (('epoch', 'max_epochs'), ('iter', 'max_iters')):
            value = raw_get(loop, key)
            limits[unit] = value if isinstance(value, int) and value > 0 else None
    return limits
