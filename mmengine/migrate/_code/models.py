"""Models with ``train_step(self, data, optimizer)``: become a BaseModel."""

from __future__ import annotations

import re

import libcst as cst

from mmengine.migrate._code._base import Codemod, marked
from mmengine.migrate._code._nodes import (
    body_of,
    code,
    dotted,
    is_docstring,
    only,
    statements,
    with_body,
)
from mmengine.migrate._code._source import Source
from mmengine.migrate._code.forward_modes import FLAG, InitCfg, Modes, ParseLosses, mode_of
from mmengine.migrate._code.optimizer_steps import NEW_NAME
from mmengine.migrate._code.step_aliases import set_steps, step_aliases
from mmengine.migrate._code.train_steps import converted_step

_MODULES = (
    'torch.nn.Module', 'torch.nn.modules.module.Module', 'torch.nn.modules.Module',
    'mmcv.runner.BaseModule', 'mmcv.runner.base_module.BaseModule', 'mmengine.model.BaseModule',
)  # fmt: skip
_FORWARD = """\
def forward(self, inputs, data_samples=None, mode='tensor'):
    raise NotImplementedError
"""
_SIGNATURE = (
    'the signature is train_step(self, data, optim_wrapper), and a dict of logs is returned'
)
_VAL_LOSSES = "val_step computed losses for workflow ('val', n), and went: validation predicts here"
_FORWARD_TODO = "return what mode asks for; for 'predict' the predictions for validation, a list"


_ALIAS = (
    '{} was {}, which trains and takes an optimizer: it went, BaseModel.{} predicts the batch here'
)
_SET = '{} is {}, which trains: drop the line, val_step and test_step of a BaseModel predict'
_LOSSES = (
    'self._parse_losses may be a method of {}, which is not known here; of a BaseModel it is '
    'self.parse_losses'
)


