"""How long a run is and when it validates: ``runner``, ``workflow`` and ``evaluation`` to
``train_cfg``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate._config.context import Config, Context
from mmengine.migrate._config.notes import Notes
from mmengine.migrate._config.schedules.conversion import Length

CONSUMES = ('runner', 'total_epochs', 'total_iters', 'workflow')

_RUNNERS = {
    'EpochBasedRunner': 'max_epochs',
    'Runner': 'max_epochs',
    'IterBasedRunner': 'max_iters',
    'DynamicIterBasedRunner': 'max_iters',
}


def run_length(
    legacy: Mapping[str, Any],
    notes: Notes,
    iters_per_epoch: int | None = None,
    runners: Mapping[str, str] | None = None,
) -> Length | None:
    """How long a run is; None when the config does not tell, or is wrong (which is noted).

    Args:
        legacy: The config.
        notes: Gets what there is to tell.
        iters_per_epoch: Iterations of an epoch, if known.
        runners: Runners of projects, and what tells the length of each.
    """
    known = {**_RUNNERS, **(runners or {})}
    runner = legacy.get('runner')
    totals = [key for key in ('total_epochs', 'total_iters') if legacy.get(key) is not None]
    if runner is None:
        if len(totals) > 1:
            notes.error('total_iters', 'it stands beside total_epochs: keep the one that was used.')
        if not totals:
            return _length_of_loop(legacy.get('train_cfg'), iters_per_epoch)
        by_epoch = totals[0] == 'total_epochs'
        return _checked(totals[0], legacy[totals[0]], by_epoch, notes, iters_per_epoch)
    if not isinstance(runner, Mapping):
        notes.error(
            'runner', f"it is dict(type='EpochBasedRunner', max_epochs=12), got {runner!r}."
        )
        return None
    kind = runner.get('type', 'EpochBasedRunner')
    if kind in known:
        key = known[kind]
    else:
        given = [one for one in ('max_epochs', 'max_iters') if runner.get(one) is not None]
        if len(given) != 1:
            notes.error('runner.type', f'{kind!r} is not known, and does not tell its length.')
            return None
        key = given[0]
        notes.todo('runner.type', f'{kind} is not known here; taken as a runner by {key}.')
    by_epoch = key == 'max_epochs'
    total = runner.get(key)
    for told in totals:
        if (told == 'total_epochs') != by_epoch:
            counted = 'epochs' if by_epoch else 'iterations'
            notes.info(told, f'it was not used: the runner counts {counted}.')
        elif total is None:
            total = legacy[told]
        elif legacy[told] != total:
            notes.todo(
                told, f'runner.{key} is {total!r}, which comes first; some projects stopped.'
            )
    if total is None:
        notes.error('runner', f'{kind} needs {key}.')
        return None
    return _checked(f'runner.{key}', total, by_epoch, notes, iters_per_epoch)


def tells_length(config: Mapping[str, Any]) -> bool:
    """Whether a legacy config, or a part of one, says how long a run is."""
    runner = config.get('runner')
    given = runner if isinstance(runner, Mapping) else {}
    lengths = (given.get('max_epochs'), given.get('max_iters'))
    totals = (config.get('total_epochs'), config.get('total_iters'))
    return any(one is not None for one in (*lengths, *totals))


def _length_of_loop(loop: Any, iters_per_epoch: int | None) -> Length | None:
    """The length of a half-migrated config, whose train_cfg is this engine's already."""
    given = loop if isinstance(loop, Mapping) else {}
    for key in ('max_epochs', 'max_iters'):
        total = given.get(key)
        if isinstance(total, int) and not isinstance(total, bool) and total > 0:
            return Length(key == 'max_epochs', total, iters_per_epoch)
    return None


def _checked(
    key: str, total: Any, by_epoch: bool, notes: Notes, iters_per_epoch: int | None
) -> Length | None:
    if isinstance(total, float) and total.is_integer():
        total = int(total)
    if isinstance(total, bool) or not isinstance(total, int) or total < 1:
        notes.error(key, f'the length of a run is a positive integer, got {total!r}.')
        return None
    return Length(by_epoch, total, iters_per_epoch)


