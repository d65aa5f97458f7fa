"""Models with ``train_step(self, data, optimizer)``: become a BaseModel."""

from __future__ import annotations

from collections.abc import Sequence

import libcst as cst

from mmengine.migrate.code._base import Codemod, commented, marked
from mmengine.migrate.code._nodes import (
    body_of,
    code,
    dotted,
    entry,
    expression,
    keys,
    only,
    statements,
    with_body,
)
from mmengine.migrate.code._rewriter import Rewriter
from mmengine.migrate.code._source import Source
from mmengine.migrate.code.optimizer_steps import NEW_NAME

_MODULES = (
    'torch.nn.Module', 'torch.nn.modules.module.Module', 'torch.nn.modules.Module',
    'mmcv.runner.BaseModule', 'mmcv.runner.base_module.BaseModule', 'mmengine.model.BaseModule',
)  # fmt: skip
_FLAG = 'return_loss'
_OUTPUTS = ('loss', 'log_vars', 'num_samples')
_FORWARD = """\
def forward(self, inputs, data_samples=None, mode='tensor'):
    raise NotImplementedError
"""
_WEIGHTS = '# Logs take the mean over batches: each counts once, whatever its num_samples.'
_SIGNATURE = (
    'the signature is train_step(self, data, optim_wrapper), and a dict of logs is returned'
)
_VAL_LOSSES = "val_step computed losses for workflow ('val', n), and went: validation predicts here"
_FORWARD_TODO = "return what mode asks for; for 'predict' the predictions for validation, a list"


class Models(Codemod):
    """A model's base, ``forward``, ``train_step`` and ``val_step``."""

    name = 'models'
    summary = 'train_step(data, optimizer), val_step, forward(return_loss) -> BaseModel'
    triggers = ('train_step', _FLAG)

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self._inside = 0
        self._is_rebased = False

    def visit_ClassDef(self, node: cst.ClassDef) -> None:
        """Note that calls below are the model's own."""
        self._inside += self._is_model(node)

    def leave_ClassDef(
        self, original_node: cst.ClassDef, updated_node: cst.ClassDef
    ) -> cst.ClassDef:
        """Convert a class that OptimizerSteps recognised."""
        if not self._is_model(original_node):
            return updated_node
        self._inside -= 1
        if original_node.name.value not in self.source.models:
            return with_body(updated_node, [self._other(item) for item in body_of(updated_node)])
        self._is_rebased = self._becomes_base_model(original_node)
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
        if '_parse_losses' in own or '_parse_losses' not in self.source.text_of(original_node):
            return changed
        return cst.ensure_type(changed.visit(_ParseLosses()), cst.ClassDef)

    def _is_model(self, node: cst.ClassDef) -> bool:
        """Whether it steps by itself, or is called with ``return_loss``."""
        return node.name.value in self.source.models or any(
            isinstance(item, cst.FunctionDef) and _has_parameter(item, _FLAG)
            for item in body_of(node)
        )

    def _other(self, item: cst.BaseStatement) -> cst.BaseStatement:
        """A method of a class without ``train_step(self, data, optimizer)``."""
        if not isinstance(item, cst.FunctionDef):
            return item
        if item.name.value == 'train_step':
            return marked(item, [_SIGNATURE])
        return self._forward(item) if _has_parameter(item, _FLAG) else item

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        """``return_loss=`` of a call becomes its ``mode=``."""
        given = [arg for arg in updated_node.args if arg.keyword and arg.keyword.value == _FLAG]
        if not given:
            return updated_node
        if not self._inside:
            self.mark('model.test_step(data) moves the batch to the device as well, and predicts')
        args = [_mode_of(arg) if arg in given else arg for arg in updated_node.args]
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
            return self._train_step(method)
        if name == 'val_step':
            return self._val_step(method)
        if name == 'forward' or _has_parameter(method, _FLAG):
            return self._forward(method)
        if name == '__init__':
            return cst.ensure_type(method.visit(_InitCfg(self._is_rebased)), cst.FunctionDef)
        return method

    def _forward(self, method: cst.FunctionDef) -> cst.FunctionDef:
        if not _has_parameter(method, _FLAG):
            takes_mode = _has_parameter(method, 'mode') or method.params.star_kwarg is not None
            if method.name.value == 'forward' and not takes_mode:
                self.mark("forward gets mode= here: 'loss', 'predict' or 'tensor'")
            return method
        if method.name.value == 'forward' and _FLAG not in code(method.body):
            self.mark(
                f'forward did not look at {_FLAG}: return a list of predictions for '
                "mode == 'predict'"
            )
        return cst.ensure_type(method.visit(_Modes()), cst.FunctionDef)

    def _val_step(self, method: cst.FunctionDef) -> cst.FunctionDef:
        self.mark('val_step returns the predictions of the batch here, a list for the evaluator')
        params = [param for param in method.params.params if param.name.value != NEW_NAME]
        params[-1] = params[-1].with_changes(comma=cst.MaybeSentinel.DEFAULT)
        return method.with_changes(params=method.params.with_changes(params=params))

    def _train_step(self, method: cst.FunctionDef) -> cst.FunctionDef:
        body = body_of(method)
        data = method.params.params[1].name.value
        intro: list[cst.BaseStatement] = []
        if body and _is_docstring(body[0]):
            intro, body = body[:1], body[1:]
        returned = only(body[-1]) if body else None
        if (
            not isinstance(returned, cst.Return)
            or returned.value is None
            or sum(isinstance(node, cst.Return) for node in _walk(method)) != 1
            or (_is_dict(returned.value) and not _is_told(returned.value, code(method.body)))
        ):
            self.mark(
                'train_step returns what is logged, a dict, from one place, after '
                f'{NEW_NAME}.update_params(loss)'
            )
            return method
        intro += statements(f'{data} = self.data_preprocessor({data}, True)\n')
        if any(NEW_NAME in code(statement) for statement in body):
            new = [*body[:-1], *_logged(body[-1], returned.value)]
        else:
            new = _with_update(body, returned.value)
        lost = _further_outputs(returned.value, body)
        if lost:
            self.mark(
                f'{", ".join(lost)}: only what is logged is returned here; what a hook took from '
                'runner.outputs can be an attribute of the model'
            )
        if 'num_samples' in self.source.text_of(method):
            new[-1] = commented(new[-1], [_WEIGHTS])
        return with_body(method, [*intro, *new])


