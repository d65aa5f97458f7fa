"""What a run writes down: ``checkpoint_config``, ``log_config`` and the best checkpoints of
``evaluation`` to ``default_hooks``, ``visualizer`` and ``log_processor``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from mmengine.migrate._config.context import Config, Context
from mmengine.migrate._config.topics.hooks import (
    changes_saved_model,
    needs_legacy_times,
    reads_between,
)
from mmengine.migrate._config.topics.loop import dynamic_interval
from mmengine.migrate._config.trace import edited, plain

CONSUMES = ('checkpoint_config', 'log_config')

META = (
    'CheckpointHook has no meta: a checkpoint has the metainfo of the training dataset as '
    "meta['dataset_meta'], so classes belong to the metainfo of the dataset; a hook can keep other "
    'values with runner.message_hub.update_info(name, value), and checkpoints hold them'
)
_CHECKPOINT = (
    'interval', 'by_epoch', 'save_optimizer', 'out_dir', 'max_keep_ckpts', 'save_last',
    'filename_tmpl', 'file_client_args',
)  # fmt: skip
OLDER_NAMES_OF_BEST = ('key_indicator', 'best_metric')
_BEST = ('save_best', 'rule', 'greater_keys', 'less_keys')


def convert_default_hooks(ctx: Context) -> Config:
    """``default_hooks`` from ``checkpoint_config``, ``log_config`` and what ``evaluation`` says of
    best checkpoints."""
    hooks: Config = {}
    legacy, evaluation = ctx.legacy, ctx.legacy.get('evaluation')
    evaluation = evaluation if isinstance(evaluation, Mapping) else {}
    best = {key: evaluation[key] for key in _BEST if evaluation.get(key) is not None}
    for key in OLDER_NAMES_OF_BEST:
        if 'save_best' not in best and evaluation.get(key) is not None:
            best['save_best'] = evaluation[key]
    if 'save_best' not in best:
        best = {}
    if best:
        best = {**_rule(ctx, best), **best, 'save_best': _best(ctx, best['save_best'])}
    if 'checkpoint_config' in legacy or best:
        config = legacy.get('checkpoint_config')
        hooks['checkpoint'] = (
            None if config is None and not best else _checkpoint(ctx, config, best)
        )
    log = legacy.get('log_config')
    if isinstance(log, Mapping):
        logger: Config = {'type': 'LoggerHook', 'interval': log.get('interval', 10)}
        text = _text_logger(log)
        for key in _OF_TEXT:
            if key in text:
                logger[key] = text[key]
        if 'interval' in text:
            logger['interval'] = text['interval']
        hooks['logger'] = logger
    has_schedule = any(legacy.get(key) is not None for key in ('lr_config', 'momentum_config'))
    saving = hooks.get('checkpoint')
    changes = saving is not None and changes_saved_model(ctx)
    if has_schedule and (changes or reads_between(ctx) or needs_legacy_times(ctx)):
        hooks['param_scheduler'] = {'type': 'LegacyParamSchedulerHook'}
    if changes and saving is not None:
        hooks['checkpoint'] = {**saving, 'priority': 'NORMAL'}
    return {'default_hooks': hooks} if hooks else {}


def _rule(ctx: Context, best: Config) -> Config:
    """What the project's own hook of evaluation took for better, where the config does not tell."""
    name, known = best['save_best'], ctx.rules.better
    if set(best) & {'rule', 'greater_keys', 'less_keys'} or not known:
        return {}
    if name == 'auto':
        return {
            f'{side}_keys': sorted({one for one in known if known[one] == side})
            for side in ('greater', 'less')
        }
    if isinstance(name, (list, tuple)):
        return {'rule': [known[one] for one in name]} if set(name) <= set(known) else {}
    return {'rule': known[name]} if name in known else {}


def _best(ctx: Context, names: Any) -> Any:
    """The names that metrics report now, of one or several."""
    if isinstance(names, (list, tuple)):
        return [ctx.rules_metric_name(name) for name in names]
    return ctx.rules_metric_name(names)


def _checkpoint(ctx: Context, config: Any, best: Config) -> Config:
    options = dict(config or {})
    kind = options.pop('type', 'CheckpointHook')
    if kind != 'CheckpointHook':
        ctx.notes.todo('checkpoint_config.type', f'{kind} is not known here; kept as the type.')
    if config is None and 'checkpoint_config' in ctx.legacy:
        # Only the best were saved.
        options = {'interval': -1, 'save_last': False}
    # An iteration runner of MMCV set this for the hook; here the config must.
    if ctx.length is not None and not ctx.length.by_epoch:
        options.setdefault('by_epoch', False)
    _settle_interval(ctx, options)
    taken = {key: options.pop(key) for key in _CHECKPOINT if key in options}
    meta = options.pop('meta', None)
    if meta:
        ctx.notes.todo('checkpoint_config.meta', f'{META}. It was {plain(meta)!r}.')
    for key in ('create_symlink', 'sync_buffer'):
        if options.pop(key, None):
            ctx.notes.info(
                f'checkpoint_config.{key}', 'not needed: it has no counterpart, or is always done.'
            )
    if kind == 'CheckpointHook':
        ctx.leave('checkpoint_config', options)
        options = {}
    return edited(config, {'type': kind, **taken, **options, **best})


