"""Optimizers in ``train_step``: backward, step and zero_grad become one ``update_params``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import libcst as cst

from mmengine.migrate._code._base import Codemod, commented, marked
from mmengine.migrate._code._nodes import body_of, call_of, code, dotted, statements, with_body
from mmengine.migrate._code._rewriter import Renamer, Rewriter

_NAMES = ('optimizer', 'optimizers')
NEW_NAME = 'optim_wrapper'
_ONE_LINE = 'several statements on one line: split it, and call update_params(loss)'
_REBOUND = (
    '{0} is assigned in here: the argument is an optimizer wrapper, {1}; call its '
    'update_params(loss), and give what is assigned another name'
)
_KEPT_ZERO = '# Drops what losses of other optimizers left here; with accumulation, it has to go.'


class OptimizerSteps(Codemod):
    """``loss.backward(); optimizer.step()`` of models that step their optimizers themselves."""

    name = 'optimizer-steps'
    summary = 'loss.backward(), optimizer.step(), zero_grad() -> optim_wrapper.update_params(loss)'
    triggers = ('train_step',)
    in_expressions = False

    def leave_ClassDef(
        self, original_node: cst.ClassDef, updated_node: cst.ClassDef
    ) -> cst.ClassDef:
        """Convert every method that is given optimizers."""
        methods = [item for item in body_of(updated_node) if isinstance(item, cst.FunctionDef)]
        steps = [method for method in methods if method.name.value == 'train_step']
        if not steps or not _optimizer_of(steps[0]):
            return updated_node
        self.source.models.add(updated_node.name.value)
        several = re.search(r'\boptimizers?(\[|\.(items|values|keys)\()', code(original_node))
        body: list[cst.BaseStatement] = []
        for item in body_of(updated_node):
            name = _optimizer_of(item)
            if isinstance(item, cst.FunctionDef) and name and item.name.value != '__init__':
                classes = self.source.classes
                keeps, scales = classes.reads_gradients(), classes.scales_losses
                item = _converted(item, name, several is not None, keeps, scales)
            body.append(item)
        return with_body(updated_node, body)


class _Step(NamedTuple):
    """What a statement does with an optimizer or a loss."""

    kind: str
    target: str
    call: cst.Call


def _optimizer_of(node: cst.CSTNode) -> str:
    """The name under which a method gets its optimizers."""
    if not isinstance(node, cst.FunctionDef):
        return ''
    names = [param.name.value for param in node.params.params]
    return next((name for name in names if name in _NAMES), '')


def _converted(
    method: cst.FunctionDef, name: str, several: bool, keeps_gradients: bool, scales: bool
) -> cst.FunctionDef:
    if re.search(rf'(?m)^\s*{name}\s*=[^=]', code(method.body)):
        return marked(method, [_REBOUND.format(name, NEW_NAME)])
    freezes = re.search(r'requires_grad', code(method.body)) is not None
    blocks = _Blocks({name, *_aliases_of(name, method)}, several, freezes, keeps_gradients, scales)
    changed = cst.ensure_type(method.visit(blocks), cst.FunctionDef)
    changed = cst.ensure_type(changed.visit(Renamer({name: NEW_NAME})), cst.FunctionDef)
    changed = cst.ensure_type(changed.visit(_Keywords(name)), cst.FunctionDef)
    params = list(changed.params.params)
    place = next(i for i, param in enumerate(params) if param.name.value == NEW_NAME)
    is_first_default = all(param.default is None for param in params[:place])
    if is_first_default and not method.name.value.startswith('val'):
        params[place] = params[place].with_changes(default=None, equal=cst.MaybeSentinel.DEFAULT)
    return changed.with_changes(params=changed.params.with_changes(params=params))


def _aliases_of(name: str, method: cst.FunctionDef) -> set[str]:
    """What single optimizers are called: ``first = optimizer['first']``, loops over them."""
    single = rf'{name}\[[^\]]*\]'
    text = code(method.body)
    found = set(re.findall(rf'^\s*(\w+) = {single}\s*$', text, re.MULTILINE))
    found.update(re.findall(rf'\bfor (\w+) in {name}\.values\(\)', text))
    found.update(re.findall(rf'\bfor \w+, (\w+) in {name}\.items\(\)', text))
    pairs = rf'^\s*(\w+), (\w+) = {single}, {single}\s*$'
    return found.union(*re.findall(pairs, text, re.MULTILINE))


class _Keywords(Rewriter):
    """Calls of own methods name the argument anew as well."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name

    def leave_Call(self, original_node: cst.Call, updated_node: cst.Call) -> cst.Call:
        if not code(updated_node.func).startswith(('self.', 'super()')):
            return updated_node
        args = [
            arg.with_changes(keyword=cst.Name(NEW_NAME))
            if arg.keyword is not None and arg.keyword.value == self._name
            else arg
            for arg in updated_node.args
        ]
        return updated_node.with_changes(args=args)


