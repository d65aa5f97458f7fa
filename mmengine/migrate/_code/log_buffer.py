"""Statements about ``runner.log_buffer`` as calls of a message hub."""

from __future__ import annotations

import libcst as cst

from mmengine.migrate._code._nodes import call_of, code, dotted, entry, only


def logging_lines(
    old: cst.SimpleStatementLine, new: cst.SimpleStatementLine, runner: str, hub: str
) -> list[str] | None:
    """The lines for a statement about the log buffer; None if it is of another kind.

    Args:
        old: The statement as it was.
        new: The statement, the expressions in it converted.
        runner: What the runner is called.
        hub: Code for the message hub.
    """
    small, changed, call = only(old), only(new), call_of(new)
    if call is not None and dotted(call.func) == f'{runner}.log_buffer.update' and call.args:
        values = _literal(call.args[0].value)
        if values is None:
            return None
        count = code(call.args[1].value) if len(call.args) > 1 else '1'
        suffix = '' if count == '1' else f', {count}'
        return [f"{hub}.update_scalar('train/{key}', {value}{suffix})" for key, value in values]
    if not isinstance(small, cst.Assign) or len(small.targets) != 1:
        return None
    target = small.targets[0].target
    if dotted(target) == f'{runner}.log_buffer.ready':
        return []
    if (
        isinstance(changed, cst.Assign)
        and isinstance(target, cst.Subscript)
        and code(target.value) == f'{runner}.log_buffer.output'
    ):
        key = _text_of(target.slice[0])
        return [f'{hub}.update_scalar({key}, {code(changed.value)})'] if key else None
    return None


def logged_value(node: cst.Subscript, runner: str) -> str:
    """``runner.log_buffer.output['loss']`` as the message hub has it; empty for other nodes."""
    key = _text_of(node.slice[0]) if code(node.value) == f'{runner}.log_buffer.output' else ''
    return f'{runner}.message_hub.get_scalar({key}).current()' if key else ''


def _text_of(item: cst.SubscriptElement) -> str:
    """The key of an item as the message hub names it."""
    value = item.slice.value if isinstance(item.slice, cst.Index) else None
    if isinstance(value, cst.SimpleString) and isinstance(value.evaluated_value, str):
        return repr(f'train/{value.evaluated_value}')
    return f"f'train/{{{value.value}}}'" if isinstance(value, cst.Name) else ''


def _literal(node: cst.BaseExpression) -> list[tuple[str, str]] | None:
    """Keys and values of ``dict(a=1)`` or ``{'a': 1}``."""
    keys: list[str] = []
    if isinstance(node, cst.Call) and dotted(node.func) == 'dict':
        keys = [arg.keyword.value for arg in node.args if arg.keyword is not None]
        if len(keys) != len(node.args):
            return None
    elif isinstance(node, cst.Dict):
        for element in node.elements:
            if not isinstance(element, cst.DictElement) or not isinstance(
                element.key, cst.SimpleString
            ):
                return None
            keys.append(str(element.key.evaluated_value))
    else:
        return None
    values = [(key, entry(node, key)) for key in keys]
    return [(key, code(value)) for key, value in values if value is not None]
