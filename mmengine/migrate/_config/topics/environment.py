"""Processes, seeds, devices and where to start from: ``env_cfg``, ``randomness``,
``model_wrapper_cfg``, ``load_from`` and ``resume``."""

from __future__ import annotations

from typing import Any

from mmengine.migrate._config.context import Config, Context

MOVED = {
    'cudnn_benchmark': 'env_cfg.cudnn_benchmark',
    'mp_start_method': 'env_cfg.mp_cfg.mp_start_method',
    'opencv_num_threads': 'env_cfg.mp_cfg.opencv_num_threads',
    'dist_params': 'env_cfg.dist_cfg',
    'seed': 'randomness.seed',
    'deterministic': 'randomness.deterministic',
    'diff_seed': 'randomness.diff_rank_seed',
    'find_unused_parameters': 'model_wrapper_cfg.find_unused_parameters',
}
"""Top-level keys whose values are kept under another name, in a dict that may be absent."""

NEW_DICTS: dict[str, dict[str, Any]] = {
    'model_wrapper_cfg': {'type': 'MMDistributedDataParallel', 'broadcast_buffers': False},
}
"""What a dict of ``MOVED`` holds before any value is put into it."""

CONSUMES = (*MOVED, 'resume_from', 'auto_resume', 'gpus', 'gpu_ids')


def convert_environment(ctx: Context) -> Config:
    """``env_cfg``, ``randomness``, ``model_wrapper_cfg``, ``resume`` and their like."""
    legacy = ctx.legacy
    converted: Config = {}
    for old, new in MOVED.items():
        if old in legacy and not (old == 'dist_params' and legacy[old] is None):
            head, *parents, name = new.split('.')
            target = converted.setdefault(head, dict(NEW_DICTS.get(head, {})))
            for parent in parents:
                target = target.setdefault(parent, {})
            target[name] = legacy[old]
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
