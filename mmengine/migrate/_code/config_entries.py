"""What became of each entry of a legacy config, for the code that reads it."""

from __future__ import annotations

from mmengine.migrate._code.legacy_runner import as_code
from mmengine.migrate._config.convert import LEGACY_KEYS, OWNERS
from mmengine.migrate._config.topics.environment import MOVED, NEW_DICTS
from mmengine.migrate._config.topics.recording import META

_DEVICES = (
    '{} is not in a converted config: CUDA_VISIBLE_DEVICES and the launcher choose devices, and '
    'mmengine.dist.get_world_size() is their number'
)
ENTRIES = {
    'data.train': 'train_dataloader.dataset',
    'data.val': 'val_dataloader.dataset',
    'data.test': 'test_dataloader.dataset',
    'data.samples_per_gpu': 'train_dataloader.batch_size',
    'data.workers_per_gpu': 'train_dataloader.num_workers',
    'total_epochs': 'train_cfg.max_epochs',
    'total_iters': 'train_cfg.max_iters',
    'optimizer': 'optim_wrapper.optimizer',
    'optimizer.paramwise_cfg': 'optim_wrapper.paramwise_cfg',
    'optimizer.constructor': 'optim_wrapper.constructor',
    'runner.max_epochs': 'train_cfg.max_epochs',
    'runner.max_iters': 'train_cfg.max_iters',
    **MOVED,
}
"""Entries that have another name in a migrated config."""

_TOLD = {
    'evaluation': 'val_cfg and val_evaluator take the place of evaluation',
    'runner': 'train_cfg takes the place of runner',
    'lr_config': 'param_scheduler takes the place of lr_config',
    'momentum_config': 'param_scheduler takes the place of momentum_config',
    'optimizer_config': 'optim_wrapper takes the place of optimizer_config',
    'fp16': "optim_wrapper=dict(type='AmpOptimWrapper', ...) takes the place of fp16",
    'checkpoint_config': 'default_hooks.checkpoint takes the place of checkpoint_config',
    'checkpoint_config.meta': META,
    'log_config': 'default_hooks.logger takes the place of log_config',
    'workflow': 'train_cfg.val_interval takes the place of workflow',
    'resume_from': 'load_from with resume=True takes the place of resume_from',
    'data': 'train_dataloader, val_dataloader and test_dataloader take the place of data',
    'gpu_ids': _DEVICES.format('gpu_ids'),
    'gpus': _DEVICES.format('gpus'),
}


def _instead_of(key: str) -> str:
    """What takes the place of a legacy key, by the table of the conversion of configs."""
    successors = [new for new, owners in OWNERS.items() if key in owners]
    if not successors:
        return f'{key} is not in a converted config'
    verb = 'takes' if len(successors) == 1 else 'take'
    return f'{", ".join(successors)} {verb} the place of {key}'


# Every key that the conversion of configs takes out is here or in ENTRIES.
GONE = {
    **{key: _instead_of(key) for key in sorted(LEGACY_KEYS - ENTRIES.keys())},
    **_TOLD,
}
"""What is in no migrated config under any name, and what to do about it."""


def dict_of(config: str, key: str, *, made: bool = False) -> tuple[str, str]:
    """Code for the dict that holds a key of ``MOVED`` now, which may be absent, and its name there.

    Args:
        config: Code for the config.
        key: The legacy key.
        made: Put the dict into the config where it is absent.
    """
    *parents, name = MOVED[key].split('.')
    method = 'setdefault' if made else 'get'
    for parent in parents:
        default = as_code(NEW_DICTS[parent]) if made and parent in NEW_DICTS else '{}'
        config += f'.{method}({parent!r}, {default})'
    return config, name


def value_of(config: str, key: str, default: str = '') -> str:
    """Code for the value of a key of ``MOVED``, or a default where it is absent.

    Args:
        config: Code for the config.
        key: The legacy key.
        default: Code for the default; empty for None.
    """
    owner, name = dict_of(config, key)
    return f'{owner}.get({name!r}{default and f", {default}"})'