def _with_update(
    body: Sequence[cst.BaseStatement], value: cst.BaseExpression
) -> list[cst.BaseStatement]:
    """A step whose loss a hook of MMCV took to the optimizer."""
    inside = list(body[:-1])
    loss, log_vars = entry(value, 'loss'), entry(value, 'log_vars')
    if loss is not None:
        loss_text = code(loss)
        log_text = code(log_vars) if log_vars is not None else f'dict(loss={loss_text})'
    else:
        outputs = dotted(value) if isinstance(value, cst.Name) else 'outputs'
        if outputs != code(value):
            inside += statements(f'{outputs} = {code(value)}\n')
        loss_text, log_text = f"{outputs}['loss']", f"{outputs}['log_vars']"
    after = statements(f'{NEW_NAME}.update_params({loss_text})\nreturn {log_text}\n')
    if not inside:
        return after
    context = cst.ensure_type(
        statements(f'with {NEW_NAME}.optim_context(self):\n    pass\n')[0], cst.With
    )
    block = cst.ensure_type(context.body, cst.IndentedBlock)
    return [context.with_changes(body=block.with_changes(body=inside)), *after]


def _logged(statement: cst.BaseStatement, value: cst.BaseExpression) -> list[cst.BaseStatement]:
    """The return of a step that has moved its optimizers itself."""
    log_vars = entry(value, 'log_vars')
    if log_vars is not None:
        return statements(f'return {code(log_vars)}\n')
    if isinstance(value, cst.Name):
        return statements(f"return {value.value}.get('log_vars', {{}})\n")
    if _is_dict(value):
        return statements('return {}\n')
    return statements(f"return {code(value)}.get('log_vars', {{}})\n")


def _further_outputs(returned: cst.BaseExpression, body: Sequence[cst.BaseStatement]) -> list[str]:
    """What a step returned for hooks, beside what a runner of MMCV looked at."""
    if isinstance(returned, cst.Name):
        for small in map(only, body):
            if isinstance(small, cst.Assign) and dotted(small.targets[0].target) == returned.value:
                return _further_outputs(small.value, ())
    return [name for name in keys(returned) if name not in _OUTPUTS]


