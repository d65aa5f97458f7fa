"""Rewrite a parsed config file so that executing it records where every key was written.

``dict(a=1, **b)`` becomes ``__made__(7, dict(a=1, **__taken__(7, b)))``. The file's site 7 writes
``a``; the other keys are where ``b`` has them. Around a statement that may change a
dict, such as ``model['depth'] = 50`` or ``model.update(depth=50)``, calls compare its entries
before and after. The result of the file does not change.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from copy import deepcopy
from typing import Any

from mmengine.config._origin.notes import Notes

_MADE, _TAKEN, _BEFORE, _AFTER = '__made__', '__taken__', '__before__', '__after__'
_CHANGING = ('update', 'setdefault', 'merge', '__setitem__')


class Recorder:
    """Rewrites one file's syntax tree and gives the helpers that the rewritten code calls."""

    def __init__(self, filename: str) -> None:
        self._notes = Notes(filename)

    def rewrite(self, tree: ast.Module) -> None:
        """Rewrite ``tree`` in place."""
        tree.body = self._statements(tree.body)

    def helpers(self) -> dict[str, Any]:
        """Names that the rewritten code needs among its globals."""
        notes = self._notes
        return {_MADE: notes.made, _TAKEN: notes.taken, _BEFORE: notes.before, _AFTER: notes.after}

    def forget(self) -> None:
        """Release the recorded dicts. Call this when their origins have moved into ConfigDicts."""
        self._notes.forget()

    def _statements(self, body: list[ast.stmt]) -> list[ast.stmt]:
        rewritten: list[ast.stmt] = []
        for statement in body:
            before, after = self._around(statement)
            self._children(statement)
            rewritten += [*before, statement, *after]
        return rewritten

    def _children(self, node: ast.AST) -> None:
        for name in node._fields:
            value = getattr(node, name, None)
            if value.__class__ is list:
                if (
                    name in ('body', 'orelse', 'finalbody')
                    and value
                    and isinstance(value[0], ast.stmt)
                ):
                    setattr(node, name, self._statements(value))
                    continue
                for position, item in enumerate(value):
                    if item.__class__ not in _LEAVES and isinstance(item, ast.AST):
                        value[position] = self._node(item)
            elif value.__class__ not in _LEAVES and isinstance(value, ast.AST):
                setattr(node, name, self._node(value))

    def _node(self, node: Any) -> Any:
        kind = node.__class__
        if kind is ast.Call and isinstance(node.func, ast.Name) and node.func.id == 'dict':
            return self._dict_call(node)
        if kind is ast.Dict:
            return self._display(node)
        if kind is ast.BinOp and node.op.__class__ is ast.BitOr:
            return self._union(node)
        self._children(node)
        return self._made(self._site(node), node) if kind is ast.DictComp else node

    def _dict_call(self, node: ast.Call) -> ast.Call:
        index = self._site(node, _lines_of(node))
        self._children(node)
        node.args = [self._taken(index, item) for item in node.args]
        for keyword in node.keywords:
            if keyword.arg is None:
                keyword.value = self._taken(index, keyword.value)
        return self._made(index, node)

    def _display(self, node: ast.Dict) -> ast.Call:
        lines = {key.value: key.lineno for key in node.keys if isinstance(key, ast.Constant)}
        index = self._site(node, lines)
        for position, (key, item) in enumerate(zip(node.keys, node.values, strict=True)):
            if item.__class__ not in _LEAVES:
                node.values[position] = self._node(item)
            if key is None:
                node.values[position] = self._taken(index, node.values[position])
        return self._made(index, node)

    def _union(self, node: ast.BinOp) -> ast.Call:
        index = self._site(node)
        self._children(node)
        node.left, node.right = self._taken(index, node.left), self._taken(index, node.right)
        return self._made(index, node)

    def _around(self, statement: ast.stmt) -> tuple[list[ast.stmt], list[ast.stmt]]:
        """Calls that note which keys of which dicts a statement changes."""
        before: list[ast.stmt] = []
        after: list[ast.stmt] = []
        for owner, index in self._changes(statement):
            if _is_plain_path(owner):
                before.append(_statement(self._call(statement, _BEFORE, index, _read(owner))))
                after.append(_statement(self._call(statement, _AFTER, index)))
        return before, after

    def _changes(self, statement: ast.stmt) -> Iterator[tuple[ast.expr, int]]:
        """What a statement may change, and a site for each."""
        if isinstance(statement, (ast.Assign, ast.AnnAssign, ast.AugAssign)):
            targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
            for target in targets:
                owner, key = _owner_and_key(target)
                if owner is not None:
                    yield owner, self._site(target, {} if key is None else {key: target.lineno})
        if isinstance(statement, ast.AugAssign):
            index = self._site(statement)
            statement.value = self._taken(index, statement.value)
            yield statement.target, index
        elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call):
            call = statement.value
            if isinstance(call.func, ast.Attribute) and call.func.attr in _CHANGING:
                index = self._site(statement, _lines_of(call))
                call.args = [self._taken(index, item) for item in call.args]
                yield call.func.value, index

    def _site(self, node: ast.expr | ast.stmt, lines: dict[Any, int] | None = None) -> int:
        return self._notes.add_site(node.lineno, {} if lines is None else lines)

    def _taken(self, index: int, value: ast.expr) -> ast.expr:
        if value.__class__ is ast.Constant or value.__class__ is ast.Starred:
            return value
        return self._call(value, _TAKEN, index, value)

    def _made(self, index: int, value: ast.expr) -> ast.Call:
        return self._call(value, _MADE, index, value)

    def _call(self, node: ast.AST, name: str, index: int, *arguments: ast.expr) -> ast.Call:
        function = ast.copy_location(ast.Name(name, ast.Load()), node)
        place = ast.copy_location(ast.Constant(index), node)
        call = ast.Call(func=function, args=[place, *arguments], keywords=[])
        return ast.copy_location(call, node)


