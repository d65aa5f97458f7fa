"""Hooks: signatures, and what a runner calls its parts."""

from __future__ import annotations

import re

import libcst as cst

from mmengine.migrate.code._base import Codemod
from mmengine.migrate.code._nodes import (
    code,
    dotted,
    expression,
    parameters,
    statements,
)
from mmengine.migrate.code._rewriter import Rewriter
from mmengine.migrate.code._source import Source
from mmengine.migrate.code.log_buffer import logged_value, logging_lines

_BEFORE = 'self, {0}, batch_idx, data_batch=None'
_AFTER = 'self, {0}, batch_idx, data_batch=None, outputs=None'
# Old method: new name and parameters.
_METHODS = {
    'before_train_iter': ('before_train_iter', _BEFORE),
    'before_val_iter': ('before_val_iter', _BEFORE),
    'after_train_iter': ('after_train_iter', _AFTER),
    'after_val_iter': ('after_val_iter', _AFTER),
    'before_iter': ('_before_iter', f"{_BEFORE}, mode='train'"),
    'after_iter': ('_after_iter', f"{_AFTER}, mode='train'"),
    'before_epoch': ('_before_epoch', "self, {0}, mode='train'"),
    'after_epoch': ('_after_epoch', "self, {0}, mode='train'"),
    'after_val_epoch': ('after_val_epoch', 'self, {0}, metrics=None'),
}
# What the runner has: the new expression for {0}, the runner.
_ATTRIBUTES = {
    'optimizer': '{0}.optim_wrapper.optimizer',
    '_max_iters': '{0}.max_iters',
    '_max_epochs': '{0}.max_epochs',
    '_epoch': '{0}.epoch',
    '_iter': '{0}.iter',
    'data_loader': '{0}.train_dataloader',
    '_hooks': '{0}.hooks',
}
# What a hook method is handed now, and the parameter of that name that it needs.
_HANDED = {'outputs': 'outputs', 'data_batch': 'data_batch', 'inner_iter': 'batch_idx',
           '_inner_iter': 'batch_idx'}  # fmt: skip
_CALLS = {
    'current_lr': "{0}.optim_wrapper.get_lr()['lr']",
    'current_momentum': "{0}.optim_wrapper.get_momentum()['momentum']",
}
_OWN_CALLS = {
    'every_n_iters': 'self.every_n_train_iters({0}, {1})',
    'every_n_inner_iters': 'self.every_n_inner_iters(batch_idx, {1})',
    'end_of_epoch': 'self.end_of_epoch({0}.train_dataloader, batch_idx)',
    'is_last_epoch': 'self.is_last_train_epoch({0})',
    'is_last_iter': 'self.is_last_train_iter({0})',
}
_NEEDS_BATCH = {'every_n_inner_iters', 'end_of_epoch'}
_UNKNOWN = {
    'log_buffer': 'log with runner.message_hub.update_scalar(name, value)',
    'meta': 'keep it in the message hub, or in state_dict() and load_state_dict() of the hook',
    'mode': 'the methods for train, val and test are told the mode',
    'batch_processor': 'model.train_step takes its place',
}


