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


def converted_step(method: cst.FunctionDef, is_half: bool, read: Collection[str] = '*') -> Step:
    """``train_step`` with a data preprocessor, an update and its logs.

    Args:
        method: The method, its own steps of optimizers converted already.
        is_half: Whether decorators of MMCV cast its model to half precision.
        read: The outputs that hooks read; '*' for any.
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
        new = [*inside, *_logged(body[-1], returned.value)]
    else:
        new = _with_update(body, returned.value)
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
