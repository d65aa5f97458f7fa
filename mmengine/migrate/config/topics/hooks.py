"""``custom_hooks``: known ones by their new names, the others as they are, and listed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate.config.context import Config, Context
from mmengine.migrate.config.rules import apply_rule, suggestion
from mmengine.migrate.config.trace import edited
from mmengine.migrate.schedule.legacy_schedule import canonical_name

CONSUMES = ('custom_hooks',)

_EMA_HOOKS = ('EMAHook', 'ExpMomentumEMAHook')
_KNOWN_HOOKS = (
    'EmptyCacheHook', 'ProfilerHook', 'SyncBuffersHook', 'CheckpointHook', 'EarlyStoppingHook',
)  # fmt: skip
_UNNEEDED_HOOKS = ('DistSamplerSeedHook', 'IterTimerHook')


def convert_custom_hooks(ctx: Context) -> Config:
    """``custom_hooks``: known ones by their new names, the others as they are, and listed."""
    hooks = ctx.legacy.get('custom_hooks')
    if hooks is None:
        return {'custom_hooks': ctx.updater_hooks} if ctx.updater_hooks else {}
    if not isinstance(hooks, (list, tuple)):
        ctx.notes.error('custom_hooks', f'it is a list of dicts, got {hooks!r}.')
        return {}
    converted: list[Any] = [*ctx.updater_hooks]
    for index, hook in enumerate(hooks):
        new = _custom_hook(ctx, f'custom_hooks.{index}', hook)
        if new is not None:
            converted.append(new)
    return {'custom_hooks': edited(hooks, converted)}


def are_any_low(ctx: Context) -> bool:
    """Whether a hook of the project comes behind the hook of the schedulers.

    It saw the learning rates of its iteration, and would see those of the next one.
    """
    hooks = ctx.legacy.get('custom_hooks')
    return any(
        isinstance(hook, Mapping) and _is_low(hook.get('priority')) and not _is_known(ctx, hook)
        for hook in (hooks if isinstance(hooks, (list, tuple)) else ())
    )


def _is_known(ctx: Context, hook: Mapping[str, Any]) -> bool:
    kind = hook.get('type')
    is_own = kind in ctx.rules.optimizer_hooks
    return (kind in ctx.rules.hooks and not is_own) or kind in (
        *_EMA_HOOKS,
        *_KNOWN_HOOKS,
        *_UNNEEDED_HOOKS,
    )


def _is_low(priority: Any) -> bool:
    if isinstance(priority, int):
        return priority >= 70
    return isinstance(priority, str) and priority.upper() in ('LOW', 'VERY_LOW', 'LOWEST')


def note_updater_hook(ctx: Context, lr_config: Mapping[str, Any]) -> None:
    """Note the hook that MMCV built for a policy of the project's own."""
    kind = f'{canonical_name(lr_config["policy"])}LrUpdaterHook'
    options = {key: value for key, value in lr_config.items() if key != 'policy'}
    ctx.updater_hooks.append({'type': kind, **options})
    if kind in ctx.rules.hooks:
        return
    ctx.notes.todo(
        'lr_config.policy',
        f'{lr_config["policy"]} is none of the policies of MMCV; taken for your own {kind}, in '
        'custom_hooks now. It has to be a LegacyLrUpdaterHook, as `mmengine migrate code` makes '
        'it.',
    )


def _custom_hook(ctx: Context, key: str, hook: Any) -> Any:
    if not isinstance(hook, Mapping) or not isinstance(hook.get('type'), str):
        return hook
    kind = hook['type']
    if kind in ctx.rules.hooks:
        changed = apply_rule(ctx.rules.hooks[kind], _before_schedulers(ctx, hook))
        return hook if changed == dict(hook) else changed and edited(hook, changed)
    if kind in _EMA_HOOKS:
        return edited(hook, _ema_hook(ctx, key, hook))
    if kind in _UNNEEDED_HOOKS:
        return None
    if kind not in _KNOWN_HOOKS:
        ctx.notes.todo(
            f'{key}.type',
            f'{kind} is in no rule: check that a hook of this name exists for this engine, with '
            f'its new method signatures. Left as it is.{suggestion("hooks", kind)}',
        )
        changed = _before_schedulers(ctx, hook)
        return hook if changed == dict(hook) else edited(hook, changed)
    return hook


def _before_schedulers(ctx: Context, hook: Mapping[str, Any]) -> Config:
    """A hook of the lowest priority, where the schedulers are then (see :func:`are_any_low`)."""
    is_lowest = str(hook.get('priority')).upper() in ('LOWEST', '100')
    if is_lowest and not _is_known(ctx, hook):
        return {**hook, 'priority': 99}
    return dict(hook)


def _accumulates(ctx: Context) -> bool:
    """Whether an optimizer step needs several batches."""
    settings = ctx.legacy.get('optimizer_config')
    names = ('cumulative_iters', 'update_interval')
    return isinstance(settings, Mapping) and any(settings.get(name, 1) != 1 for name in names)


def _ema_hook(ctx: Context, key: str, hook: Mapping[str, Any]) -> Config:
    options = dict(hook)
    kind = options.pop('type')
    converted: Config
    if kind == 'EMAHook':
        # Its momentum rises at the start, and its average begins at the untrained weights.
        own = ('momentum', 'interval', 'warm_up')
        converted = {'type': 'LegacyEMAHook'}
        converted |= {name: options.pop(name) for name in own if name in options}
    else:
        converted = {'type': 'EMAHook', 'ema_type': 'ExpMomentumEMA'}
        converted['momentum'] = options.pop('momentum', 0.0002)
        converted['gamma'] = options.pop('total_iter', 2000)
        if options.get('interval', 1) != 1:
            converted['interval'] = options['interval']
        options.pop('interval', None)
        converted['update_buffers'] = not options.pop('skip_buffers', False)
        if _accumulates(ctx):
            converted['unit'] = 'iter'  # it averaged after every batch
    resume = options.pop('resume_from', None)
    if resume is not None:
        ctx.notes.todo(
            f'{key}.resume_from', f'resume the run itself instead: load_from={resume!r}.'
        )
    if 'priority' in options:
        if _comes_before_the_step(options['priority']):
            ctx.notes.info(
                f'{key}.priority',
                f'at {options["priority"]} it averaged the weights from before the optimizer step; '
                'here it averages those after it.',
            )
        converted['priority'] = options.pop('priority')
    for name, value in options.items():
        ctx.notes.todo(f'{key}.{name}', f'{converted["type"]} takes no {name}; it was {value!r}.')
    return converted


def _comes_before_the_step(priority: Any) -> bool:
    """Whether a hook of MMCV came before the optimizer hook, which had ABOVE_NORMAL or 40."""
    if isinstance(priority, int):
        return priority < 40
    return isinstance(priority, str) and priority.upper() in ('HIGHEST', 'VERY_HIGH', 'HIGH')