def convert_loop(ctx: Context) -> Config:
    """``train_cfg`` from the runner, the workflow and when to evaluate."""
    length = ctx.length
    if length is None:
        return {}
    runner = ctx.legacy.get('runner')
    if isinstance(runner, Mapping):
        kind = runner.get('type')
        extra = {
            key: value
            for key, value in runner.items()
            if key not in ('type', 'max_epochs', 'max_iters', 'fp16_loss_scaler')
            and not (key == 'is_dynamic_ddp' and value is False)
            and not (key == 'pass_training_status' and kind in ctx.rules.runners)
        }
        ctx.leave('runner', extra, 'an argument of the runner that no loop here takes.')
    name = 'max_epochs' if length.by_epoch else 'max_iters'
    loop: Config = {'by_epoch': length.by_epoch, name: length.total}
    _check_workflow(ctx)
    evaluation = ctx.legacy.get('evaluation')
    if isinstance(evaluation, Mapping):
        loop |= _validation_times(ctx, evaluation, length)
    elif not length.by_epoch and validates_unasked(ctx):
        # The interval of EvalHook; the loop here has another one.
        loop['val_interval'] = 1
    return {'train_cfg': loop}


def validates_unasked(ctx: Context) -> bool:
    """Whether a config without ``evaluation`` validates, as its project's script decided."""
    data = ctx.legacy.get('data')
    has_val = isinstance(data, Mapping) and data.get('val') is not None
    default = ctx.rules.validates_by_default
    if default is None:
        # A validation set may be there for a workflow with losses on it.
        default = not has_val_step(ctx)
    return has_val and default and 'evaluation' not in ctx.legacy


def has_val_step(ctx: Context) -> bool:
    """Whether the workflow computes losses on the validation set."""
    workflow = ctx.legacy.get('workflow') or []
    return any(isinstance(step, (list, tuple)) and step[0] == 'val' for step in workflow)


def _check_workflow(ctx: Context) -> None:
    workflow = ctx.legacy.get('workflow') or []
    # ('train', 5) only groups epochs; anything but training means something else here.
    if any(not isinstance(step, (list, tuple)) or step[0] != 'train' for step in workflow):
        ctx.notes.todo(
            'workflow',
            "its ('val', n) computed losses on the validation set without metrics, and methods of "
            'hooks such as before_epoch ran there too; that has no counterpart: a metric in '
            'val_evaluator can report a loss.',
        )


def _validation_times(ctx: Context, evaluation: Mapping[str, Any], length: Length) -> Config:
    by_epoch = evaluation.get('by_epoch', length.by_epoch)
    interval, later = dynamic_interval(evaluation.get('interval', 1))
    times: Config = {}
    if by_epoch != length.by_epoch:
        if length.epoch_length is None:
            ctx.notes.todo(
                'evaluation.by_epoch',
                f'it counts {"epochs" if by_epoch else "iterations"} and the run does not: pass '
                '--iters-per-epoch, or set train_cfg.val_interval.',
            )
            return {}
        scaled = interval * length.epoch_length if by_epoch else interval / length.epoch_length
        if scaled != int(scaled):
            ctx.notes.todo('evaluation.interval', f'{interval} iterations are not whole epochs.')
        interval = max(int(scaled), 1)
    times['val_interval'] = interval
    start = evaluation.get('start')
    if start is not None:
        times['val_begin'] = max(start, 1)
        if start % interval:
            ctx.notes.info(
                'evaluation.start',
                f'MMCV counted the interval from {start}; here validation comes at multiples of '
                f'{interval} from there on.',
            )
    dynamic = evaluation.get('dynamic_intervals') or later
    if dynamic:
        times['dynamic_intervals'] = dynamic
    return times


def dynamic_interval(interval: Any) -> tuple[Any, list[tuple[int, int]]]:
    """The first interval, and from which milestone on which others hold.

    Some projects write ``interval=dict(milestones=[100], interval=[10, 5])``.
    """
    if not isinstance(interval, Mapping):
        return interval, []
    milestones, intervals = interval.get('milestones'), interval.get('interval')
    if not isinstance(milestones, (list, tuple)) or not isinstance(intervals, (list, tuple)):
        raise ValueError('an interval by milestones is dict(milestones=[...], interval=[...])')
    if len(intervals) != len(milestones) + 1:
        raise ValueError('it needs one interval more than milestones')
    return intervals[0], list(zip(milestones, intervals[1:], strict=True))
