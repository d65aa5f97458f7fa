"""``custom_hooks``: known ones by their new names, the others as they are, and listed."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from mmengine.migrate._config.context import Config, Context
from mmengine.migrate._config.rules import suggestion
from mmengine.migrate._config.topics.by_rule import convert_by_rule
from mmengine.migrate._config.trace import edited
from mmengine.migrate._hook_facts import (
    HookFacts,
    Registration,
    differences,
    follows_metric,
    priority_of,
)
from mmengine.migrate._schedule.legacy_schedule import canonical_name

CONSUMES = ('custom_hooks',)

_EMA_HOOKS = ('EMAHook', 'ExpMomentumEMAHook')
_KNOWN_HOOKS = (
    'EmptyCacheHook', 'ProfilerHook', 'SyncBuffersHook', 'CheckpointHook', 'EarlyStoppingHook',
)  # fmt: skip
_UNNEEDED_HOOKS = ('DistSamplerSeedHook', 'IterTimerHook')


def convert_custom_hooks(ctx: Context) -> Config:
    """``custom_hooks``: known ones by their new names, the others as they are, and listed."""
    hooks = ctx.legacy.get('custom_hooks')
    if _needs_legacy_step(ctx):
        # Scripts may register it with NORMAL otherwise.
        ctx.updater_hooks.insert(0, {'type': 'LegacyOptimizerStepHook', 'priority': 'ABOVE_NORMAL'})
        ctx.notes.info(
            'custom_hooks',
            'hooks see weights from before the optimizer step, or its gradients: '
            'LegacyOptimizerStepHook steps when MMCV did.',
        )
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


def reads_between(ctx: Context) -> bool:
    """Whether a hook of the project reads learning rates when the next ones are set already."""
    return any(
        _is_low(hook.get('priority'))
        if facts is None
        else facts.reads_between(priority_of(hook.get('priority')))
        for hook, facts in _own_hooks(ctx)
    )


def needs_legacy_times(ctx: Context) -> bool:
    """Whether a hook of the project sees when MMCV set learning rates, or sets them itself."""
    return any(
        facts is not None and facts.needs_legacy_times(priority_of(hook.get('priority')))
        for hook, facts in _own_hooks(ctx)
    )


def _needs_legacy_step(ctx: Context) -> bool:
    """Whether a hook of the project sees weights from before the step, or gradients."""
    if ctx.legacy.get('optimizer_config') is None:
        return False
    return any(
        facts is not None and facts.needs_legacy_step(priority_of(hook.get('priority')))
        for hook, facts in _own_hooks(ctx)
    )


def changes_saved_model(ctx: Context) -> bool:
    """Whether a hook of the project changed the model when MMCV had saved it already."""
    return any(
        facts is not None and facts.changes_saved_model(priority_of(hook.get('priority')))
        for hook, facts in _own_hooks(ctx)
    )


def _own_hooks(ctx: Context) -> Iterator[tuple[Mapping[str, Any], HookFacts | None]]:
    """The hooks of the project, and what they do where its code is converted as well."""
    hooks = ctx.legacy.get('custom_hooks')
    for hook in hooks if isinstance(hooks, (list, tuple)) else ():
        if not isinstance(hook, Mapping):
            continue
        facts = ctx.rules.own_hooks.get(str(hook.get('type')))
        if facts is not None or not _is_known(ctx, hook):
            yield hook, facts


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
    if ctx.length is not None and not ctx.length.by_epoch:
        # A runner of iterations changes the default.
        options.setdefault('by_epoch', False)
    # Scripts register hooks of a config with NORMAL where it names no priority. Hooks of the
    # priority HIGHEST came before it.
    ctx.updater_hooks.append({'type': kind, **options, 'priority': 9})
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
    _note_differences(ctx, key, hook)
    if kind in ctx.rules.hooks:
        changed = convert_by_rule(ctx, key, ctx.rules.hooks[kind], hook)
        if changed is None and not ctx.notes.tells(key):
            ctx.notes.info(key, f'the rule for {kind} leaves it out.')
        return hook if changed == dict(hook) else changed and edited(hook, changed)
    if kind in _EMA_HOOKS:
        return edited(hook, _ema_hook(ctx, key, hook))
    if kind in _UNNEEDED_HOOKS:
        ctx.notes.info(key, f'{kind} is left out: its work is always done here.')
        return None
    if kind in _KNOWN_HOOKS:
        return _checked(ctx, key, _profiler(hook) if kind == 'ProfilerHook' else hook)
    ctx.notes.todo(
        f'{key}.type',
        f'{kind} is in no rule: check that a hook of this name exists for this engine, with '
        f'its new method signatures. Left as it is.{suggestion("hooks", kind)}',
    )
    return hook


def _profiler(hook: Mapping[str, Any]) -> Mapping[str, Any]:
    """Activities were a list of names."""
    changed: Config = {}
    for name, value in hook.items():
        if name == 'profile_iters':
            changed['profile_times'] = value
        elif name == 'activities' and isinstance(value, (list, tuple)):
            changed['activity_with_cpu'] = 'cpu' in value
            changed['activity_with_cuda'] = 'cuda' in value
        else:
            changed[name] = value
    return hook if changed == dict(hook) else edited(hook, changed)


def _checked(ctx: Context, key: str, hook: Mapping[str, Any]) -> Mapping[str, Any]:
    """A hook of this engine, without the arguments that it does not take, which are noted."""
    from mmengine.registry import HOOKS

    found = HOOKS.get(hook['type'])
    taken = inspect.signature(found).parameters if found is not None else {}
    unknown = [name for name in hook if name not in (*taken, 'type', 'priority')]
    for name in unknown:
        ctx.notes.todo(
            f'{key}.{name}', f'{hook["type"]} takes no such argument; it was {hook[name]!r}.'
        )
    left = {name: value for name, value in hook.items() if name not in unknown}
    return edited(hook, left) if unknown else hook


def _note_differences(ctx: Context, key: str, hook: Mapping[str, Any]) -> None:
    """Note where a hook of the project does something else here."""
    facts = ctx.rules.own_hooks.get(hook['type'])
    if facts is None:
        return
    by_epoch = ctx.length.by_epoch if ctx.length is not None else None
    schedules = [ctx.legacy.get(key) for key in ('lr_config', 'momentum_config')]
    registration = Registration(
        hook['type'],
        priority_of(hook.get('priority')),
        by_epoch,
        any(map(follows_metric, schedules)),
    )
    for text in differences(registration, facts):
        ctx.notes.todo(key, f'{text}.')


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