def _is_dict(node: cst.BaseExpression) -> bool:
    return isinstance(node, cst.Dict) or (
        isinstance(node, cst.Call) and dotted(node.func) == 'dict'
    )


def _is_told(outputs: cst.BaseExpression, text: str) -> bool:
    """Whether a written out dict has the loss, or the method has stepped its optimizers."""
    return entry(outputs, 'loss') is not None or NEW_NAME in text


def _only_predicts(method: cst.FunctionDef) -> bool:
    """Whether it is what BaseModel does: ``return self(..., mode='predict')``."""
    body = [statement for statement in body_of(method) if not _is_docstring(statement)]
    returned = only(body[0]) if len(body) == 1 else None
    call = returned.value if isinstance(returned, cst.Return) else None
    return (
        isinstance(call, cst.Call)
        and dotted(call.func) in ('self', 'self.forward')
        and len(call.args) == 2
        and bool(call.args[0].star)
        and code(call.args[1].value) == "'predict'"
    )


def _mode_of(arg: cst.Arg) -> cst.Arg:
    text = code(arg.value)
    modes = {'True': "'loss'", 'False': "'predict'", _FLAG: 'mode'}
    value = modes.get(text, f"'loss' if {text} else 'predict'")
    return arg.with_changes(keyword=cst.Name('mode'), value=expression(value))


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


def _is_docstring(statement: cst.CSTNode) -> bool:
    small = only(statement)
    return isinstance(small, cst.Expr) and isinstance(
        small.value, (cst.SimpleString, cst.ConcatenatedString)
    )


def _walk(node: cst.CSTNode) -> list[cst.CSTNode]:
    """``node`` and what is in it, nested functions left out."""
    found = [node]
    for child in node.children:
        if not isinstance(child, (cst.FunctionDef, cst.Lambda, cst.ClassDef)):
            found += _walk(child)
    return found


class _Modes(Rewriter):
    """``return_loss`` in a signature and in tests of it."""

    def leave_Param(self, original_node: cst.Param, updated_node: cst.Param) -> cst.Param:
        if original_node.name.value != _FLAG:
            return updated_node
        default = updated_node.default
        if default is not None:
            # Calls that do not say return_loss= go on meaning what they meant.
            is_loss = dotted(default) == 'True'
            default = expression("'loss'" if is_loss else "'tensor'")
        return updated_node.with_changes(name=cst.Name('mode'), default=default)

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.Attribute:
        return updated_node.with_changes(attr=original_node.attr)

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.BaseExpression:
        if original_node.value != _FLAG:
            return updated_node
        return expression("(mode == 'loss')")

    def leave_Arg(self, original_node: cst.Arg, updated_node: cst.Arg) -> cst.Arg:
        return updated_node.with_changes(keyword=original_node.keyword)

    def leave_If(self, original_node: cst.If, updated_node: cst.If) -> cst.If:
        if dotted(original_node.test) == _FLAG:
            return updated_node.with_changes(test=expression("mode == 'loss'"))
        return updated_node


class _InitCfg(Rewriter):
    """``init_cfg`` is the second argument of BaseModel: give it by name.

    Args:
        is_rebased: Whether the base was a BaseModule, of which it was the first.
    """

    def __init__(self, is_rebased: bool) -> None:
        super().__init__()
        self._is_rebased = is_rebased

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        func, args = updated_node.func, updated_node.args
        if (
            isinstance(func, cst.Attribute)
            and func.attr.value == '__init__'
            and code(func.value).startswith('super(')
            and len(args) == 1
            and args[0].keyword is None
            and not args[0].star
            and (self._is_rebased or dotted(args[0].value) == 'init_cfg')
        ):
            call = cst.ensure_type(expression(f'f(init_cfg={code(args[0].value)})'), cst.Call)
            return updated_node.with_changes(args=call.args)
        return updated_node


class _ParseLosses(Rewriter):
    """The method has lost its underscore."""

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.Attribute:
        if dotted(updated_node) == 'self._parse_losses':
            return updated_node.with_changes(attr=cst.Name('parse_losses'))
        return updated_node
