"""Entries of a config, in the code that reads them, by the names of a migrated config."""

from __future__ import annotations

import libcst as cst

from mmengine.migrate.code._base import Codemod
from mmengine.migrate.code._nodes import dotted, expression

_ENTRIES = {
    'data.train': 'train_dataloader.dataset',
    'data.val': 'val_dataloader.dataset',
    'data.test': 'test_dataloader.dataset',
    'data.samples_per_gpu': 'train_dataloader.batch_size',
    'data.workers_per_gpu': 'train_dataloader.num_workers',
    'total_epochs': 'train_cfg.max_epochs',
    'total_iters': 'train_cfg.max_iters',
    'optimizer': 'optim_wrapper.optimizer',
    'runner.max_epochs': 'train_cfg.max_epochs',
    'runner.max_iters': 'train_cfg.max_iters',
    'dist_params': 'env_cfg.dist_cfg',
    'cudnn_benchmark': 'env_cfg.cudnn_benchmark',
}
# What is in no migrated config under any name, and what to do about it.
_GONE = {
    'evaluation': 'val_cfg and val_evaluator take the place of evaluation',
}


class Configs(Codemod):
    """``cfg.data.train`` of a config is ``cfg.train_dataloader.dataset``."""

    name = 'configs'
    summary = "cfg.data.train, cfg.optimizer, ... -> the names of a config after 'migrate config'"
    triggers = ('fromfile',)

    def _words(self) -> tuple[str, ...]:
        """What configs are called in this module."""
        return tuple(f'{name}.' for name in self.source.configs)

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        """An entry by its new name."""
        config, _, entry = dotted(original_node).partition('.')
        if config not in self.source.configs or not entry:
            return updated_node
        if entry in _ENTRIES:
            return expression(f'{config}.{_ENTRIES[entry]}')
        if entry in _GONE:
            self.mark(_GONE[entry])
        return updated_node
