"""Subclasses of OptimizerHook: become optimizer wrappers."""

from __future__ import annotations

import re
from collections.abc import Sequence

import libcst as cst

from mmengine.migrate.code._base import Codemod, marked
from mmengine.migrate.code._nodes import (
    body_of,
    call_of,
    code,
    dotted,
    expression,
    only,
    parameters,
    statements,
    with_body,
)
from mmengine.migrate.code._rewriter import Rewriter
from mmengine.migrate.code.log_buffer import logging_lines

_BASES = {
    'OptimizerHook': 'OptimWrapper',
    'GradientCumulativeOptimizerHook': 'OptimWrapper',
    'Fp16OptimizerHook': 'AmpOptimWrapper',
    'GradientCumulativeFp16OptimizerHook': 'AmpOptimWrapper',
}
_NEW_NAMES = {'grad_clip': 'clip_grad', 'cumulative_iters': 'accumulative_counts'}
_OPTIONS = {'accumulative_counts': '1', 'clip_grad': 'None'}
_UPDATE = 'super().update_params({0}, step_kwargs, zero_kwargs)\n'
# What a hook asked its runner ({0}), asked of the wrapper.
_ANSWERS = {
    '{0}.model.parameters()': "[each for group in self.param_groups for each in group['params']]",
    "{0}.outputs['loss']": 'loss',
    '{0}.optimizer': 'self.optimizer',
    '{0}.iter': "self.message_hub.get_info('iter')",
    '{0}.epoch': "self.message_hub.get_info('epoch')",
    '{0}.max_iters': "self.message_hub.get_info('max_iters')",
    '{0}.max_epochs': "self.message_hub.get_info('max_epochs')",
}


class OptimizerHooks(Codemod):
    """``after_train_iter`` of the hook is ``update_params`` of the wrapper."""

    name = 'optimizer-hooks'
    summary = 'subclasses of OptimizerHook -> subclasses of OptimWrapper'
    triggers = ('OptimizerHook',)
    in_expressions = False

    def leave_ClassDef(
        self, original_node: cst.ClassDef, updated_node: cst.ClassDef
    ) -> cst.ClassDef:
        """Base, registry and methods."""
        names = [self.source.mmcv_name(base.value) for base in updated_node.bases]
        if not any(name in _BASES for name in names):
            return updated_node
        bases = [
            base.with_changes(value=self.want('mmengine.optim', _BASES[name]))
            if name in _BASES
            else base
            for base, name in zip(updated_node.bases, names, strict=True)
        ]
        body: list[cst.BaseStatement] = []
        for item in body_of(updated_node):
            if not isinstance(item, cst.FunctionDef):
                body.append(item)
            elif item.name.value == '__init__':
                body.append(self._constructor(item))
            elif not _only_zeroes(item):
                body.append(self._method(item))
        changed = updated_node.with_changes(
            bases=bases,
            decorators=[self._registered(decorator) for decorator in updated_node.decorators],
        )
        return with_body(changed, body)

    def _registered(self, decorator: cst.Decorator) -> cst.Decorator:
        """``@HOOKS.register_module()`` by the registry of optimizer wrappers."""
        head, _, tail = code(decorator.decorator).partition('.')
        if head != 'HOOKS':
            return decorator
        registry = self.want('mmengine.registry', 'OPTIM_WRAPPERS').value
        return decorator.with_changes(decorator=expression(f'{registry}.{tail}'))

    def _method(self, method: cst.FunctionDef) -> cst.FunctionDef:
        names = [param.name.value for param in method.params.params]
        if method.name.value != 'after_train_iter' or len(names) != 2:
            reasons = []
            if len(names) > 1 and 'runner' in names[1]:
                reasons.append('it has no place in an optimizer wrapper: make it a Hook of its own')
            elif method.name.value == 'clip_grads':
                reasons.append('step() clips as clip_grad says: do it there, before super().step()')
            return marked(method, reasons)
        runner = names[1]
        reasons = []
        unclipped = cst.ensure_type(method.visit(_Unclipped()), cst.FunctionDef)
        changed = with_body(method, _joined(body_of(unclipped), runner))
        backwards = len(re.findall(r'\.backward\(', code(changed.body)))
        changed = cst.ensure_type(changed.visit(_Body(runner, backwards)), cst.FunctionDef)
        if backwards > 1:
            reasons.append(
                'several backward() before a step: with accumulation or mixed precision call '
                'super().update_params() with the sum of the losses'
            )
        if re.search(rf'\b{runner}\b', code(changed.body)):
            reasons.append(f'update_params is not told the {runner}: make what asks it a Hook')
        if 'clip_grads(' in code(changed.body):
            reasons.append('step() clips as clip_grad says: drop the call of clip_grads')
        return marked(
            changed.with_changes(
                name=cst.Name('update_params'),
                params=parameters('self, loss, step_kwargs=None, zero_kwargs=None'),
            ),
            reasons,
        )

    def _constructor(self, method: cst.FunctionDef) -> cst.FunctionDef:
        """A wrapper is given its optimizer, and calls clipping ``clip_grad``."""
        visitor = _Init()
        changed = cst.ensure_type(method.visit(visitor), cst.FunctionDef)
        if not visitor.has_super:
            self.mark('__init__ calls super().__init__(optimizer, accumulative_counts, clip_grad)')
        old = changed.params
        own = [_plain(param) for param in old.params[1:]]
        keywords = [_plain(param) for param in old.kwonly_params]
        given = {text.partition('=')[0].partition(':')[0].strip() for text in own + keywords}
        options = [
            f'{name}={default}'
            for name, default in _OPTIONS.items()
            if name not in given and name not in visitor.settled
        ]
        parts = ['self', 'optimizer', *(text for text in own if '=' not in text)]
        parts += [text for text in own if '=' in text] + options
        parts += ['*', *keywords] if keywords else []
        if old.star_kwarg is not None:
            name = old.star_kwarg.name.value
            rest = code(changed.body).replace(f'**{name}', '')
            parts += [f'**{name}'] if re.search(rf'\b{name}\b', rest) else []
        return changed.with_changes(params=parameters(', '.join(parts)))