class Models(Codemod):
    """A model's base, ``forward``, ``train_step`` and ``val_step``."""

    name = 'models'
    summary = 'train_step(data, optimizer), val_step, forward(return_loss) -> BaseModel'
    triggers = ('train_step', FLAG)

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._inside = 0
        self._is_rebased = False
        self._is_half = False
        self._calls_itself = False

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        """Note that calls below are the model's own."""
        self._inside += self._is_model(node)

    def leave_ClassDef(
        self, original_node: cst.ClassDef, updated_node: cst.ClassDef
    ) -> cst.ClassDef:
        """Convert a class that OptimizerSteps recognised."""
        updated_node = self._without_aliases(updated_node)
        if not self._is_model(original_node):
            return updated_node
        self._inside -= 1
        if original_node.name.value not in self.source.models:
            return with_body(updated_node, [self._other(item) for item in body_of(updated_node)])
        self._is_rebased = self._becomes_base_model(original_node)
        self._is_half = original_node.name.value in self.source.half_precision
        self._calls_itself = _calls_itself(original_node)
        body: list[cst.BaseStatement] = []
        own = _own_names(updated_node)
        for item in body_of(updated_node):
            if not isinstance(item, cst.FunctionDef):
                body.append(item)
                continue
            if item.name.value == 'val_step':
                if _only_predicts(item):
                    continue
                if self._is_rebased and 'log_vars' in self.source.text_of(item):
                    self.mark(_VAL_LOSSES)
                    continue
            self._marks.append([])
            method = self._method(item)
            body.append(marked(method, self._marks.pop() or ()))
        changed = self._with_base(updated_node)
        if 'forward' not in own and self._becomes_base_model(updated_node):
            forward = statements(_FORWARD)[0].with_changes(leading_lines=[cst.EmptyLine(False)])
            body.append(marked(forward, [_FORWARD_TODO]))
        changed = with_body(changed, body)
        if '_parse_losses' not in self.source.text_of(original_node):
            return changed
        bases = [self.source.name_of(base.value) for base in original_node.bases]
        if '_parse_losses' in own or self.source.classes.inherits_method(bases, '_parse_losses'):
            return changed
        unknown = [
            one
            for one in self.source.classes.outside(bases)
            if one not in _MODULES and not one.startswith(('mmcv.', 'mmengine.', 'torch.'))
        ]
        if unknown and not self._is_rebased:
            return marked(changed, [_LOSSES.format(unknown[0])])
        return cst.ensure_type(changed.visit(ParseLosses()), cst.ClassDef)

    def _without_aliases(self, node: cst.ClassDef) -> cst.ClassDef:
        """``node`` without ``val_step = train_step`` and the like."""
        body = []
        for item in body_of(node):
            names, value = step_aliases(item)
            body += [item] if not names else []
            for name in names:
                self.mark(_ALIAS.format(name, value, name))
        return node if len(body) == len(body_of(node)) else with_body(node, body)

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine:
        """``Net.val_step = Net.train_step`` outside of the class."""
        for name, value in set_steps(original_node):
            self.mark(_SET.format(name, value))
        return updated_node

    def _is_model(self, node: cst.ClassDef) -> bool:
        """Whether it steps by itself, or is called with ``return_loss``."""
        return node.name.value in self.source.models or any(
            isinstance(item, cst.FunctionDef) and _has_parameter(item, FLAG)
            for item in body_of(node)
        )

    def _other(self, item: cst.BaseStatement) -> cst.BaseStatement:
        """A method of a class without ``train_step(self, data, optimizer)``."""
        if not isinstance(item, cst.FunctionDef):
            return item
        if item.name.value == 'train_step':
            return marked(item, [_SIGNATURE])
        return self._forward(item) if _has_parameter(item, FLAG) else item

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        """``return_loss=`` of a call becomes its ``mode=``."""
        given = [arg for arg in updated_node.args if arg.keyword and arg.keyword.value == FLAG]
        if not given:
            return updated_node
        if not self._inside:
            self.mark('model.test_step(data) moves the batch to the device as well, and predicts')
        args = [mode_of(arg) if arg in given else arg for arg in updated_node.args]
        return updated_node.with_changes(args=args)

    def _with_base(self, node: cst.ClassDef) -> cst.ClassDef:
        bases = []
        known = False
        for base in node.bases:
            name = self.source.name_of(base.value)
            if name in _MODULES:
                base = base.with_changes(value=self.want('mmengine.model', 'BaseModel'))
                known = True
            known = known or name in self.source.models or name.endswith('.BaseModel')
            bases.append(base)
        if not known:
            self.mark('Runner trains a BaseModel of mmengine.model: see that a base class is one')
        return node.with_changes(bases=bases)

    def _becomes_base_model(self, node: cst.ClassDef) -> bool:
        return any(self.source.name_of(base.value) in _MODULES for base in node.bases)

    def _method(self, method: cst.FunctionDef) -> cst.FunctionDef:
        name = method.name.value
        if name == 'train_step':
            classes = self.source.classes
            step = converted_step(
                method,
                self._is_half,
                classes.outputs_read(),
                shows_loss=classes.reads_losses(),
            )
            for reason in step.reasons:
                self.mark(reason)
            return step.method
        if name == 'val_step':
            return self._val_step(method)
        if name == 'forward' or _has_parameter(method, FLAG):
            return self._forward(method)
        if name == '__init__':
            return cst.ensure_type(method.visit(InitCfg(self._is_rebased)), cst.FunctionDef)
        return method

    def _forward(self, method: cst.FunctionDef) -> cst.FunctionDef:
        if not _has_parameter(method, FLAG):
            takes_mode = _has_parameter(method, 'mode') or method.params.star_kwarg is not None
            is_alone = self._calls_itself or not self.source.classes.validates
            if method.name.value == 'forward' and not takes_mode and not is_alone:
                self.mark("forward gets mode= here: 'loss', 'predict' or 'tensor'")
            return method
        ignores_flag = method.name.value == 'forward' and FLAG not in code(method.body)
        # Where nothing is validated or tested, a forward that trains needs no other mode.
        if ignores_flag and self.source.classes.validates:
            self.mark(
                f'forward did not look at {FLAG}: return a list of predictions for '
                "mode == 'predict'"
            )
        return cst.ensure_type(method.visit(Modes()), cst.FunctionDef)

    def _val_step(self, method: cst.FunctionDef) -> cst.FunctionDef:
        self.mark('val_step returns the predictions of the batch here, a list for the evaluator')
        params = [param for param in method.params.params if param.name.value != NEW_NAME]
        params[-1] = params[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
        return method.with_changes(params=method.params.with_changes(params=params))


def _calls_itself(node: cst.ClassDef) -> bool:
    """Whether ``train_step`` calls the model as it likes, so that ``forward`` needs no mode."""
    for item in body_of(node):
        if isinstance(item, cst.FunctionDef) and item.name.value == 'train_step':
            return re.search(r'\bself(\.forward)?\(', code(item)) is not None
    return False


def _only_predicts(method: cst.FunctionDef) -> bool:
    """Whether it is what BaseModel does: ``return self(..., mode='predict')``."""
    body = [statement for statement in body_of(method) if not is_docstring(statement)]
    returned = only(body[0]) if len(body) == 1 else None
    call = returned.value if isinstance(returned, cst.Return) else None
    return (
        isinstance(call, cst.Call)
        and dotted(call.func) in ('self', 'self.forward')
        and len(call.args) == 2
        and bool(call.args[0].star)
        and code(call.args[1].value) == "'predict'"
    )


def _has_parameter(method: cst.FunctionDef, name: str) -> bool:
    params = (*method.params.params, *method.params.kwonly_params)
    return any(param.name.value == name for param in params)


def _own_names(node: cst.ClassDef) -> set[str]:
    """Methods and class attributes."""
    names = set()
    for item in body_of(node):
        small = only(item)
        if isinstance(item, cst.FunctionDef):
            names.add(item.name.value)
        elif isinstance(small, cst.Assign):
            names.update(dotted(target.target) for target in small.targets)
    return names