def _settle_interval(ctx: Context, options: Config) -> None:
    """One interval that saves all that an interval by milestones saved, and more."""
    if not isinstance(options.get('interval'), Mapping):
        return
    first, later = dynamic_interval(options['interval'])
    options['interval'] = math.gcd(first, *(interval for _, interval in later))
    ctx.notes.info(
        'checkpoint_config.interval',
        'it changed at milestones, which CheckpointHook does not do: the interval is the one that '
        f'saves at all those times, {options["interval"]}.',
    )


_OF_TEXT = ('ignore_last', 'interval_exp_name', 'out_dir', 'out_suffix', 'keep_local')
_TRACKERS = {
    'TensorboardLoggerHook': ('TensorboardVisBackend', {'log_dir': 'save_dir'}),
    'WandbLoggerHook': (
        'WandbVisBackend',
        {'init_kwargs': 'init_kwargs', 'define_metric_cfg': 'define_metric_cfg'},
    ),
    'MlflowLoggerHook': (
        'MLflowVisBackend', {'exp_name': 'exp_name', 'tags': 'tags', 'params': 'params'},
    ),
    'NeptuneLoggerHook': ('NeptuneVisBackend', {'init_kwargs': 'init_kwargs'}),
    **dict.fromkeys(
        ('MMDetWandbHook', 'MMClsWandbHook', 'MMSegWandbHook'),
        ('WandbVisBackend', {'init_kwargs': 'init_kwargs', 'commit': 'commit'}),
    ),
    'DvcliveLoggerHook': ('DVCLiveVisBackend', {}),
    'ClearMLLoggerHook': ('ClearMLVisBackend', {'init_kwargs': 'init_kwargs'}),
}  # fmt: skip
_ALL_BUT_RATES = r'(?!(.*[._])?(lr|momentum)$).*'
_WITH_EVERY_LOGGER = ('interval', 'ignore_last', 'reset_flag', 'by_epoch', 'type')


def convert_logging(ctx: Context) -> Config:
    """``visualizer`` and ``log_processor`` from ``log_config``."""
    log = ctx.legacy.get('log_config')
    if log is None:
        return {}
    if not isinstance(log, Mapping):
        ctx.notes.error('log_config', f'it is a dict with interval and hooks, got {log!r}.')
        return {}
    backends: list[Config] = [{'type': 'LocalVisBackend'}]
    left = []
    interval = _text_logger(log).get('interval', log.get('interval', 10))
    by_epoch = True if ctx.length is None else ctx.length.by_epoch
    shared = {'interval': interval, 'by_epoch': by_epoch, 'ignore_last': True}
    shared['ignore_last'] = _text_logger(log).get('ignore_last', True)
    for index, hook in enumerate(_log_hooks(log)):
        kind = hook.get('type')
        _note_own_times(ctx, f'log_config.hooks.{index}', hook, log, shared)
        if kind == 'TextLoggerHook':
            _note_unread(ctx, f'log_config.hooks.{index}', hook)
            continue
        if kind not in _TRACKERS:
            left.append(hook)
            ctx.notes.todo(
                f'log_config.hooks.{index}',
                f'{kind} has no counterpart here; write a backend for VISBACKENDS. Left in place.',
            )
            continue
        backend, names = _TRACKERS[kind]
        config: Config = {'type': backend}
        for key, value in hook.items():
            if key in names:
                config[names[key]] = value
            elif key not in _WITH_EVERY_LOGGER:
                ctx.notes.todo(
                    f'log_config.hooks.{index}.{key}',
                    f'{backend} takes no such argument; it was {value!r}.',
                )
        backends.append(config)
    if left:
        ctx.leftover['log_config'] = {'hooks': left}
    ctx.leave_more(
        'log_config', {key: value for key, value in log.items() if key not in ('interval', 'hooks')}
    )
    converted: Config = {
        'visualizer': {
            'type': ctx.rules.visualizer or 'Visualizer',
            'vis_backends': backends,
            'name': 'visualizer',
        },
        # What was logged was the average since the line before, of whatever the model reported.
        'log_processor': {
            'type': 'LogProcessor',
            'window_size': interval,
            'by_epoch': by_epoch,
            'mean_pattern': _ALL_BUT_RATES,
        },
    }
    return converted


def _note_own_times(
    ctx: Context, key: str, hook: Mapping[str, Any], log: Mapping[str, Any], shared: Config
) -> None:
    """Note where a logger wrote at other times than the one that writes for all does."""
    given = {'interval': log.get('interval', 10), **hook}
    for name, value in shared.items():
        if given.get(name, value) != value:
            ctx.notes.todo(
                f'{key}.{name}',
                f'it was {given[name]!r} for {hook.get("type")} alone; there is one LoggerHook for '
                f'all backends, for which it is {value!r}.',
            )


def _note_unread(ctx: Context, key: str, hook: Mapping[str, Any]) -> None:
    for name in hook:
        if name not in (*_WITH_EVERY_LOGGER, *_OF_TEXT, 'priority'):
            ctx.notes.todo(
                f'{key}.{name}', f'LoggerHook takes no such argument; it was {hook[name]!r}.'
            )


def _text_logger(log: Mapping[str, Any]) -> Mapping[str, Any]:
    return next((hook for hook in _log_hooks(log) if hook.get('type') == 'TextLoggerHook'), {})


def _log_hooks(log: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [hook for hook in log.get('hooks') or [] if isinstance(hook, Mapping)]
