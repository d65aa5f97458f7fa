"""Short words for what codemods do with nodes of libcst."""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import TypeVar

import libcst as cst

_PLAIN_MODULE = cst.Module(body=())
_DefinitionT = TypeVar('_DefinitionT', cst.FunctionDef, cst.ClassDef)


def dotted(node: cst.CSTNode | None) -> str:
    """``a.b.c`` of a chain of names; empty for other expressions."""
    if isinstance(node, cst.Name):
        return node.value
    if isinstance(node, cst.Attribute):
        head = dotted(node.value)
        return f'{head}.{node.attr.value}' if head else ''
    return ''


def expression(text: str) -> cst.BaseExpression:
    """Parse an expression."""
    return cst.parse_expression(text)


def statements(text: str) -> list[cst.BaseStatement]:
    """Parse statements."""
    return [
        node
        for node in cst.parse_module(text).body
        if isinstance(node, (cst.SimpleStatementLine, cst.BaseCompoundStatement))
    ]


def code(node: cst.CSTNode) -> str:
    """The text of ``node``."""
    return _PLAIN_MODULE.code_for_node(node)


def plain(node: cst.BaseExpression) -> str:
    """The text of an expression to compare, with the quotes of ``repr`` around each text in it."""
    text = code(node)
    return ast.unparse(ast.parse(f'({text})', mode='eval')) if '"' in text else text


def only(statement: cst.CSTNode) -> cst.BaseSmallStatement | None:
    """The one small statement of a line; None for anything else."""
    if isinstance(statement, cst.SimpleStatementLine) and len(statement.body) == 1:
        return statement.body[0]
    return None


def call_of(statement: cst.CSTNode) -> cst.Call | None:
    """The call that a line consists of."""
    small = only(statement)
    if isinstance(small, cst.Expr) and isinstance(small.value, cst.Call):
        return small.value
    return None


def is_docstring(statement: cst.CSTNode) -> bool:
    """Whether a line is nothing but a text."""
    small = only(statement)
    return isinstance(small, cst.Expr) and isinstance(
        small.value, (cst.SimpleString, cst.ConcatenatedString)
    )


def keyword(call: cst.Call, name: str) -> cst.BaseExpression | None:
    """The value that ``call`` gives to ``name``."""
    for arg in call.args:
        if arg.keyword is not None and arg.keyword.value == name:
            return arg.value
    return None


def entry(node: cst.BaseExpression | None, name: str) -> cst.BaseExpression | None:
    """The value under ``name`` in ``dict(...)`` or ``{...}``."""
    if isinstance(node, cst.Call) and dotted(node.func) == 'dict':
        return keyword(node, name)
    if isinstance(node, cst.Dict):
        for element in node.elements:
            if (
                isinstance(element, cst.DictElement)
                and isinstance(element.key, cst.SimpleString)
                and element.key.evaluated_value == name
            ):
                return element.value
    return None


def keys(node: cst.BaseExpression) -> list[str]:
    """The keys of ``dict(...)`` or ``{...}``, as far as they are written out."""
    if isinstance(node, cst.Call) and dotted(node.func) == 'dict':
        return [arg.keyword.value for arg in node.args if arg.keyword is not None]
    if isinstance(node, cst.Dict):
        return [
            str(element.key.evaluated_value)
            for element in node.elements
            if isinstance(element, cst.DictElement) and isinstance(element.key, cst.SimpleString)
        ]
    return []


def parameters(names: str) -> cst.Parameters:
    """Parse a list of parameters."""
    function = cst.ensure_type(cst.parse_statement(f'def f({names}): pass'), cst.FunctionDef)
    return function.params


def body_of(node: cst.FunctionDef | cst.ClassDef) -> list[cst.BaseStatement]:
    """The statements of a block, those written behind the colon too."""
    if isinstance(node.body, cst.IndentedBlock):
        return list(node.body.body)
    parts = node.body.body if isinstance(node.body, cst.SimpleStatementSuite) else ()
    alone = (part.with_changes(semicolon=cst.MaybeSentinel.DEFAULT) for part in parts)
    return [cst.SimpleStatementLine(body=[part]) for part in alone]


def with_body(node: _DefinitionT, new: Sequence[cst.BaseStatement]) -> _DefinitionT:
    """``node``, a class or function, with other statements."""
    filled = list(new) or statements('pass\n')
    if isinstance(node.body, cst.IndentedBlock):
        return node.with_changes(body=node.body.with_changes(body=filled))
    return node.with_changes(body=cst.IndentedBlock(body=filled))
