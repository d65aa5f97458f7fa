"""Processes, seeds, devices and where to start from: ``env_cfg``, ``randomness``,
``model_wrapper_cfg``, ``load_from`` and ``resume``."""

from __future__ import annotations

from mmengine.migrate._config.context import Config, Context

CONSUMES = (
    'dist_params', 'cudnn_benchmark', 'mp_start_method', 'opencv_num_threads',
    'find_unused_parameters', 'resume_from', 'auto_resume', 'seed', 'deterministic', 'diff_seed',
    'gpus', 'gpu_ids',
)  # fmt: skip


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
            if legacy.get('load_from') is not None:
                ctx.notes.info('load_from', 'it was not used: resume_from comes first.')
        converted['resume'] = source is not None or bool(legacy.get('auto_resume'))
    for key in ('gpus', 'gpu_ids'):
        if key in legacy:
            ctx.notes.info(key, 'choose devices when starting: CUDA_VISIBLE_DEVICES.')
    # The part of a config that logs has the scope, and otherwise the whole.
    is_whole = ctx.length is not None and 'model' in legacy
    if ctx.rules.scope and ('log_config' in legacy or is_whole) and 'default_scope' not in legacy:
        converted['default_scope'] = ctx.rules.scope
    return converted