class Hooks(Codemod):
    """Subclasses of a hook of MMCV."""

    name = 'hooks'
    summary = "hooks' new signatures; runner.outputs, data_batch, optimizer, log_buffer, ..."
    triggers = ('Hook', 'runner')

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._known: set[str] = set()
        self._is_hook = [False]
        self._runner = ['']
        self._given: list[set[str]] = [set()]
        self._method = ['']
        self._asks_for_wrapper = [False]

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        """Note whether the class is a hook."""
        names = [self.source.name_of(base.value) for base in node.bases]
        is_hook = any(
            name in self._known or (name.endswith('Hook') and not name.startswith('mmengine.'))
            for name in names
        )
        self._is_hook.append(is_hook)
        if is_hook:
            self._known.add(node.name.value)

    def leave_ClassDef(
        self, original_node: cst.ClassDef, updated_node: cst.ClassDef
    ) -> cst.ClassDef:
        """The class is done."""
        self._is_hook.pop()
        return updated_node

    def visit_FunctionDef(self, node: cst.FunctionDef) -> None:
        """Note what the method calls its runner, and what it is handed."""
        names = [param.name.value for param in node.params.params]
        runner = names[1] if self._is_hook[-1] and len(names) > 1 and 'runner' in names[1] else ''
        self._runner.append(runner)
        self._method.append(node.name.value)
        text = self.source.text_of(node)
        self._asks_for_wrapper.append(bool(re.search(r"_wrapper\(|'module'|DataParallel", text)))
        given = set(names)
        if runner and _takes_runner_alone(node) and node.name.value in _METHODS:
            fresh = parameters(_METHODS[node.name.value][1].format(runner))
            given = {param.name.value for param in fresh.params}
        self._given.append(given)

    def leave_FunctionDef(
        self, original_node: cst.FunctionDef, updated_node: cst.FunctionDef
    ) -> cst.FunctionDef:
        """The new signature."""
        runner = self._runner.pop()
        self._given.pop()
        self._method.pop()
        self._asks_for_wrapper.pop()
        name = original_node.name.value
        if not runner or name not in _METHODS:
            return updated_node
        new_name, params = _METHODS[name]
        if not _takes_runner_alone(original_node):
            if new_name != name:
                self._marks[-1:] = [[f'{name} has another name and signature: {new_name}']]
            return updated_node
        changed = updated_node.with_changes(
            name=cst.Name(new_name), params=parameters(params.format(runner))
        )
        if 'super(' not in self.source.text_of(original_node):
            return changed
        calls = _SuperCalls(name, new_name, params.format(runner))
        return cst.ensure_type(changed.visit(calls), cst.FunctionDef)

    def leave_Subscript(
        self, original_node: cst.Subscript, updated_node: cst.Subscript
    ) -> cst.BaseExpression:
        """``runner.outputs['log_vars']['x']``: the outputs are the log variables now."""
        if not self._runner[-1]:
            return updated_node
        if code(original_node) == f"{self._runner[-1]}.outputs['log_vars']":
            return updated_node.value
        if code(original_node) == f"{self._runner[-1]}.outputs['num_samples']":
            self.mark('num_samples is not known here: take the length of data_batch')
        elif (
            code(original_node.value) == f'{self._runner[-1]}.outputs'
            and re.search(r"\[['\"](?!(loss|log_vars)\b)", code(original_node))
            and 'outputs' in self._given[-1]
        ):
            self.mark(f'{code(updated_node)}: outputs is what train_step returns, log variables')
        logged = logged_value(original_node, self._runner[-1])
        return expression(logged) if logged else updated_node

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        """A part of the runner by its new name."""
        runner = self._runner[-1]
        if runner and dotted(original_node) == f'{runner}.model.module':
            if self._asks_for_wrapper[-1]:
                return updated_node
            # Every model was wrapped under MMCV; here one is that trains in several processes.
            return expression(f"getattr({runner}.model, 'module', {runner}.model)")
        if not runner or dotted(original_node.value) != runner:
            return updated_node
        name = original_node.attr.value
        if name in _HANDED:
            if _HANDED[name] in self._given[-1]:
                return cst.Name(_HANDED[name])
            self.mark(f'{runner}.{name} is handed to before_ and after_ methods of an iteration')
        elif name in _ATTRIBUTES:
            return expression(_ATTRIBUTES[name].format(runner))
        elif name == 'mode' and (mode := self._mode()):
            return expression(mode)
        elif name in _UNKNOWN and name != 'log_buffer':
            self.mark(f'{runner}.{name}: {_UNKNOWN[name]}')
        return updated_node

    def _mode(self) -> str:
        """What ``runner.mode`` is in the method at hand; empty if that is not known."""
        if 'mode' in self._given[-1]:
            return 'mode'
        modes = ("'train'", "'val'")
        return next((mode for mode in modes if f'_{mode[1:-1]}_' in self._method[-1]), '')

    def leave_AssignTarget(
        self, original_node: cst.AssignTarget, updated_node: cst.AssignTarget
    ) -> cst.AssignTarget:
        """What is assigned to is not read: the whole statement changes, or nothing."""
        if f'{self._runner[-1]}.log_buffer' in code(original_node) and self._runner[-1]:
            return original_node
        return updated_node

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        """Questions to the runner and to the hook itself."""
        runner, name = self._runner[-1], dotted(original_node.func)
        if not runner:
            return updated_node
        owner, _, method = name.rpartition('.')
        if owner == runner and method in _CALLS and not updated_node.args:
            return expression(_CALLS[method].format(runner))
        if owner != 'self' or method not in _OWN_CALLS:
            return updated_node
        args = [code(arg.value) for arg in updated_node.args]
        if not args or args[0] != runner or len(args) > 2:
            return updated_node
        if method in _NEEDS_BATCH and 'batch_idx' not in self._given[-1]:
            self.mark(f'{method} needs the index of the batch, which methods of an iteration get')
            return updated_node
        return expression(_OWN_CALLS[method].format(*args, *([''] * (2 - len(args)))))

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement] | cst.RemovalSentinel:
        """Statements about the log buffer."""
        runner = self._runner[-1]
        if not runner or f'{runner}.log_buffer' not in code(original_node):
            return updated_node
        new = logging_lines(original_node, updated_node, runner, f'{runner}.message_hub')
        if new == []:
            return cst.RemoveFromParent()
        if new is None:
            if f'{runner}.log_buffer' in code(updated_node):
                self.mark(f'{runner}.log_buffer: {_UNKNOWN["log_buffer"]}')
            return updated_node
        lines = statements(''.join(f'{line}\n' for line in new))
        lines[0] = lines[0].with_changes(leading_lines=updated_node.leading_lines)
        return cst.FlattenSentinel(lines)


def _takes_runner_alone(method: cst.FunctionDef) -> bool:
    params = method.params
    return len(params.params) == 2 and not (
        params.kwonly_params or params.star_kwarg or isinstance(params.star_arg, cst.Param)
    )


class _SuperCalls(Rewriter):
    """``super().after_train_iter(runner)`` passes on what the method got."""

    def __init__(self, old: str, new: str, params: str) -> None:
        super().__init__()
        self._old, self._new = old, new
        names = [param.name.value for param in parameters(params).params[1:]]
        self._args = ', '.join(
            name if name in (names[0], 'batch_idx') else f'{name}={name}' for name in names
        )

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        func = original_node.func
        if (
            isinstance(func, cst.Attribute)
            and func.attr.value == self._old
            and code(func.value).startswith('super(')
            and len(original_node.args) == 1
        ):
            return expression(f'{code(func.value)}.{self._new}({self._args})')
        return updated_node
