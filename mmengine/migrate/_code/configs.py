"""Entries of a config, in the code that reads them, by the names of a migrated config."""

from __future__ import annotations

import libcst as cst

from mmengine.migrate._code._base import Codemod
from mmengine.migrate._code._nodes import code, dotted, expression
from mmengine.migrate._code._rewriter import Rewriter

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
    """``cfg.data.train`` of a config is ``cfg.train_dataloader.dataset``.

    ``cfg['data']['train']``, ``cfg.get('data')``, ``'data' in cfg`` and the dotted keys that
    ``merge_from_dict`` takes are read alike.
    """

    name = 'configs'
    summary = "cfg.data.train, cfg.optimizer, ... -> the names of a config after 'migrate config'"
    triggers = ('fromfile',)

    def _words(self) -> tuple[str, ...]:
        """What configs are called in this module."""
        return tuple(self.source.configs)

    def visit_Attribute(self, node: cst.Attribute) -> bool:
        """``cfg.data.train`` does not read ``cfg.data``."""
        return self._entry_of(node) not in _ENTRIES

    def visit_Subscript(self, node: cst.Subscript) -> bool:
        """``cfg['data']['train']`` does not read ``cfg['data']``."""
        return self._entry_of(node) not in _ENTRIES

    def _entry_of(self, node: cst.BaseExpression) -> str:
        """``data.train`` of ``cfg.data['train']``; empty where it is not an entry of a config."""
        path = _path(node)
        return '.'.join(path[1:]) if path and path[0] in self.source.configs else ''

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        """An entry by its new name."""
        entry = self._entry_of(original_node)
        if entry in _ENTRIES:
            return expression(f'{_path(original_node)[0]}.{_ENTRIES[entry]}')
        self._mark_gone(entry)
        return updated_node

    def leave_Subscript(
        self, original_node: cst.Subscript, updated_node: cst.Subscript
    ) -> cst.BaseExpression:
        """The same, in brackets."""
        entry = self._entry_of(original_node)
        if entry in _ENTRIES:
            keys = ''.join(f'[{key!r}]' for key in _ENTRIES[entry].split('.'))
            return expression(f'{_path(original_node)[0]}{keys}')
        self._mark_gone(entry)
        return updated_node

    def _mark_gone(self, entry: str) -> None:
        if entry in _GONE:
            self.mark(_GONE[entry])
        elif entry in _OF_SEVERAL:
            self.mark('optim_wrapper holds several by name, and each its optimizer')

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        """``cfg.get('fp16')``, ``cfg.merge_from_dict(...)`` and builders of the project."""
        config, _, method = dotted(original_node.func).partition('.')
        if config in self.source.configs and original_node.args:
            if method in ('get', 'pop'):
                return self._asked(config, method, original_node, updated_node)
            if method == 'merge_from_dict':
                return cst.ensure_type(updated_node.visit(_DottedKeys(self)), cst.Call)
        if dotted(original_node.func) in ('hasattr', 'getattr') and len(original_node.args) > 1:
            self._mark_name(original_node)
        name = self.source.name_of(original_node.func)
        is_builder = name.startswith(('mmcv.', 'mmengine.')) or name.endswith('Runner')
        for arg in original_node.args:
            if self._entry_of(arg.value) == 'optimizer' and not is_builder:
                self.mark(
                    f'{code(original_node.func)}: the config holds a wrapper, or a dict of '
                    'wrappers, each with its optimizer under .optimizer'
                )
        return updated_node

    def _asked(self, config: str, method: str, old: cst.Call, new: cst.Call) -> cst.BaseExpression:
        key = _text(old.args[0].value)
        if key in _GONE:
            self.mark(_GONE[key])
        if key not in _ENTRIES:
            return new
        *parents, last = _ENTRIES[key].split('.')
        owner = config + ''.join(f'.get({parent!r}, {{}})' for parent in parents)
        rest = ''.join(f', {code(arg.value)}' for arg in new.args[1:])
        return expression(f'{owner}.{method}({last!r}{rest})')

    def _mark_name(self, call: cst.Call) -> None:
        key = _text(call.args[1].value)
        if dotted(call.args[0].value) in self.source.configs and key in (*_GONE, *_ENTRIES):
            self.mark(_GONE.get(key) or f'{_ENTRIES[key]} takes the place of {key}')

    def leave_Comparison(
        self, original_node: cst.Comparison, updated_node: cst.Comparison
    ) -> cst.BaseExpression:
        """``'optimizer' in cfg`` and ``cfg.optimizer is not None``."""
        target = original_node.comparisons[0]
        is_in = isinstance(target.operator, (cst.In, cst.NotIn))
        key = _text(original_node.left)
        if is_in and dotted(target.comparator) in self.source.configs and key:
            if key in _GONE:
                self.mark(_GONE[key])
            elif key in _ENTRIES:
                # What there was one entry for may have none of its parts: ask for the first.
                new = _ENTRIES[key].partition('.')[0]
                return updated_node.with_changes(left=cst.SimpleString(repr(new)))
        if isinstance(target.operator, (cst.Is, cst.IsNot)):
            return updated_node.with_changes(
                left=self._presence(original_node.left, updated_node.left)
            )
        return updated_node

    def leave_If(self, original_node: cst.If, updated_node: cst.If) -> cst.If:
        """``if cfg.optimizer:`` asks whether there is one."""
        test = self._presence(original_node.test, updated_node.test)
        return updated_node.with_changes(test=test)

    def leave_UnaryOperation(
        self, original_node: cst.UnaryOperation, updated_node: cst.UnaryOperation
    ) -> cst.UnaryOperation:
        """``not cfg.optimizer``."""
        if not isinstance(original_node.operator, cst.Not):
            return updated_node
        old, new = original_node.expression, updated_node.expression
        return updated_node.with_changes(expression=self._presence(old, new))

    def leave_BooleanOperation(
        self, original_node: cst.BooleanOperation, updated_node: cst.BooleanOperation
    ) -> cst.BooleanOperation:
        """``cfg.optimizer and ...``."""
        return updated_node.with_changes(
            left=self._presence(original_node.left, updated_node.left),
            right=self._presence(original_node.right, updated_node.right),
        )

    def _presence(self, old: cst.BaseExpression, new: cst.BaseExpression) -> cst.BaseExpression:
        """A test for an entry: it tests the optional part of the new config."""
        entry = self._entry_of(old)
        if entry not in _ENTRIES:
            return new
        first = _ENTRIES[entry].partition('.')[0]
        return expression(f'{_path(old)[0]}.get({first!r})')


