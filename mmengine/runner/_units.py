"""One unit for a run: what its parts count, compared with what the train loop counts.

Parts whose ``by_epoch`` was not given follow the loop. A given value is used, and a value with
which a part would never act is reported.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from mmengine.config import Config, source_location
from mmengine.hooks import CheckpointHook, LoggerHook
from mmengine.hooks._units import COUNTED_UNITS
from mmengine.optim.scheduler._base import _ParamScheduler
from mmengine.optim.scheduler._torch import torch_scheduler_class
from mmengine.registry import LOOPS, PARAM_SCHEDULERS
from mmengine.runner._hook_list import DEFAULT_HOOKS
from mmengine.runner.log_processor import LogProcessor
from mmengine.runner.loops import EpochBasedTrainLoop, IterBasedTrainLoop
from mmengine.utils._given import is_given
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from mmengine.runner._api import RunnerMembers
    from mmengine.runner.runner import Runner

# Arguments that count epochs, and what follows in a run that counts iterations.
_OF_EPOCHS = (
    (
        CheckpointHook,
        'by_epoch',
        'default_hooks.checkpoint',
        'so a checkpoint is saved at the end of training only',
    ),
    (
        LoggerHook,
        'log_metric_by_epoch',
        'default_hooks.logger',
        'so the metrics of all validations are recorded at epoch 0',
    ),
    (LogProcessor, 'by_epoch', 'log_processor', 'so log lines show one epoch without a length'),
)


def counts_epochs(loop: Any) -> bool | None:
    """Whether a train loop counts epochs; None if that is not known.

    Args:
        loop: A loop or its config. A custom class that derives from neither built-in loop tells by
            an attribute ``by_epoch``, or by the length in its config.
    """
    if isinstance(loop, Mapping):
        if 'by_epoch' in loop:
            return bool(loop['by_epoch'])
        kind = loop.get('type')
        known = _class_counts_epochs(LOOPS.get(kind) if isinstance(kind, str) else kind)
        if known is None and ('max_epochs' in loop) != ('max_iters' in loop):
            return 'max_epochs' in loop
        return known
    by_epoch = getattr(loop, 'by_epoch', None)
    return by_epoch if isinstance(by_epoch, bool) else _class_counts_epochs(type(loop))


def _run_counts_epochs(runner: RunnerMembers) -> bool | None:
    known = counts_epochs(runner._train_loop)
    return runner._counts_epochs if known is None else known


def follow_run(runner: Runner) -> None:
    """Let parts do what the run says, unless their arguments say otherwise.

    They count what the train loop counts, and save as the config key ``checkpoint`` says.
    """
    for hook in runner.hooks:
        follow = getattr(hook, 'follow_checkpoint', None)
        if follow is not None:
            follow(runner.checkpoint.async_save)
    _follow_loop(runner)


def _follow_loop(runner: Runner) -> None:
    by_epoch = _run_counts_epochs(runner)
    if by_epoch is None:
        return
    for part in (*runner.hooks, runner.log_processor):
        follow = getattr(part, 'follow_loop', None)
        if follow is not None:
            follow(by_epoch)


def default_hook_configs(loop: Any, given: Mapping[str, Any] | None) -> dict[str, dict[str, Any]]:
    """The default hooks for a train loop.

    A run that counts iterations saves a checkpoint whenever it validates, not in every iteration.

    Args:
        loop: A loop or its config.
        given: Changes to the default hooks, by key. If they have an interval or a unit for
            checkpoints, it is not combined with the unit of validations.
    """
    if counts_epochs(loop) is not False:
        return DEFAULT_HOOKS
    get = loop.get if isinstance(loop, Mapping) else partial(getattr, loop)
    checkpoint = {**DEFAULT_HOOKS['checkpoint'], 'interval': get('val_interval', 1000)}
    of_user = (given or {}).get('checkpoint')
    chosen = of_user if isinstance(of_user, Mapping) else {}
    unit = get('val_unit', None)
    if unit in COUNTED_UNITS and not {'interval', 'unit', 'by_epoch'} & set(chosen):
        checkpoint['unit'] = unit
    return {**DEFAULT_HOOKS, 'checkpoint': checkpoint}


def report_units(runner: Runner) -> None:
    """Warn, once for each value, about given values with which a part would not act as meant."""
    if _run_counts_epochs(runner) is not False:
        return
    for part in (*runner.hooks, runner.log_processor):
        for kind, name, key, outcome in _OF_EPOCHS:
            if isinstance(part, kind) and _acts_by_epoch(part, name):
                note = (
                    f'{type(part).__name__} has {name}=True, but the train loop counts iterations, '
                    f'{outcome}. Set {key}.{name}=False, or leave {name} out.'
                )
                if note not in runner._reported_units:
                    runner._reported_units.add(note)
                    runner.logger.warning(note)


def with_unit_of_loop(runner: RunnerMembers, schedulers: Any) -> Any:
    """``schedulers`` that count what the train loop counts where they do not say otherwise.

    Args:
        runner: The run; its train loop is built.
        schedulers: Configs or schedulers in any form that a runner takes. Configs are copied where
            they change.

    Raises:
        ArgumentError: If a schedule counts epochs and the train loop never ends one.
    """
    if _run_counts_epochs(runner) is not False or schedulers is None:
        return schedulers
    is_certain = type(runner.train_loop).run is IterBasedTrainLoop.run
    return _in_iterations(runner, schedulers, is_certain)


def _in_iterations(runner: RunnerMembers, schedulers: Any, is_certain: bool) -> Any:
    if isinstance(schedulers, Config):
        schedulers = schedulers._cfg_dict
    if isinstance(schedulers, (list, tuple)):
        return [_in_iterations(runner, each, is_certain) for each in schedulers]
    if isinstance(schedulers, Mapping) and 'type' not in schedulers:
        return {name: _in_iterations(runner, of, is_certain) for name, of in schedulers.items()}
    if isinstance(schedulers, Mapping):
        return _config_in_iterations(runner, schedulers, is_certain)
    if isinstance(schedulers, _ParamScheduler) and schedulers.unit is None and schedulers.by_epoch:
        if schedulers.need_val_args:
            _check_begin(schedulers, schedulers.begin, '')
        elif is_given(schedulers, 'by_epoch'):
            _refuse(runner, type(schedulers).__name__, '', is_certain)
        else:
            schedulers.by_epoch = False
    return schedulers


def _config_in_iterations(
    runner: RunnerMembers, config: Mapping[str, Any], is_certain: bool
) -> Any:
    if config.get('unit') not in (None, 'epoch') or config.get('convert_to_iter_based'):
        return config
    kind = _class_of(config)
    if kind is None or 'by_epoch' not in _arguments(kind):
        return config
    if needs_metrics(kind):
        _check_begin(config.get('type'), config.get('begin', 0), _written_at(config, 'begin'))
        return config
    if config.get('unit') == 'epoch' or config.get('by_epoch', False):
        key = 'unit' if config.get('unit') == 'epoch' else 'by_epoch'
        _refuse(runner, config.get('type'), _written_at(config, key), is_certain)
        return config
    # A copy of a ConfigDict keeps its location in the file, which error messages name.
    filled: Any = copy.copy(config)
    filled['by_epoch'] = False
    return filled


def _refuse(runner: RunnerMembers, kind: Any, place: str, is_certain: bool) -> None:
    name = kind if isinstance(kind, str) else getattr(kind, '__name__', kind)
    message = (
        f'{name} counts epochs{place}, but {type(runner.train_loop).__name__} counts iterations: '
        'no epoch ends before the training does, so the schedule would never step. Give its '
        'numbers in iterations with by_epoch=False, or let convert_to_iter_based=True convert them.'
    )
    if is_certain:
        raise ArgumentError(message)
    runner.logger.warning(message)


def _check_begin(kind: Any, begin: float, place: str) -> None:
    """A schedule with metrics acts on validations while its number of epochs is in its window."""
    if begin > 0:
        name = kind if isinstance(kind, str) else type(kind).__name__
        raise ArgumentError(
            f'{name} begins at epoch {begin}{place}, but the train loop counts iterations and ends '
            'no epoch before: the schedule would never act. Leave begin at 0.'
        )


def _class_of(config: Mapping[str, Any]) -> Any:
    kind = config.get('type')
    torchs = torch_scheduler_class(kind)
    if torchs is not None:
        return torchs
    return PARAM_SCHEDULERS.get(kind) if isinstance(kind, str) else kind


def _arguments(kind: Any) -> set[str]:
    """Names of the arguments of a scheduler class, including those that it passes to its bases."""
    if torch_scheduler_class(kind) is not None:
        return {'by_epoch'}
    bases = kind.__mro__ if inspect.isclass(kind) else []
    return {
        name
        for base in bases
        if '__init__' in vars(base) and base is not object
        for name in inspect.signature(base).parameters
    }


def needs_metrics(kind: Any) -> bool:
    """Whether a class of schedules or hooks acts on the metrics of validations."""
    name = getattr(kind, '__name__', '')
    return bool(getattr(kind, 'need_val_args', False)) or name == 'ReduceLROnPlateau'


def _acts_by_epoch(part: Any, name: str) -> bool:
    """Whether ``part`` counts epochs after it followed the loop, and has an interval of them."""
    if not getattr(part, name, False):
        return False
    return not isinstance(part, CheckpointHook) or part.interval > 0


def _class_counts_epochs(kind: Any) -> bool | None:
    if inspect.isclass(kind):
        by_epoch = vars(kind).get('by_epoch')
        if isinstance(by_epoch, bool):
            return by_epoch
        if issubclass(kind, (EpochBasedTrainLoop, IterBasedTrainLoop)):
            return issubclass(kind, EpochBasedTrainLoop)
    return None


def _written_at(config: Any, key: str) -> str:
    place = source_location(config, key)
    return '' if place is None else f' ({place})'
