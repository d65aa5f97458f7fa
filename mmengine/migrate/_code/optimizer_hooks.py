"""Subclasses of OptimizerHook: become optimizer wrappers."""

from __future__ import annotations

import re
from collections.abc import Sequence

import libcst as cst

from mmengine.migrate._code._base import Codemod, marked
from mmengine.migrate._code._nodes import (
    body_of,
    call_of,
    code,
    dotted,
    expression,
    only,
    parameters,
    plain,
    statements,
    with_body,
)
from mmengine.migrate._code._rewriter import Rewriter
from mmengine.migrate._code.log_buffer import logging_lines
from mmengine.migrate._code.wrapper_constructor import wrapper_constructor

_BASES = {
    'OptimizerHook': 'OptimWrapper',
    'GradientCumulativeOptimizerHook': 'OptimWrapper',
    'Fp16OptimizerHook': 'AmpOptimWrapper',
    'GradientCumulativeFp16OptimizerHook': 'AmpOptimWrapper',
}
# What the hooks of MMCV had that no wrapper has, and what takes its place.
_GONE = {
    'cumulative_iters': 'accumulative_counts of the wrapper counts',
    'divisible_iters': 'the wrapper counts windows',
    'remainder_iters': 'the wrapper counts windows',
    'initialized': 'initialize_count_status is called by Runner',
    '_init': 'initialize_count_status is called by Runner',
    '_get_loss_factor': 'scale_loss divides by the size of the window',
    'has_batch_norm': 'it has no counterpart',
    'copy_grads_to_fp32': 'autocast takes its place',
    'copy_params_to_fp16': 'autocast takes its place',
    'detect_anomalous_parameters': 'it has no counterpart',
    'grad_clip': 'clip_grad_kwargs of the wrapper has it',
    'coalesce': 'it has no counterpart',
    'bucket_size_mb': 'it has no counterpart',
    'distributed': 'it has no counterpart',
}
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
        is_half = any(_BASES.get(name) == 'AmpOptimWrapper' for name in names)
        body: list[cst.BaseStatement] = []
        for item in body_of(updated_node):
            if not isinstance(item, cst.FunctionDef):
                body.append(item)
            elif item.name.value == '__init__':
                above = next(name for name in names if name in _BASES)
                made, reasons = wrapper_constructor(item, is_half, above)
                body.append(marked(made, reasons))
            elif not _only_zeroes(item):
                body.append(self._method(item))
        if _never_clips(updated_node):
            body += statements(_WITHOUT_CLIPPING)
        elif _has_own_clipping(updated_node):
            body += statements(_OWN_CLIPPING)
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
                reasons.append('it has no place in an optimizer wrapper: make it a separate Hook')
            elif method.name.value == 'clip_grads' and not _clips_alone(method):
                reasons.append('step() clips as clip_grad says: do it there, before super().step()')
            return marked(method, reasons)
        runner = names[1]
        reasons = []
        unclipped = cst.ensure_type(method.visit(_Unclipped()), cst.FunctionDef)
        changed = with_body(method, _joined(body_of(unclipped), runner))
        changed = cst.ensure_type(changed.visit(_Unscaled()), cst.FunctionDef)
        backwards = len(re.findall(r'\.backward\(', code(changed.body)))
        changed = cst.ensure_type(changed.visit(_Body(runner, backwards)), cst.FunctionDef)
        if backwards > 1:
            reasons.append(
                'several backward() before a step: with accumulation or mixed precision call '
                'super().update_params() with the sum of the losses'
            )
        text = code(changed.body)
        if re.search(rf'\b{runner}\b', text):
            reasons.append(f'update_params is not passed the {runner}: make what asks it a Hook')
        gone = [name for name in _GONE if re.search(rf'\bself\.{name}\b', text)]
        if gone:
            told = '; '.join(f'self.{name} is gone, {_GONE[name]}' for name in gone)
            reasons.append(told)
        if re.search(r'\bloss_scaler\.(unscale_|step|update)\(', text):
            reasons.append(
                'step() of the wrapper unscales, steps and updates the scale: call '
                'super().update_params(loss) instead'
            )
        if 'clip_grads(' in code(changed.body):
            reasons.append('step() clips as clip_grad says: drop the call of clip_grads')
        return marked(
            changed.with_changes(
                name=cst.Name('update_params'),
                params=parameters('self, loss, step_kwargs=None, zero_kwargs=None'),
            ),
            reasons,
        )


_WITHOUT_CLIPPING = """
def _clip_grad(self):
    # The hook did not clip, whatever its grad_clip.
    pass
"""

_OWN_CLIPPING = """
def _clip_grad(self):
    # Called by step() where clip_grad was given.
    grad_norm = self.clip_grads([each for group in self.param_groups for each in group['params']])
    if grad_norm is not None:
        self.message_hub.update_scalar('train/grad_norm', float(grad_norm))
"""


