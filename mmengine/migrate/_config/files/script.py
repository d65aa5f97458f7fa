"""A Python config as a list of statements: which name each writes, and who else touches it."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Mapping
from typing import Any

import libcst as cst

from mmengine.migrate._config.files.sources import trace
from mmengine.migrate._config.trace import Origin, traced

_BUILTIN = frozenset(dir(builtins))
_LIVE_DEPTH = 3


class Script:
    """The statements of one file.

    Args:
        text: Its text.
        own: The entries that it defines.

    Raises:
        SyntaxError: If only filling in variables in braces makes the text Python.
    """

    def __init__(self, text: str, own: Mapping[str, Any]) -> None:
        try:
            self.module = cst.parse_module(text)
        except cst.ParserSyntaxError as error:
            raise SyntaxError(str(error)) from error
        self.statements = list(self.module.body)
        self.end = len(self.statements)
        self.written: dict[str, list[int]] = {}
        """Statements that write a name as a whole and alone: ``name = value``."""
        self.bound: dict[str, int] = {}
        """The first statement that binds a name in any way: an import, a loop."""
        self._unpacked: dict[str, list[int]] = {}
        """Statements that write a name with others: ``name, other = values``."""
        self._mentions: dict[str, set[int]] = {}
        self._tampering: set[str] = set()
        self._code: dict[cst.CSTNode, str] = {}
        self._survey(ast.parse(text))
        self._own = own

    def code(self, node: cst.CSTNode) -> str:
        """The text of ``node``; it is needed many times, and nodes do not change."""
        text = self._code.get(node)
        if text is None:
            text = self._code[node] = self.module.code_for_node(node)
        return text

    def is_live(self, name: str) -> bool:
        """Whether code besides its assignment reads or changes ``name``, so that it must stay."""
        where = self.written.get(name, [])
        return len(where) != 1 or bool(self._mentions.get(name, set()) - {where[0]})

    def is_settled(self, name: str) -> bool:
        """Whether the one assignment of ``name`` is the only statement that changes it."""
        return len(self.written.get(name, [])) == 1 and name not in self._tampering

    def value_node(self, name: str) -> cst.BaseExpression:
        """The right-hand side of the one assignment of ``name``."""
        line = self.statements[self.written[name][0]]
        assert isinstance(line, cst.SimpleStatementLine)
        assignment = line.body[0]
        assert isinstance(assignment, cst.Assign)
        return assignment.value

    def traced(self, name: str) -> Any:
        """What the file defines as ``name``, remembering how it was written.

        A value that code changes after its assignment is remembered as that code would read it:
        ``data['train']``.
        """
        value = self._own[name]
        if self.is_settled(name):
            return trace(value, self.value_node(name))
        return _live(value, name, _LIVE_DEPTH)

    def is_available(self, name: str, position: int) -> bool:
        """Whether ``name`` has its last value before statement ``position``."""
        unpacked = self._unpacked.get(name, [])
        if len(unpacked) == 1 and name not in self.written and name not in self._tampering:
            return unpacked[0] < position
        if name in self.written or (name in self._mentions and name in self.bound):
            if self.is_settled(name):
                return self.written[name][0] < position
            return position == self.end and name in self.bound
        if name in self.bound:
            return self.bound[name] < position
        return name in _BUILTIN

    def _survey(self, tree: ast.Module) -> None:
        position = -1
        statements = iter(tree.body)
        for position, line in enumerate(self.statements):
            parts = len(line.body) if isinstance(line, cst.SimpleStatementLine) else 1
            for _ in range(parts):
                self._survey_one(next(statements), position, alone=parts == 1)

    def _survey_one(self, statement: ast.stmt, position: int, *, alone: bool) -> None:
        target = None
        if isinstance(statement, ast.Assign) and len(statement.targets) == 1:
            first = statement.targets[0]
            if isinstance(first, ast.Name) and alone:
                target = first.id
                self.written.setdefault(target, []).append(position)
                self.bound.setdefault(target, position)
        unpacked = _unpacked_names(statement) if alone else set()
        for name in unpacked:
            self._unpacked.setdefault(name, []).append(position)
            self.bound.setdefault(name, position)
        simple = target is not None or bool(unpacked)
        for node in ast.walk(statement):
            if isinstance(node, ast.Name):
                if isinstance(node.ctx, ast.Store) and (node.id == target or node.id in unpacked):
                    continue
                self._mentions.setdefault(node.id, set()).add(position)
                if isinstance(node.ctx, ast.Store):
                    self.bound.setdefault(node.id, position)
                # Only a plain assignment that reads a name is known not to change what it holds.
                if not simple or isinstance(node.ctx, ast.Store):
                    self._tampering.add(node.id)
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                for alias in node.names:
                    self.bound.setdefault(alias.asname or alias.name.partition('.')[0], position)
            elif isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                self.bound.setdefault(node.name, position)


def _unpacked_names(statement: ast.stmt) -> set[str]:
    """The names of ``a, b = values``; none for any other statement."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return set()
    target = statement.targets[0]
    if not isinstance(target, (ast.Tuple, ast.List)):
        return set()
    return {one.id for one in target.elts if isinstance(one, ast.Name)}


def _live(value: Any, code: str, depth: int) -> Any:
    """``value``, to be read from the variable that holds it; its own numbers and strings are
    written out."""
    if not isinstance(value, (dict, list, tuple)):
        return value
    origin = Origin(cst.parse_expression(code), value)
    if depth and isinstance(value, dict):
        return traced(
            {key: _live(item, f'{code}[{key!r}]', depth - 1) for key, item in value.items()}, origin
        )
    return traced(value, origin)
