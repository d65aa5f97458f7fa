"""Which engine a config was written for: MMCV 1.x, this one, or half and half."""

from __future__ import annotations

from collections.abc import Mapping, Set
from enum import Enum
from typing import Any

from mmengine.migrate._config.topics.model import is_loop

OF_MMCV: dict[str, tuple[str, ...]] = {
    'runner': ('train_cfg',),
    'total_epochs': ('train_cfg',),
    'total_iters': ('train_cfg',),
    'workflow': (),
    'checkpoint_config': ('default_hooks',),
    'log_config': ('default_hooks',),
    'optimizer': ('optim_wrapper',),
    'optimizers': ('optim_wrapper',),
    'optimizer_config': ('optim_wrapper',),
    'fp16': ('optim_wrapper',),
    'lr_config': ('param_scheduler',),
    'momentum_config': ('param_scheduler',),
    'data': ('train_dataloader', 'val_dataloader', 'test_dataloader'),
    'evaluation': ('val_evaluator',),
    'dist_params': ('env_cfg',),
    'resume_from': ('resume',),
}
"""Top-level keys that tell a config of MMCV 1.x, each with the keys of this engine in its place."""

OF_THIS_ENGINE = frozenset((
    'optim_wrapper', 'param_scheduler', 'train_dataloader', 'val_dataloader', 'test_dataloader',
    'val_evaluator', 'test_evaluator', 'default_hooks', 'env_cfg',
))  # fmt: skip
"""Top-level keys that only a config of this engine has."""

MEANINGFUL_HERE = OF_THIS_ENGINE | {
    'train_cfg', 'val_cfg', 'test_cfg', 'tta_model', 'tta_pipeline', 'randomness', 'visualizer',
    'log_processor', 'model_wrapper_cfg', 'resume', 'runner_type',
}  # fmt: skip
"""Top-level keys that ``Runner`` reads; in a config of MMCV 1.x they are variables."""

_NEVER_A_DICT = {'resume': bool, 'runner_type': str}

_MAY_BE_VARIABLES = frozenset(('optimizer', 'optimizers', 'data', 'fp16', 'runner', 'workflow'))
"""Names that configs of this engine use for their own variables."""


class Kind(Enum):
    """The engine that a config was written for."""

    LEGACY = 'MMCV 1.x'
    NEW = 'this engine'
    HALF = 'both'
    UNKNOWN = 'neither'


def kind_of(config: Mapping[str, Any]) -> Kind:
    """Tell a resolved config, or a part of one, by its top-level keys."""
    old = {key for key in OF_MMCV if key in config}
    loops = {key for key in ('train_cfg', 'test_cfg', 'val_cfg') if is_loop(config.get(key))}
    new = {key for key in OF_THIS_ENGINE & set(config) if is_for_runner(key, config[key])} | loops
    if not old:
        told = new or {'val_cfg', 'log_processor', 'randomness', 'tta_model'} & set(config)
        return Kind.NEW if told else Kind.UNKNOWN
    if not new:
        return Kind.LEGACY
    if old <= _MAY_BE_VARIABLES and all(_is_replaced(key, new) for key in old):
        return Kind.NEW
    return Kind.HALF


def is_for_runner(key: str, value: Any) -> bool:
    """Whether ``Runner`` could take ``value`` for this key: most take a dict, or a list of them."""
    if key in _NEVER_A_DICT:
        return isinstance(value, _NEVER_A_DICT[key])
    if isinstance(value, (list, tuple)):
        return all(isinstance(one, (Mapping, list, tuple)) for one in value)
    return value is None or isinstance(value, Mapping)


def _is_replaced(key: str, new: Set[str]) -> bool:
    """Whether a key of this engine is there that says what ``key`` said."""
    return not OF_MMCV[key] or not new.isdisjoint(OF_MMCV[key])