def _plain(param: cst.Param) -> str:
    return code(param.with_changes(comma=cst.MaybeSentinel.DEFAULT))


def _only_zeroes(method: cst.FunctionDef) -> bool:
    """Whether it is ``before_run`` that zeroes gradients, of which there are none yet."""
    return method.name.value == 'before_run' and all(
        code(statement).strip().endswith('.optimizer.zero_grad()') for statement in body_of(method)
    )


class _Unclipped(Rewriter):
    """Takes out the usual clipping, which is part of the wrapper's ``step``."""

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        both = zip(original_node.body, updated_node.body, strict=True)
        kept = [new for old, new in both if not _is_clipping(old)]
        return updated_node.with_changes(body=kept or statements('pass\n'))


def _is_clipping(statement: cst.CSTNode) -> bool:
    if isinstance(statement, cst.If):
        if statement.orelse is not None or not isinstance(statement.body, cst.IndentedBlock):
            return False
        if code(statement.test) not in ('self.grad_clip', 'self.grad_clip is not None'):
            return False
        return all(
            _is_clipping(part) if isinstance(part, cst.SimpleStatementLine) else _only_logs(part)
            for part in statement.body.body
            if isinstance(part, (cst.SimpleStatementLine, cst.BaseCompoundStatement))
        )
    small = only(statement)
    value = small.value if isinstance(small, (cst.Assign, cst.Expr)) else None
    return isinstance(value, cst.Call) and dotted(value.func) == 'self.clip_grads'


def _only_logs(statement: cst.BaseStatement) -> bool:
    """Whether it is ``if grad_norm is not None: runner.log_buffer.update(...)``."""
    return isinstance(statement, cst.If) and all(
        (call := call_of(part)) is not None and dotted(call.func).endswith('.log_buffer.update')
        for part in statement.body.body
    )


def _joined(body: Sequence[cst.BaseStatement], runner: str) -> list[cst.BaseStatement]:
    """zero_grad, backward and step with nothing between them: the ``update_params`` of the base."""
    steps: dict[str, list[int]] = {'zero_grad': [], 'backward': [], 'step': []}
    for index, statement in enumerate(body):
        call = call_of(statement)
        if call is None or call.args or not isinstance(call.func, cst.Attribute):
            continue
        kind = call.func.attr.value
        if kind == 'backward' or code(call.func.value) == f'{runner}.optimizer':
            steps.setdefault(kind, []).append(index)
    backward, step = steps['backward'], steps['step']
    text = ''.join(map(code, body))
    if not (len(backward) == len(step) == 1 and step[0] == backward[0] + 1 and steps['zero_grad']):
        return list(body)
    if text.count('.backward(') != 1 or text.count('.step(') != 1:
        return list(body)
    call = call_of(body[backward[0]])
    assert call is not None
    loss = code(cst.ensure_type(call.func, cst.Attribute).value)
    new = statements(_UPDATE.format(loss))[0].with_changes(
        leading_lines=getattr(body[backward[0]], 'leading_lines', ())
    )
    gone = {*steps['zero_grad'], backward[0]}
    return [
        new if index == step[0] else statement
        for index, statement in enumerate(body)
        if index not in gone
    ]


