"""Entries of a config, in the code that reads them, by the names of a migrated config."""

from __future__ import annotations

import libcst as cst

from mmengine.migrate.code._base import Codemod
from mmengine.migrate.code._nodes import code, dotted, expression

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
    'runner': 'train_cfg takes the place of runner',
    'lr_config': 'param_scheduler takes the place of lr_config',
    'momentum_config': 'param_scheduler takes the place of momentum_config',
    'optimizer_config': 'optim_wrapper takes the place of optimizer_config',
    'fp16': "optim_wrapper=dict(type='AmpOptimWrapper', ...) takes the place of fp16",
    'checkpoint_config': 'default_hooks.checkpoint takes the place of checkpoint_config',
    'log_config': 'default_hooks.logger takes the place of log_config',
    'workflow': 'train_cfg.val_interval takes the place of workflow',
    'resume_from': 'load_from with resume=True takes the place of resume_from',
    'data': 'train_dataloader, val_dataloader and test_dataloader take the place of data',
}
_OF_SEVERAL = ('optimizer.items', 'optimizer.values', 'optimizer.keys')


class Configs(Codemod):
    """``cfg.data.train`` of a config is ``cfg.train_dataloader.dataset``."""

    name = 'configs'
    summary = "cfg.data.train, cfg.optimizer, ... -> the names of a config after 'migrate config'"
    triggers = ('fromfile',)

    def _words(self) -> tuple[str, ...]:
        """What configs are called in this module."""
        return tuple(f'{name}.' for name in self.source.configs)

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        """``cfg.data.train`` is no reading of ``cfg.data``."""
        config, _, entry = dotted(node).partition('.')
        return config not in self.source.configs or entry not in _ENTRIES

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
        elif entry in _OF_SEVERAL:
            self.mark('optim_wrapper holds several by name, and each its optimizer')
        return updated_node

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        """``cfg.get('fp16')``: no mistake to be seen, but it is never there."""
        config, _, method = dotted(original_node.func).partition('.')
        if config in self.source.configs and method in ('get', 'pop') and original_node.args:
            key = code(original_node.args[0].value).strip('\'"')
            if key in _GONE:
                self.mark(_GONE[key])
        return updated_node