class _Blocks(Rewriter):
    """Rewrites the statements of each block that belong to one step."""

    def __init__(
        self,
        names: set[str],
        several: bool,
        freezes: bool,
        keeps_gradients: bool,
        scales_losses: bool,
    ) -> None:
        super().__init__()
        self._names = names
        self._several = several
        self._freezes = freezes
        self._keeps_gradients = keeps_gradients
        self._scales_losses = scales_losses

    def leave_IndentedBlock(
        self, original_node: cst.IndentedBlock, updated_node: cst.IndentedBlock
    ) -> cst.IndentedBlock:
        body = [item for item in updated_node.body if isinstance(item, cst.BaseStatement)]
        return updated_node.with_changes(body=self._rewritten(body))

    def leave_SimpleStatementLine(
        self, original_node: cst.SimpleStatementLine, updated_node: cst.SimpleStatementLine
    ) -> cst.SimpleStatementLine:
        several = len(original_node.body) > 1
        alone = [cst.SimpleStatementLine(body=[part]) for part in original_node.body]
        return marked(
            updated_node, [_ONE_LINE] if several and any(map(self._step_of, alone)) else []
        )

    def _step_of(self, statement: cst.CSTNode) -> _Step | None:
        call = call_of(statement)
        if call is None or not isinstance(call.func, cst.Attribute):
            return None
        kind, target = call.func.attr.value, call.func.value
        if kind == 'backward':
            return _Step(kind, code(target), call)
        root = target.value if isinstance(target, cst.Subscript) else target
        if kind in ('step', 'zero_grad') and dotted(root) in self._names:
            return _Step(kind, code(target), call)
        return None

    def _rewritten(self, body: list[cst.BaseStatement]) -> list[cst.BaseStatement]:
        known = [self._step_of(statement) for statement in body]
        result: list[list[cst.BaseStatement]] = [[statement] for statement in body]
        begin = 0
        for index, step in enumerate(known):
            if step is None or step.kind != 'step':
                continue
            losses = [
                place
                for place in range(begin, index)
                if (found := known[place]) is not None and found.kind == 'backward'
            ]
            zeros = [
                place
                for place in (*range(begin, index), index + 1)
                if place < len(known)
                and (found := known[place]) is not None
                and found[:2] == ('zero_grad', step.target)
            ]
            begin = index + 1
            ends = begin
            while ends < len(body) and ((later := known[ends]) is None or later.kind == 'step'):
                ends += 1
            reader = _reader(body[begin:ends], sets='|set|toggle|freeze|unfreeze')
            adds_up = (len(losses) > 1 or reader) and zeros and not self._scales_losses
            if (self._keeps_gradients or adds_up) and not step.call.args:
                # Hooks or later lines see the gradients of the step, or several losses add up:
                # each gradient is dropped where it was.
                for place in losses:
                    result[place] = _through(body[place], known[place], step.target)
                continue
            reason = _obstacle(step, losses, zeros, known) or reader
            if reason:
                result[index] = [marked(body[index], [reason])]
                continue
            self._join(body, known, result, index, losses[0], zeros)
        return [statement for part in result for statement in part]

    def _join(
        self,
        body: Sequence[cst.BaseStatement],
        known: Sequence[_Step | None],
        result: list[list[cst.BaseStatement]],
        index: int,
        place: int,
        zeros: Sequence[int],
    ) -> None:
        """Replace one backward pass, step and zeroing; ``result`` changes."""
        step, loss = known[index], known[place]
        assert step is not None
        assert loss is not None
        wrapper = step.target
        for zero in zeros:
            # The loss of another optimizer may have left gradients, as a generator's does in its
            # discriminator: then a zeroing that comes first is not one that comes after the step.
            if zero > place or not self._several:
                result[zero] = []
            else:
                # Losses of others leave no gradients in what is frozen meanwhile.
                result[zero] = [
                    body[zero] if self._freezes else commented(body[zero], [_KEPT_ZERO])
                ]
        between = [
            statement
            for statement, what in zip(
                body[place + 1 : index], known[place + 1 : index], strict=True
            )
            if what is None
        ]
        touches_gradients = bool(_reader(between))
        if not loss.call.args and not touches_gradients:
            text = f'{wrapper}.update_params({loss.target})\n'
            result[place] = []
            result[index] = _in_place_of(body[index], text)
            if not between:
                result[index] = _in_place_of(body[place], text)
            return
        args = ', '.join(
            code(arg.with_changes(comma=cst.MaybeSentinel.DEFAULT)) for arg in loss.call.args
        )
        scaled = f'{wrapper}.scale_loss({loss.target})'
        text = f'{wrapper}.backward({scaled}{", " + args if args else ""})\n'
        result[place] = _in_place_of(body[place], text)
        if touches_gradients:
            text = f'{wrapper}.step()\n{wrapper}.zero_grad()\n'
            # Only that needs more than the step that is here.
            why = (
                'clip with clip_grad=dict(max_norm=...) of the optimizer wrapper, and call '
                'update_params(loss): accumulation and loss scaling need it'
            )
            if self._scales_losses:
                result[place] = [marked(result[place][0], [why])]
        else:
            text = (
                f'if {wrapper}.should_update():\n    {wrapper}.step()\n    {wrapper}.zero_grad()\n'
            )
        result[index] = _in_place_of(body[index], text)