def _has_own_clipping(node: cst.ClassDef) -> bool:
    """Whether it has a ``clip_grads`` that needs nothing of the hook."""
    return any(
        isinstance(item, cst.FunctionDef) and item.name.value == 'clip_grads' and _clips_alone(item)
        for item in body_of(node)
    )


def _clips_alone(method: cst.FunctionDef) -> bool:
    """Whether a ``clip_grads`` takes parameters alone, and nothing from the hook above."""
    has_one = len(method.params.params) == 2 and method.params.star_kwarg is None
    return has_one and re.search(r'\bsuper\(|\bself\.grad_clip\b', code(method.body)) is None


def _never_clips(node: cst.ClassDef) -> bool:
    """Whether its own step passes over a ``grad_clip`` that a config may give."""
    methods = {item.name.value: item for item in body_of(node) if isinstance(item, cst.FunctionDef)}
    step, made = methods.get('after_train_iter'), methods.get('__init__')
    if step is None or re.search(r'\bself\.(clip_grads|grad_clip)\b|super\(', code(step.body)):
        return False
    takes_clip = made is None or made.params.star_kwarg is not None or 'grad_clip' in code(made)
    return takes_clip and 'clip_grads' not in methods


class _Unscaled(Rewriter):
    """``self.loss_scaler.scale(loss).backward()``: ``backward`` of the wrapper scales."""

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        func = updated_node.func
        if not isinstance(func, cst.Attribute) or func.attr.value != 'backward':
            return updated_node
        scaled = func.value
        if isinstance(scaled, cst.Call) and dotted(scaled.func) == 'self.loss_scaler.scale':
            loss = scaled.args[0].value
            is_plain = isinstance(loss, (cst.Name, cst.Attribute, cst.Subscript, cst.Call))
            value = loss if is_plain else expression(f'({code(loss)})')
            return updated_node.with_changes(func=func.with_changes(value=value))
        return updated_node


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


def _of_scaler_joined(
    body: Sequence[cst.BaseStatement], runner: str
) -> Sequence[cst.BaseStatement]:
    """The steps of a loss scaler, written out, as a plain backward pass and step."""
    patterns = {
        rf'{runner}\.model\.zero_grad\(\)': 'zero_grad',
        rf'self\.loss_scaler\.unscale_\({runner}\.optimizer\)': 'drop',
        r'self\.loss_scaler\.update\(.*\)': 'drop',
        rf'self\.loss_scaler\.step\({runner}\.optimizer\)': 'step',
        rf'{runner}\.meta\.setdefault\(.*loss_scaler.*': 'drop',
    }
    kinds = []
    for statement in body:
        text = code(statement.with_changes(leading_lines=())).strip()
        kind = next((k for pattern, k in patterns.items() if re.fullmatch(pattern, text)), '')
        is_scaled = re.fullmatch(r'self\.loss_scaler\.scale\(([\s\S]*)\)\.backward\(\)', text)
        kinds.append(('scaled' if is_scaled else kind, is_scaled[1] if is_scaled else ''))
    if [kind for kind, _ in kinds].count('scaled') != 1 or ('step', '') not in kinds:
        return body
    new = {'zero_grad': f'{runner}.optimizer.zero_grad()', 'step': f'{runner}.optimizer.step()'}
    result: list[cst.BaseStatement] = []
    for statement, (kind, loss) in zip(body, kinds, strict=True):
        if kind == 'drop':
            continue
        text = f'({loss}).backward()' if kind == 'scaled' else new.get(kind, '')
        if kind == 'scaled' and re.fullmatch(r'\w+', loss):
            text = f'{loss}.backward()'
        if not text:
            result.append(statement)
            continue
        lines = getattr(statement, 'leading_lines', ())
        result.append(statements(f'{text}\n')[0].with_changes(leading_lines=lines))
    return result


def _joined(body: Sequence[cst.BaseStatement], runner: str) -> list[cst.BaseStatement]:
    """zero_grad, backward and step with nothing between them: the ``update_params`` of the base."""
    body = _of_scaler_joined(body, runner)
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
    func = cst.ensure_type(call.func, cst.Attribute)
    loss, plain_loss = code(func.value), plain(func.value)
    if plain_loss in (f"{runner}.outputs['loss']", f"({runner}.outputs['loss'])"):
        loss = 'loss'
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
        new = self._answers.get(plain(original_node))
        return expression(new) if new else updated_node

    def leave_Attribute(
        self, original_node: cst.Attribute, updated_node: cst.Attribute
    ) -> cst.BaseExpression:
        new = self._answers.get(dotted(original_node))
        return expression(new) if new else updated_node

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.BaseExpression:
        text = code(original_node.func)
        if re.fullmatch(r'super\(.*\)\.after_train_iter', text):
            # The base takes the loss from the runner's outputs, which this method may change.
            return expression(_UPDATE.format('loss').strip())
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