def assigned_lines(body: list[ast.stmt]) -> dict[str, int]:
    """The line that last wrote each module-level name."""
    lines: dict[str, int] = {}
    for statement in body:
        targets = getattr(statement, 'targets', [])
        for target in (*targets, getattr(statement, 'target', None)):
            _add_target_lines(target, lines)
        for name in ('body', 'orelse', 'finalbody', 'handlers'):
            if not isinstance(statement, _SCOPES) and hasattr(statement, name):
                lines.update(assigned_lines(getattr(statement, name)))
    return lines


def _add_target_lines(target: ast.expr | None, lines: dict[str, int]) -> None:
    if isinstance(target, ast.Name):
        lines[target.id] = target.lineno
    elif isinstance(target, (ast.Tuple, ast.List)):
        for item in target.elts:
            _add_target_lines(item, lines)


def _is_plain_path(node: ast.expr) -> bool:
    """Whether ``node`` has names, attributes and items only: reading it once more does no harm."""
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Subscript) and not isinstance(node.slice, (ast.Constant, ast.Name)):
            return False
        if not isinstance(node, (ast.Attribute, ast.Subscript)):
            return False
        node = node.value
    return True


def _owner_and_key(target: ast.expr) -> tuple[ast.expr | None, Any]:
    """What an assignment changes: the owner, and the key if it is written in the file."""
    if isinstance(target, ast.Attribute):
        return target.value, target.attr
    if isinstance(target, ast.Subscript):
        key = target.slice
        return target.value, key.value if isinstance(key, ast.Constant) else None
    return None, None


def _read(node: ast.expr) -> ast.expr:
    """A copy of a target of an assignment, as an expression that is read."""
    copied = deepcopy(node)
    if hasattr(copied, 'ctx'):
        copied.ctx = ast.Load()
    return copied


def _lines_of(call: ast.Call) -> dict[Any, int]:
    """The lines of the keywords of a call."""
    return {keyword.arg: keyword.lineno for keyword in call.keywords if keyword.arg is not None}


def _statement(call: ast.Call) -> ast.Expr:
    return ast.copy_location(ast.Expr(call), call)


_LEAVES = frozenset((ast.Constant, ast.Name, ast.Load, ast.Store, ast.Del, str, int, type(None)))
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