class _DottedKeys(Rewriter):
    """Keys of a dict such as ``'optimizer.lr'``."""

    def __init__(self, codemod: Configs) -> None:
        super().__init__()
        self._codemod = codemod

    def leave_DictElement(
        self, original_node: cst.DictElement, updated_node: cst.DictElement
    ) -> cst.DictElement:
        key = _text(original_node.key)
        parts = key.split('.')
        for count in range(len(parts), 0, -1):
            head, rest = '.'.join(parts[:count]), parts[count:]
            if head in _ENTRIES:
                new = '.'.join([_ENTRIES[head], *rest])
                return updated_node.with_changes(key=cst.SimpleString(repr(new)))
            if head in _GONE:
                self._codemod.mark(f'{key}: {_GONE[head]}')
                break
        return updated_node


def _text(node: cst.BaseExpression) -> str:
    value = node.evaluated_value if isinstance(node, cst.SimpleString) else ''
    return value if isinstance(value, str) else ''


def _path(node: cst.BaseExpression) -> list[str]:
    """``['cfg', 'data', 'train']`` of ``cfg.data['train']``; empty for other expressions."""
    if isinstance(node, cst.Name):
        return [node.value]
    if isinstance(node, cst.Attribute):
        head = _path(node.value)
        return [*head, node.attr.value] if head else []
    if isinstance(node, cst.Subscript) and len(node.slice) == 1:
        item = node.slice[0].slice
        key = _text(item.value) if isinstance(item, cst.Index) else ''
        head = _path(node.value)
        return [*head, key] if head and key else []
    return []
