"""Everything about a run but its optimizer and data: length, validation, checkpoints, logs, hooks,
environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate.config.context import Config, Context
from mmengine.migrate.config.notes import Notes
from mmengine.migrate.config.rules import apply_rule, suggestion
from mmengine.migrate.config.schedules import Length
from mmengine.migrate.config.trace import edited

CONSUMES = (
    'runner', 'total_epochs', 'total_iters', 'workflow', 'checkpoint_config', 'log_config',
    'dist_params',
    'cudnn_benchmark', 'mp_start_method', 'opencv_num_threads', 'find_unused_parameters',
    'resume_from',
    'auto_resume', 'seed', 'deterministic', 'diff_seed', 'gpus', 'gpu_ids', 'custom_hooks',
)  # fmt: skip

_RUNNERS = {
    'EpochBasedRunner': 'max_epochs',
    'Runner': 'max_epochs',
    'IterBasedRunner': 'max_iters',
    'DynamicIterBasedRunner': 'max_iters',
}


def run_length(
    legacy: Mapping[str, Any], notes: Notes, iters_per_epoch: int | None = None
) -> Length | None:
    """How long a run is; None when the config does not tell, or is wrong (which is noted)."""
    runner = legacy.get('runner')
    if runner is None:
        for key, by_epoch in (('total_epochs', True), ('total_iters', False)):
            if legacy.get(key) is not None:
                return _checked(key, legacy[key], by_epoch, notes, iters_per_epoch)
        return None
    if not isinstance(runner, Mapping):
        notes.error(
            'runner', f"it is dict(type='EpochBasedRunner', max_epochs=12), got {runner!r}."
        )
        return None
    kind = runner.get('type', 'EpochBasedRunner')
    if kind in _RUNNERS:
        key = _RUNNERS[kind]
    else:
        given = [one for one in ('max_epochs', 'max_iters') if runner.get(one) is not None]
        if len(given) != 1:
            notes.error('runner.type', f'{kind!r} is not known, and does not tell its length.')
            return None
        key = given[0]
        notes.todo('runner.type', f'{kind} is not known here; taken as a runner by {key}.')
    by_epoch = key == 'max_epochs'
    total = runner.get(key)
    if total is None:
        total = legacy.get('total_epochs' if by_epoch else 'total_iters')
    if total is None:
        notes.error('runner', f'{kind} needs {key}.')
        return None
    return _checked(f'runner.{key}', total, by_epoch, notes, iters_per_epoch)


def _checked(
    key: str, total: Any, by_epoch: bool, notes: Notes, iters_per_epoch: int | None
) -> Length | None:
    if isinstance(total, float) and total.is_integer():
        total = int(total)
    if isinstance(total, bool) or not isinstance(total, int) or total < 1:
        notes.error(key, f'the length of a run is a whole number above 0, got {total!r}.')
        return None
    return Length(by_epoch, total, iters_per_epoch)


def convert_loop(ctx: Context) -> Config:
    """``train_cfg`` from the runner, the workflow and when to evaluate."""
    length = ctx.length
    if length is None:
        return {}
    runner = ctx.legacy.get('runner')
    if isinstance(runner, Mapping):
        extra = {
            key: value
            for key, value in runner.items()
            if key not in ('type', 'max_epochs', 'max_iters')
            and not (key == 'is_dynamic_ddp' and value is False)
        }
        ctx.leave('runner', extra, 'an argument of the runner that no loop here takes.')
    name = 'max_epochs' if length.by_epoch else 'max_iters'
    loop: Config = {'by_epoch': length.by_epoch, name: length.total}
    _check_workflow(ctx)
    evaluation = ctx.legacy.get('evaluation')
    if isinstance(evaluation, Mapping):
        loop |= _validation_times(ctx, evaluation, length)
    return {'train_cfg': loop}


def _check_workflow(ctx: Context) -> None:
    workflow = ctx.legacy.get('workflow') or []
    # ('train', 5) only groups epochs; anything but training means something else here.
    if any(not isinstance(step, (list, tuple)) or step[0] != 'train' for step in workflow):
        ctx.notes.todo(
            'workflow',
            "its ('val', n) computed losses on the validation set without metrics; that has no "
            'counterpart: a metric in val_evaluator can report a loss.',
        )


def _validation_times(ctx: Context, evaluation: Mapping[str, Any], length: Length) -> Config:
    by_epoch = evaluation.get('by_epoch', length.by_epoch)
    interval = evaluation.get('interval', 1)
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
            ctx.notes.todo('evaluation.interval', f'{interval} iterations are no whole epochs.')
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
    dynamic = evaluation.get('dynamic_intervals')
    if dynamic is not None:
        times['dynamic_intervals'] = dynamic
    return times


_CHECKPOINT = (
    'interval', 'by_epoch', 'save_optimizer', 'out_dir', 'max_keep_ckpts', 'save_last',
    'filename_tmpl',
    'file_client_args',
)  # fmt: skip
_BEST = ('save_best', 'rule', 'greater_keys', 'less_keys')


def convert_default_hooks(ctx: Context) -> Config:
    """``default_hooks`` from ``checkpoint_config``, ``log_config`` and what ``evaluation`` says of
    best checkpoints."""
    hooks: Config = {}
    legacy, evaluation = ctx.legacy, ctx.legacy.get('evaluation')
    evaluation = evaluation if isinstance(evaluation, Mapping) else {}
    best = {key: evaluation[key] for key in _BEST if evaluation.get(key) is not None}
    if 'save_best' not in best:
        best = {}
    if best:
        best['save_best'] = ctx.rules_metric_name(best['save_best'])
    if 'checkpoint_config' in legacy or best:
        config = legacy.get('checkpoint_config')
        hooks['checkpoint'] = (
            None if config is None and not best else _checkpoint(ctx, config, best)
        )
    log = legacy.get('log_config')
    if isinstance(log, Mapping):
        logger: Config = {'type': 'LoggerHook', 'interval': log.get('interval', 10)}
        text = next((hook for hook in _log_hooks(log) if hook.get('type') == 'TextLoggerHook'), {})
        for key in ('ignore_last', 'interval_exp_name', 'out_dir', 'out_suffix', 'keep_local'):
            if key in text:
                logger[key] = text[key]
        if 'interval' in text:
            logger['interval'] = text['interval']
        hooks['logger'] = logger
    return {'default_hooks': hooks} if hooks else {}


def _checkpoint(ctx: Context, config: Any, best: Config) -> Config:
    options = dict(config or {})
    kind = options.pop('type', 'CheckpointHook')
    if kind != 'CheckpointHook':
        ctx.notes.todo('checkpoint_config.type', f'{kind} is not known here; kept as the type.')
    # An iteration runner of MMCV told the hook so; here the config must.
    if ctx.length is not None and not ctx.length.by_epoch:
        options.setdefault('by_epoch', False)
    taken = {key: options.pop(key) for key in _CHECKPOINT if key in options}
    for key in ('create_symlink', 'meta', 'sync_buffer'):
        if options.pop(key, None):
            ctx.notes.info(
                f'checkpoint_config.{key}', 'not needed: it has no counterpart, or is always done.'
            )
    if kind == 'CheckpointHook':
        ctx.leave('checkpoint_config', options)
        options = {}
    return edited(config, {'type': kind, **taken, **options, **best})


def _log_hooks(log: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [hook for hook in log.get('hooks') or [] if isinstance(hook, Mapping)]


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
    'DvcliveLoggerHook': ('DVCLiveVisBackend', {}),
    'ClearMLLoggerHook': ('ClearMLVisBackend', {'init_kwargs': 'init_kwargs'}),
}  # fmt: skip
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
    for index, hook in enumerate(_log_hooks(log)):
        kind = hook.get('type')
        if kind == 'TextLoggerHook':
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
    interval = log.get('interval', 10)
    by_epoch = True if ctx.length is None else ctx.length.by_epoch
    converted: Config = {
        'visualizer': {
            'type': ctx.rules.visualizer or 'Visualizer',
            'vis_backends': backends,
            'name': 'visualizer',
        },
        # What was logged was the average since the line before.
        'log_processor': {'type': 'LogProcessor', 'window_size': interval, 'by_epoch': by_epoch},
    }
    return converted


def convert_environment(ctx: Context) -> Config:
    """``env_cfg``, ``randomness``, ``model_wrapper_cfg``, ``resume`` and their like."""
    legacy = ctx.legacy
    converted: Config = {}
    env: Config = {}
    if 'cudnn_benchmark' in legacy:
        env['cudnn_benchmark'] = legacy['cudnn_benchmark']
    names = ('mp_start_method', 'opencv_num_threads')
    processes = {key: legacy[key] for key in names if key in legacy}
    if processes:
        env['mp_cfg'] = processes
    if legacy.get('dist_params') is not None:
        env['dist_cfg'] = legacy['dist_params']
    if env:
        converted['env_cfg'] = env
    seeds = {'seed': 'seed', 'deterministic': 'deterministic', 'diff_seed': 'diff_rank_seed'}
    randomness = {new: legacy[old] for old, new in seeds.items() if old in legacy}
    if randomness:
        converted['randomness'] = randomness
    if 'find_unused_parameters' in legacy:
        converted['model_wrapper_cfg'] = {
            'type': 'MMDistributedDataParallel',
            'broadcast_buffers': False,
            'find_unused_parameters': legacy['find_unused_parameters'],
        }
    if 'resume_from' in legacy or 'auto_resume' in legacy:
        source = legacy.get('resume_from')
        if source is not None:
            converted['load_from'] = source
        converted['resume'] = source is not None or bool(legacy.get('auto_resume'))
    for key in ('gpus', 'gpu_ids'):
        if key in legacy:
            ctx.notes.info(key, 'which devices to use is told when starting: CUDA_VISIBLE_DEVICES.')
    if ctx.rules.scope and 'log_config' in legacy:
        converted['default_scope'] = ctx.rules.scope
    return converted


_EMA_HOOKS = {
    'EMAHook': 'ExponentialMovingAverage',
    'ExpMomentumEMAHook': 'ExpMomentumEMA',
}
_KNOWN_HOOKS = (
    'EmptyCacheHook', 'ProfilerHook', 'SyncBuffersHook', 'CheckpointHook', 'EarlyStoppingHook',
)  # fmt: skip
_UNNEEDED_HOOKS = ('DistSamplerSeedHook', 'IterTimerHook')


def convert_custom_hooks(ctx: Context) -> Config:
    """``custom_hooks``: known ones by their new names, the others as they are, and listed."""
    hooks = ctx.legacy.get('custom_hooks')
    if hooks is None:
        return {}
    if not isinstance(hooks, (list, tuple)):
        ctx.notes.error('custom_hooks', f'it is a list of dicts, got {hooks!r}.')
        return {}
    converted = []
    for index, hook in enumerate(hooks):
        new = _custom_hook(ctx, f'custom_hooks.{index}', hook)
        if new is not None:
            converted.append(new)
    return {'custom_hooks': edited(hooks, converted)}


def _custom_hook(ctx: Context, key: str, hook: Any) -> Any:
    if not isinstance(hook, Mapping) or not isinstance(hook.get('type'), str):
        return hook
    kind = hook['type']
    if kind in ctx.rules.hooks:
        changed = apply_rule(ctx.rules.hooks[kind], hook)
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
    return hook


def _ema_hook(ctx: Context, key: str, hook: Mapping[str, Any]) -> Config:
    options = dict(hook)
    kind, momentum = options.pop('type'), options.pop('momentum', 0.0002)
    converted: Config = {'type': 'EMAHook', 'ema_type': _EMA_HOOKS[kind], 'momentum': momentum}
    interval = options.pop('interval', 1)
    warm_up = options.pop('warm_up', 100)
    if kind == 'ExpMomentumEMAHook':
        converted['gamma'] = options.pop('total_iter', 2000)
    elif momentum > 1 / warm_up:
        ctx.notes.todo(
            f'{key}.warm_up',
            f'MMCV used min({momentum}, (1 + t) / ({warm_up} + t)) as momentum, which rises at '
            'the start here; ExponentialMovingAverage keeps it constant.',
        )
    if interval != 1:
        converted['interval'] = interval
    skip_buffers = options.pop('skip_buffers', False)
    converted['update_buffers'] = not skip_buffers
    resume = options.pop('resume_from', None)
    if resume is not None:
        ctx.notes.todo(
            f'{key}.resume_from', f'resume the run itself instead: load_from={resume!r}.'
        )
    if 'priority' in options:
        converted['priority'] = options.pop('priority')
    for name, value in options.items():
        ctx.notes.todo(f'{key}.{name}', f'EMAHook takes no {name}; it was {value!r}.')
    return converted
