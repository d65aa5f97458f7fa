"""Hook objects of MMCV as the configs that mean the same."""

from __future__ import annotations

from typing import NamedTuple

import libcst as cst

from mmengine.migrate._code._nodes import code, expression

# Arguments of optimizer hooks that nothing depends on here.
WITHOUT_MEANING = ('detect_anomalous_params', 'coalesce', 'bucket_size_mb', 'distributed')
_LOGGER = ('interval', 'ignore_last', 'reset_flag', 'by_epoch')
_CYCLE = (
    'by_epoch', 'target_ratio', 'cyclic_times', 'step_ratio_up', 'anneal_strategy', 'gamma',
)  # fmt: skip
# The arguments of each hook by position.
_POSITIONS: dict[str, tuple[str, ...]] = {
    'OptimizerHook': ('grad_clip', 'detect_anomalous_params'),
    'Fp16OptimizerHook': (
        'grad_clip', 'coalesce', 'bucket_size_mb', 'loss_scale', 'distributed',
    ),
    'GradientCumulativeOptimizerHook': ('cumulative_iters',),
    'GradientCumulativeFp16OptimizerHook': ('cumulative_iters',),
    'FixedLrUpdaterHook': (),
    'StepLrUpdaterHook': ('step', 'gamma', 'min_lr'),
    'ExpLrUpdaterHook': ('gamma',),
    'PolyLrUpdaterHook': ('power', 'min_lr'),
    'InvLrUpdaterHook': ('gamma', 'power'),
    'CosineAnnealingLrUpdaterHook': ('min_lr', 'min_lr_ratio'),
    'FlatCosineAnnealingLrUpdaterHook': ('start_percent', 'min_lr', 'min_lr_ratio'),
    'CosineRestartLrUpdaterHook': ('periods', 'restart_weights', 'min_lr', 'min_lr_ratio'),
    'LinearAnnealingLrUpdaterHook': ('min_lr', 'min_lr_ratio'),
    'CyclicLrUpdaterHook': _CYCLE,
    'OneCycleLrUpdaterHook': (
        'max_lr', 'total_steps', 'pct_start', 'anneal_strategy', 'div_factor', 'final_div_factor',
        'three_phase',
    ),
    'StepMomentumUpdaterHook': ('step', 'gamma', 'min_momentum'),
    'CosineAnnealingMomentumUpdaterHook': ('min_momentum', 'min_momentum_ratio'),
    'LinearAnnealingMomentumUpdaterHook': ('min_momentum', 'min_momentum_ratio'),
    'CyclicMomentumUpdaterHook': _CYCLE,
    'OneCycleMomentumUpdaterHook': (
        'base_momentum', 'max_momentum', 'pct_start', 'anneal_strategy', 'three_phase',
    ),
    'CheckpointHook': (
        'interval', 'by_epoch', 'save_optimizer', 'out_dir', 'max_keep_ckpts', 'save_last',
        'sync_buffer', 'file_client_args',
    ),
    'TextLoggerHook': (
        'by_epoch', 'interval', 'ignore_last', 'reset_flag', 'interval_exp_name', 'out_dir',
        'out_suffix', 'keep_local', 'file_client_args',
    ),
    'TensorboardLoggerHook': ('log_dir', *_LOGGER),
    'IterTimerHook': (),
}  # fmt: skip
_OF_SUFFIX = {
    'LrUpdaterHook': 'lr_config',
    'MomentumUpdaterHook': 'momentum_config',
    'OptimizerHook': 'optimizer_config',
    'CheckpointHook': 'checkpoint_config',
    'LoggerHook': 'log_config',
    'IterTimerHook': 'timer_config',
}
_BY_ITERATION = ('Cyclic', 'OneCycle')


class HookObject(NamedTuple):
    """A hook that was made in code.

    Args:
        key: The argument of ``register_training_hooks`` that it stands for.
        config: The config that means the same.
    """

    key: str
    config: cst.BaseExpression


def as_config(name: str, call: cst.Call) -> HookObject | None:
    """The config of a hook of MMCV; None for another one, or one with unpacked arguments.

    Args:
        name: The name of the class, if it is MMCV's.
        call: The call that makes the hook.
    """
    names = _POSITIONS.get(name)
    if names is None or any(arg.star for arg in call.args) or len(call.args) > len(names) + 9:
        return None
    given: dict[str, str] = {}
    for index, arg in enumerate(call.args):
        if arg.keyword is None and index >= len(names):
            return None
        given[arg.keyword.value if arg.keyword else names[index]] = code(arg.value)
    suffix = next(one for one in _OF_SUFFIX if name.endswith(one))
    key, stem = _OF_SUFFIX[suffix], name.removesuffix(suffix)
    if key in ('lr_config', 'momentum_config'):
        # Of a config, runners of iterations change the default; of an object they do not.
        by_epoch = {} if stem in _BY_ITERATION else {'by_epoch': 'True'}
        given = {'policy': repr(stem), **by_epoch, **given}
    elif key == 'optimizer_config':
        given = {'type': repr(name), **given}
    elif key == 'checkpoint_config':
        given = {'by_epoch': 'True', **given}
    elif key == 'log_config':
        hook = ', '.join([f'type={name!r}', *(f'{one}={text}' for one, text in given.items())])
        given = {'interval': given.get('interval', '10'), 'hooks': f'[dict({hook})]'}
    text = ', '.join(f'{one}={text}' for one, text in given.items())
    return HookObject(key, expression(f'dict({text})'))
