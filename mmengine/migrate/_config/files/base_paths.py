"""Where a variable of a base, ``_base_.optimizer.lr``, stands after the base is converted."""

from __future__ import annotations

import re
from typing import Any

ABSENT: Any = object()

_PATH = re.compile(r'_base_\.([\w.]+)')
_HOMES = {
    'optimizer': ('optim_wrapper.optimizer',),
    'optimizer_config.grad_clip': ('optim_wrapper.clip_grad',),
    'data.train': ('train_dataloader.dataset',),
    'data.val': ('val_dataloader.dataset',),
    'data.test': ('test_dataloader.dataset',),
    'data.samples_per_gpu': ('train_dataloader.batch_size',),
    'data.videos_per_gpu': ('train_dataloader.batch_size',),
    'data.workers_per_gpu': ('train_dataloader.num_workers',),
    'runner': ('train_cfg',),
    'total_epochs': ('train_cfg.max_epochs',),
    'total_iters': ('train_cfg.max_iters',),
    'evaluation.interval': ('train_cfg.val_interval',),
    'evaluation.metric': ('val_evaluator.metric',),
    'checkpoint_config': ('default_hooks.checkpoint',),
    'log_config.interval': ('default_hooks.logger.interval',),
    'train_cfg': ('model.train_cfg',),
    'test_cfg': ('model.test_cfg',),
    'lr_config.step': ('param_scheduler.0.milestones', 'param_scheduler.1.milestones'),
}


def value_at(config: Any, path: str) -> Any:
    """What a dotted path leads to in a config; ``ABSENT`` where it leads nowhere."""
    for part in path.split('.'):
        if isinstance(config, dict) and part in config:
            config = config[part]
        elif isinstance(config, (list, tuple)) and part.isdigit() and int(part) < len(config):
            config = config[int(part)]
        else:
            return ABSENT
    return config


def path_after(path: str, before: Any, after: Any) -> str | None:
    """The path in ``after`` of what ``path`` leads to in ``before``; None where it is gone."""
    wanted = value_at(before, path)
    for one in (path, *_candidates(path)):
        found = value_at(after, one)
        if found is not ABSENT and found == wanted and type(found) is type(wanted):
            return one
    return None


def _candidates(path: str) -> list[str]:
    parts = path.split('.')
    return [
        '.'.join([home, *parts[count:]])
        for count in range(len(parts), 0, -1)
        for home in _HOMES.get('.'.join(parts[:count]), ())
    ]


def with_new_paths(code: str, before: Any, after: Any) -> str:
    """``code`` with each variable of a base under its new path, where it has one."""
    if '_base_' not in code:
        return code

    def renamed(match: re.Match[str]) -> str:
        new = path_after(match[1], before, after)
        return match[0] if new is None else f'_base_.{new}'

    return _PATH.sub(renamed, code)