class _Body(Rewriter):
    """The hook's runner in terms of the wrapper."""

    def __init__(self, runner: str, backwards: int) -> None:
        super().__init__()
        self._runner = runner
        self._answers = {key.format(runner): new for key, new in _ANSWERS.items()}
        self._backwards_left = backwards

    def leave_Subscript(
        self, original_node: cst.Subscript, updated_node: cst.Subscript
    ) -> cst.BaseExpression:
        new = self._answers.get(code(original_node))
        return expression(new) if new else updated_node

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        new = self._answers.get(dotted(original_node))
        return expression(new) if new else updated_node

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        text = code(original_node.func)
        if code(original_node) in self._answers:
            return expression(self._answers[code(original_node)])
        if text in (f'{self._runner}.optimizer.zero_grad', f'{self._runner}.optimizer.step'):
            method = text.rpartition('.')[2]
            return updated_node.with_changes(func=expression(f'self.{method}'))
        if text == 'self.every_n_iters' and len(original_node.args) == 2:
            # A batch counts from its backward pass on.
            count = 'self.inner_count' if self._backwards_left == 0 else '(self.inner_count + 1)'
            return expression(f'{count} % {code(updated_node.args[1].value)} == 0')
        func = updated_node.func
        if isinstance(func, cst.Attribute) and func.attr.value == 'backward':
            self._backwards_left -= 1
            # However many there are, it is one batch.
            if self._backwards_left == 0:
                args = [cst.Arg(_bare(func.value)), *updated_node.args]
                return updated_node.with_changes(func=expression('self.backward'), args=args)
        return updated_node

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.BaseStatement | cst.FlattenSentinel[cst.BaseStatement] | cst.RemovalSentinel:
        """``loss = loss``, which was the loss of the runner's outputs, and what is logged."""
        if code(updated_node).strip() == 'loss = loss':
            return cst.RemoveFromParent()
        if f'{self._runner}.log_buffer' not in code(original_node):
            return updated_node
        lines = logging_lines(original_node, updated_node, self._runner, 'self.message_hub')
        if not lines:
            return updated_node
        return cst.FlattenSentinel(statements(''.join(f'{line}\n' for line in lines)))


def _bare(node: cst.BaseExpression) -> cst.BaseExpression:
    """``node`` without parentheses around it."""
    return node.with_changes(lpar=[], rpar=[])


class _Init(Rewriter):
    """The call of the base's ``__init__``, and arguments by their new names.

    Attributes:
        has_super: Whether there is such a call.
        settled: Options that the call itself gives a value.
    """

    def __init__(self) -> None:
        super().__init__()
        self.has_super = False
        self.settled: set[str] = set()

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.Attribute:
        return updated_node.with_changes(attr=original_node.attr)

    def leave_Name(self, original_node: cst.Name, updated_node: cst.Name) -> cst.Name:
        return (
            cst.Name(_NEW_NAMES[updated_node.value])
            if updated_node.value in _NEW_NAMES
            else (updated_node)
        )

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        func = original_node.func
        if not isinstance(func, cst.Attribute) or func.attr.value != '__init__':
            return updated_node
        if dotted(func.value).rpartition('.')[2] in _BASES:
            updated_node = updated_node.with_changes(func=expression('super().__init__'))
        elif not code(func.value).startswith('super('):
            return updated_node
        self.has_super = True
        values = {name: name for name in _OPTIONS}
        for arg in updated_node.args:
            name = arg.keyword.value if arg.keyword is not None else ''
            name = _NEW_NAMES.get(name, name)
            if name in values and code(arg.value) != name:
                values[name] = code(arg.value)
                self.settled.add(name)
        given = ', '.join(f'{name}={value}' for name, value in values.items())
        call = cst.ensure_type(expression(f'f(optimizer, {given})'), cst.Call)
        return updated_node.with_changes(args=call.args)
