"""``optimizer``, ``optimizer_config`` and ``fp16`` to ``optim_wrapper``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.migrate._config.context import Config, Context
from mmengine.migrate._config.trace import edited

CONSUMES = ('optimizer', 'optimizers', 'optimizer_config', 'fp16')

# Of each hook: whether it trains in half precision.
_OPTIMIZER_HOOKS = {
    'OptimizerHook': False,
    'Fp16OptimizerHook': True,
    'GradientCumulativeOptimizerHook': False,
    'GradientCumulativeFp16OptimizerHook': True,
    'DistOptimizerHook': False,
}
_STATIC_SCALE = 512.0  # of Fp16OptimizerHook, when nothing else is said
_WITHOUT_MEANING = ('coalesce', 'bucket_size_mb', 'distributed')
_MOVED = ('paramwise_cfg', 'paramwise_options', 'constructor')
_NAMES_OF_PARAMWISE = (
    'custom_keys', 'bias_lr_mult', 'bias_decay_mult', 'norm_decay_mult', 'flat_decay_mult',
    'dwconv_decay_mult', 'dcn_offset_lr_mult', 'bypass_duplicate',
)  # fmt: skip
_OF_REGEXES = 'LegacyRegexOptimWrapperConstructor'
_STOCK_CONSTRUCTORS = ('DefaultOptimizerConstructor', 'DefaultOptimWrapperConstructor')


def convert_optimizer(ctx: Context) -> Config:
    """``optim_wrapper`` from the legacy keys; nothing when there is no optimizer."""
    name = 'optimizer' if ctx.legacy.get('optimizer') is not None else 'optimizers'
    optimizer = ctx.legacy.get(name)
    if optimizer is None:
        return {}
    if name == 'optimizer' and ctx.legacy.get('optimizers') is not None:
        ctx.notes.error('optimizers', 'it stands beside optimizer: keep the one that was used.')
    if not isinstance(optimizer, Mapping):
        ctx.notes.error(name, f'it is a dict with a type, got {optimizer!r}.')
        return {}
    shared = _wrapper_settings(ctx)
    if 'type' in optimizer:
        return {'optim_wrapper': _wrapper(ctx, name, optimizer, shared)}
    model = ctx.legacy.get('model')
    kind = model.get('type') if isinstance(model, Mapping) else None
    if len(optimizer) == 1 and kind in ctx.rules.single_optimizer:
        ((part, config),) = optimizer.items()
        if isinstance(config, Mapping) and 'type' in config:
            return {'optim_wrapper': _wrapper(ctx, f'{name}.{part}', config, shared)}
    wrappers = {}
    for part, config in optimizer.items():
        if not isinstance(config, Mapping) or 'type' not in config:
            ctx.notes.error(
                f'{name}.{part}', 'an optimizer is a dict with a type, or a dict of these by name.'
            )
            return {}
        wrappers[part] = _wrapper(ctx, f'{name}.{part}', config, shared)
    # The code of a project that is converted with it takes the dict of wrappers already, as do the
    # models of the successor of a known project.
    is_known = kind in ctx.rules.model_types
    note = ctx.notes.info if ctx.rules.own_hooks or is_known else ctx.notes.todo
    note(
        name,
        'several optimizers: a train_step that took a dict of them now takes an OptimWrapperDict '
        'with the same names (optim_wrapper[name].update_params(loss)).',
    )
    return {'optim_wrapper': wrappers}


def _wrapper(ctx: Context, key: str, optimizer: Mapping[str, Any], shared: Config) -> Config:
    moved = {name: optimizer[name] for name in _MOVED if name in optimizer}
    rest = {name: value for name, value in optimizer.items() if name not in _MOVED}
    wrapper: Config = {'type': shared['type'], 'optimizer': edited(optimizer, rest)}
    if 'paramwise_options' in moved:
        _read_older_options(ctx, f'{key}.paramwise_options', moved)
    constructor = moved.get('constructor')
    if constructor == _OF_REGEXES:
        wrapper['constructor'] = constructor
    elif constructor is not None and constructor not in _STOCK_CONSTRUCTORS:
        wrapper['constructor'] = ctx.rules.constructors.get(constructor, constructor)
        if constructor not in ctx.rules.constructors:
            ctx.notes.todo(
                f'{key}.constructor',
                f'{constructor} must be registered in OPTIM_WRAPPER_CONSTRUCTORS and take '
                'optim_wrapper_cfg, paramwise_cfg.',
            )
    if moved.get('paramwise_cfg') is not None:
        wrapper['paramwise_cfg'] = moved['paramwise_cfg']
    return wrapper | {name: value for name, value in shared.items() if name != 'type'}


def _read_older_options(ctx: Context, key: str, moved: Config) -> None:
    """``paramwise_options``: an older name of paramwise_cfg, or options by regular expression."""
    options = moved['paramwise_options']
    names = list(options) if isinstance(options, Mapping) else []
    patterns = [name for name in names if name not in _NAMES_OF_PARAMWISE]
    if not patterns:
        moved.setdefault('paramwise_cfg', options)
        ctx.notes.info(key, 'the older name of paramwise_cfg.')
        return
    if len(patterns) < len(names) or moved.get('paramwise_cfg') is not None:
        ctx.notes.todo(
            key,
            'it has options by regular expression beside options of paramwise_cfg, and no '
            f'constructor here takes both: {", ".join(map(repr, patterns))} are left out.',
        )
        others = {name: options[name] for name in names if name in _NAMES_OF_PARAMWISE}
        moved.setdefault('paramwise_cfg', others)
        return
    moved['paramwise_cfg'] = options
    if moved.get('constructor') in (None, *_STOCK_CONSTRUCTORS):
        moved['constructor'] = _OF_REGEXES


def _wrapper_settings(ctx: Context) -> Config:
    """What stands beside the optimizer: type, clipping, accumulation, loss scale."""
    hook = ctx.legacy.get('optimizer_config') or {}
    fp16 = ctx.legacy.get('fp16')
    if not isinstance(hook, Mapping) or not isinstance(fp16, (Mapping, type(None))):
        wrong = 'fp16' if isinstance(hook, Mapping) else 'optimizer_config'
        ctx.notes.error(wrong, f'it is a dict, got {ctx.legacy[wrong]!r}.')
        return {'type': 'OptimWrapper'}
    options = dict(hook)
    kind = options.pop('type', 'OptimizerHook')
    if kind not in _OPTIMIZER_HOOKS:
        return _own_settings(ctx, kind, options)
    half = _OPTIMIZER_HOOKS[kind] or fp16 is not None
    runner = ctx.legacy.get('runner')
    of_runner = runner.get('fp16_loss_scaler') if isinstance(runner, Mapping) else None
    if of_runner is not None:
        # The runner's own scaler, with the options of torch's scaler.
        half = True
        fp16 = {'loss_scale': of_runner, **(fp16 or {})}
    if options.pop('use_fp16', False):
        half = True
        ctx.notes.info(
            'optimizer_config.use_fp16', 'was mixed precision by apex; AmpOptimWrapper takes over.'
        )
    settings: Config = {'type': 'AmpOptimWrapper' if half else 'OptimWrapper'}
    scales = [one['loss_scale'] for one in (fp16 or {}, options) if 'loss_scale' in one]
    if half and len(scales) == 2 and scales[0] != scales[1]:
        ctx.notes.todo(
            'fp16.loss_scale',
            f'it is {scales[0]!r} here, which was taken, and {scales[1]!r} in optimizer_config: '
            'keep the one that was used.',
        )
    scale = options.pop('loss_scale', _STATIC_SCALE)
    if half:
        settings |= _amp_settings(ctx, dict(fp16 or {}), scale)
    counts = options.pop('cumulative_iters', None) or options.pop('update_interval', None)
    if counts is not None and counts != 1:
        settings['accumulative_counts'] = counts
    clip = options.pop('grad_clip', None)
    if clip is not None:
        settings['clip_grad'] = clip
    for name in _WITHOUT_MEANING:
        options.pop(name, None)
    if options.pop('detect_anomalous_params', False):
        ctx.notes.info(
            'optimizer_config.detect_anomalous_params',
            'torch reports parameters outside the graph itself: TORCH_DISTRIBUTED_DEBUG=DETAIL.',
        )
    ctx.leave('optimizer_config', options)
    return settings


def _own_settings(ctx: Context, kind: Any, options: Config) -> Config:
    """The settings of a custom hook, as `migrate code` names them."""
    if kind not in ctx.rules.optimizer_hooks:
        ctx.notes.todo(
            'optimizer_config.type',
            f'{kind} is an optimizer hook of your own: it has to be a subclass of OptimWrapper, '
            'registered in OPTIM_WRAPPERS, as `mmengine migrate code` makes it.',
        )
    if ctx.legacy.get('fp16') is not None:
        ctx.notes.todo('fp16', f'{kind} decides on mixed precision by itself; left in place.')
        ctx.leftover['fp16'] = ctx.legacy['fp16']
    clip, counts = options.pop('grad_clip', None), options.pop('cumulative_iters', 1)
    settings: Config = {'type': kind, **options}
    if counts != 1:
        settings['accumulative_counts'] = counts
    if clip is not None:
        settings['clip_grad'] = clip
    return settings


def _amp_settings(ctx: Context, fp16: Config, scale: Any) -> Config:
    scale = fp16.pop('loss_scale', scale)
    if isinstance(scale, Mapping) and scale.get('mode') in ('dynamic', 'static'):
        # The scaler of MMCV before torch had one.
        older = {key: value for key, value in scale.items() if key != 'mode'}
        renamed = {'scale_factor': 'growth_factor', 'scale_window': 'growth_interval'}
        scale = {renamed.get(key, key): value for key, value in older.items()}
        ctx.notes.info('fp16.loss_scale', "without 'mode': torch's scaler is dynamic.")
    if isinstance(scale, (int, float)) and not isinstance(scale, bool):
        scale = edited(scale, float(scale))
    ctx.leave('fp16', fp16)
    return {'loss_scale': scale, 'dtype': 'float16'}
