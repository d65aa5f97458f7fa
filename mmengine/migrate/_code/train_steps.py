"""``train_step`` of a legacy model: its data, its losses, and what it returns."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import NamedTuple

import libcst as cst

from mmengine.migrate._code._base import commented
from mmengine.migrate._code._nodes import (
    body_of,
    code,
    dotted,
    entry,
    expression,
    is_docstring,
    keys,
    only,
    statements,
    with_body,
)
from mmengine.migrate._code.optimizer_steps import NEW_NAME

_UPDATE = rf'({NEW_NAME}(?:\[[^]]*\])?)\.(update_params|backward)\('
_OUTPUTS = ('loss', 'log_vars', 'num_samples')
_WEIGHTS = '# Logs take the mean over batches: each counts once, whatever its num_samples.'


class Step(NamedTuple):
    """A converted ``train_step``, and what is left to do."""

    method: cst.FunctionDef
    reasons: list[str]


def converted_step(
    method: cst.FunctionDef,
    is_half: bool,
    read: Collection[str] = '*',
    *,
    shows_loss: bool = False,
) -> Step:
    """``train_step`` with a data preprocessor, an update and its logs.

    Args:
        method: The method, its own steps of optimizers converted already.
        is_half: Whether decorators of MMCV cast its model to half precision.
        read: The outputs that hooks read; '*' for any.
        shows_loss: Whether a hook reads the loss, which is returned then as well.
    """
    reasons: list[str] = []
    body = body_of(method)
    data = method.params.params[1].name.value
    intro: list[cst.BaseStatement] = []
    if body and is_docstring(body[0]):
        intro, body = body[:1], body[1:]
    returned = only(body[-1]) if body else None
    if (
        not isinstance(returned, cst.Return)
        or returned.value is None
        or sum(isinstance(node, cst.Return) for node in _walk(method)) != 1
        or (_is_dict(returned.value) and not _is_told(returned.value, code(method.body)))
    ):
        reasons.append(
            'train_step returns what is logged, a dict, from one place, after '
            f'{NEW_NAME}.update_params(loss)'
        )
        return Step(method, reasons)
    intro += statements(f'{data} = self.data_preprocessor({data}, True)\n')
    if any(NEW_NAME in code(statement) for statement in body):
        inside = _in_context(body[:-1]) if is_half else body[:-1]
        new = [*inside, *_logged(body, returned.value, shows_loss)]
    else:
        new = _with_update(body, returned.value, shows_loss)
    lost = [name for name in _further_outputs(returned.value, body) if name in read or '*' in read]
    if lost:
        reasons.append(
            f'{", ".join(lost)}: only what is logged is returned here; what a hook took from '
            'runner.outputs can be an attribute of the model'
        )
    if 'num_samples' in code(method):
        new[-1] = commented(new[-1], [_WEIGHTS])
    return Step(with_body(method, [*intro, *new]), reasons)


def _with_update(
    body: Sequence[cst.BaseStatement], value: cst.BaseExpression, shows_loss: bool
) -> list[cst.BaseStatement]:
    """A step whose loss a hook of MMCV took to the optimizer."""
    inside = list(body[:-1])
    loss, log_vars = entry(value, 'loss'), entry(value, 'log_vars')
    if loss is not None:
        loss_text = code(loss)
        if shows_loss and not isinstance(loss, (cst.Name, cst.Subscript)):
            inside += statements(f'loss = {loss_text}\n')
            loss_text = 'loss'
        log_text = code(log_vars) if log_vars is not None else f'dict(loss={loss_text})'
    else:
        outputs = dotted(value) if isinstance(value, cst.Name) else 'outputs'
        if outputs != code(value):
            inside += statements(f'{outputs} = {code(value)}\n')
        loss_text, log_text = f"{outputs}['loss']", f"{outputs}['log_vars']"
    if shows_loss:
        log_text = _with_loss(log_text, loss_text, body)
    after = statements(f'{NEW_NAME}.update_params({loss_text})\nreturn {log_text}\n')
    if not inside:
        return after
    context = cst.ensure_type(
        statements(f'with {NEW_NAME}.optim_context(self):\n    pass\n')[0], cst.With
    )
    block = cst.ensure_type(context.body, cst.IndentedBlock)
    return [context.with_changes(body=block.with_changes(body=inside)), *after]


def _with_loss(log_text: str, loss_text: str, body: Sequence[cst.BaseStatement]) -> str:
    """Code for log variables with the loss, a tensor, among them."""
    shown = f'loss={loss_text}.detach()'
    text = ''.join(map(code, body))
    if re.search(rf'\b{re.escape(log_text)}\)? = self\._?parse_losses\(', text):
        return log_text
    log = expression(log_text)
    if isinstance(log, cst.Call) and dotted(log.func) == 'dict' and keys(log):
        kept = [
            code(arg.with_changes(comma=cst.MaybeSentinel.DEFAULT))
            for arg in log.args
            if arg.keyword is None or arg.keyword.value != 'loss'
        ]
        return f'dict({", ".join([*kept, shown])})'
    return f'dict({log_text}, {shown})'


def _logged(
    body: Sequence[cst.BaseStatement], value: cst.BaseExpression, shows_loss: bool
) -> list[cst.BaseStatement]:
    """The return of a step that has moved its optimizers itself."""
    log_vars, loss = entry(value, 'log_vars'), entry(value, 'loss')
    loss_text = code(loss) if loss is not None else ''
    if log_vars is not None:
        log_text = code(log_vars)
    elif isinstance(value, cst.Name):
        log_text = f"{value.value}.get('log_vars', {{}})"
        if 'loss' in _keys_of(value, body):
            loss_text = f"{value.value}['loss']"
    else:
        log_text = '{}' if _is_dict(value) else f"{code(value)}.get('log_vars', {{}})"
    if shows_loss and loss_text:
        log_text = _with_loss(log_text, loss_text, body)
    return statements(f'return {log_text}\n')


def _further_outputs(returned: cst.BaseExpression, body: Sequence[cst.BaseStatement]) -> list[str]:
    """What a step returned for hooks, beside what a runner of MMCV looked at."""
    return [name for name in _keys_of(returned, body) if name not in _OUTPUTS]


def _keys_of(returned: cst.BaseExpression, body: Sequence[cst.BaseStatement]) -> list[str]:
    """The keys of a dict that is written out, here or where its name is set."""
    if isinstance(returned, cst.Name):
        for small in map(only, body):
            if isinstance(small, cst.Assign) and dotted(small.targets[0].target) == returned.value:
                return keys(small.value)
    return keys(returned)


def _is_dict(node: cst.BaseExpression) -> bool:
    return isinstance(node, cst.Dict) or (
        isinstance(node, cst.Call) and dotted(node.func) == 'dict'
    )


def _is_told(outputs: cst.BaseExpression, text: str) -> bool:
    """Whether a written out dict has the loss, or the method has stepped its optimizers."""
    return entry(outputs, 'loss') is not None or NEW_NAME in text


def _in_context(body: Sequence[cst.BaseStatement]) -> list[cst.BaseStatement]:
    """Statements of a model that steps by itself, those that compute in the wrapper's context.

    The context casts, which decorators of MMCV did, so that it ends before each update.
    """
    result: list[cst.BaseStatement] = []
    inside: list[cst.BaseStatement] = []
    for statement in body:
        updated = re.search(
            rf'({NEW_NAME}(?:\[[^]]*\])?)\.(update_params|backward)\(', code(statement)
        )
        if updated is None:
            inside.append(statement)
            continue
        first = next((i for i, one in enumerate(inside) if 'self' in code(one)), len(inside))
        result += inside[:first]
        if inside[first:]:
            context = cst.ensure_type(
                statements(f'with {updated[1]}.optim_context(self):\n    pass\n')[0], cst.With
            )
            block = cst.ensure_type(context.body, cst.IndentedBlock)
            result.append(context.with_changes(body=block.with_changes(body=inside[first:])))
        result.append(statement)
        inside = []
    return [*result, *inside]


def _walk(node: cst.CSTNode) -> list[cst.CSTNode]:
    """``node`` and what is in it, nested functions left out."""
    found = [node]
    for child in node.children:
        if not isinstance(child, (cst.FunctionDef, cst.Lambda, cst.ClassDef)):
            found += _walk(child)
    return found