def _obstacle(
    step: _Step, losses: Sequence[int], zeros: Sequence[int], known: Sequence[_Step | None]
) -> str:
    """Why a step cannot be converted; empty if it can."""
    if step.call.args:
        return 'step() with arguments: call update_params(loss, step_kwargs=dict(...))'
    if not losses:
        return 'its backward() is elsewhere: one update_params(loss) does backward, step, zero_grad'
    if len(losses) > 1:
        return 'several backward() before one step: call update_params with the sum of the losses'
    if not zeros:
        return 'no zero_grad() beside it: update_params(loss) zeroes after each step'
    loss = known[losses[0]]
    if loss is not None and 'scale(' in loss.target:
        return 'a loss scaler: AmpOptimWrapper scales, so call update_params with the plain loss'
    return ''


def _reader(body: Sequence[cst.BaseStatement], sets: str = '') -> str:
    """Why statements near a step stand in its way: they do something with gradients.

    Args:
        body: The statements.
        sets: Further beginnings of names that only say which parameters get gradients.
    """
    names = rf'#.*|\w*(zero|no|requires|enable{sets})_grads?_?\b'
    text = re.sub(names, '', ''.join(map(code, body)))
    if 'grad' not in text:
        return ''
    return 'gradients are used beside the step, and update_params(loss) drops them after it'


def _through(
    statement: cst.BaseStatement, loss: _Step | None, wrapper: str
) -> list[cst.BaseStatement]:
    """``loss.backward()`` as ``wrapper.backward(loss)``."""
    assert loss is not None
    args = ''.join(
        f', {code(arg.with_changes(comma=cst.MaybeSentinel.DEFAULT))}' for arg in loss.call.args
    )
    return _in_place_of(statement, f'{wrapper}.backward({loss.target}{args})\n')


def _in_place_of(old: cst.BaseStatement, text: str) -> list[cst.BaseStatement]:
    new = statements(text)
    if isinstance(old, cst.SimpleStatementLine):
        new[0] = new[0].with_changes(leading_lines=old.leading_lines)
        if isinstance(new[0], cst.SimpleStatementLine):
            new[0] = new[0].with_changes(trailing_whitespace=old.trailing_whitespace)
    return new
