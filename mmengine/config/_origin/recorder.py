"""Rewrite a parsed config file so that executing it records where every dict was written.

``dict(a=1)`` becomes ``__dict_at__(7, a=1)`` and ``{'a': 1}`` becomes
``__dict_display_at__(7, {'a': 1})``, where 7 is an index into the file's list of origins. The
result of the file does not change.
"""

from __future__ import annotations

import ast
from typing import Any

from mmengine.config._origin.places import PLAIN_DICT_ORIGINS, Origin, Place

DICT_CALL, DICT_DISPLAY, KEY_SET = '__dict_at__', '__dict_display_at__', '__key_set__'


class Recorder:
    """Rewrites one file's syntax tree and gives the helpers that the rewritten code calls."""

    def __init__(self, filename: str) -> None:
        self._filename = filename
        self._origins: list[Origin] = []
        self._made: list[dict[Any, Any]] = []
        self._places: dict[int, Place] = {}

    def rewrite(self, tree: ast.Module) -> None:
        """Rewrite ``tree`` in place."""
        tree.body = self._statements(tree.body)

    def helpers(self) -> dict[str, Any]:
        """Names that the rewritten code needs among its globals."""
        origins, made, record = self._origins, self._made, PLAIN_DICT_ORIGINS.record

        def dict_at(index: int, /, *args: Any, **kwargs: Any) -> dict[Any, Any]:
            fresh = dict(*args, **kwargs)
            made.append(fresh)
            return record(fresh, origins[index])

        def dict_display_at(index: int, display: dict[Any, Any]) -> dict[Any, Any]:
            made.append(display)
            return record(display, origins[index])

        def key_set(owner: Any, key: Any, line: int) -> None:
            origin = getattr(owner, '_origin', None)
            if isinstance(origin, Origin):
                origin.keys[key] = self.place(line)

        return {DICT_CALL: dict_at, DICT_DISPLAY: dict_display_at, KEY_SET: key_set}

    def forget(self) -> None:
        """Release the recorded dicts. Call this when their origins have moved into ConfigDicts."""
        PLAIN_DICT_ORIGINS.forget(self._made)
        self._made.clear()

    def place(self, line: int) -> Place:
        """The place of a line. One tuple per line is shared, which saves memory and pickle size."""
        return self._places.setdefault(line, (self._filename, line))

    def _statements(self, body: list[ast.stmt]) -> list[ast.stmt]:
        rewritten: list[ast.stmt] = []
        for statement in body:
            self._children(statement)
            rewritten.append(statement)
            if isinstance(statement, ast.Assign):
                rewritten.extend(self._key_records(statement))
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
        if kind is ast.Call:
            return self._call(node)
        if kind is ast.Dict:
            return self._display(node)
        if kind is ast.List or kind is ast.Tuple:
            items = node.elts
            for position, item in enumerate(items):
                if item.__class__ not in _LEAVES:
                    items[position] = self._node(item)
            return node
        self._children(node)
        return node

    def _call(self, node: ast.Call) -> ast.Call:
        for position, item in enumerate(node.args):
            if item.__class__ not in _LEAVES:
                node.args[position] = self._node(item)
        for keyword in node.keywords:
            if keyword.value.__class__ not in _LEAVES:
                keyword.value = self._node(keyword.value)
        func = node.func
        if not isinstance(func, ast.Name):
            self._children(func)
        elif func.id == 'dict':
            line = node.lineno
            keys = {
                k.arg: self.place(k.lineno) for k in node.keywords if k.arg and k.lineno != line
            }
            func.id = DICT_CALL
            node.args.insert(0, self._index(node, keys))
        return node

    def _display(self, node: ast.Dict) -> ast.Call:
        line = node.lineno
        keys: dict[Any, Place] = {}
        for position, (key, item) in enumerate(zip(node.keys, node.values, strict=True)):
            if item.__class__ not in _LEAVES:
                node.values[position] = self._node(item)
            if isinstance(key, ast.Constant) and key.lineno != line:
                keys[key.value] = self.place(key.lineno)
        name = ast.copy_location(ast.Name(DICT_DISPLAY, ast.Load()), node)
        call = ast.Call(func=name, args=[self._index(node, keys), node], keywords=[])
        return ast.copy_location(call, node)

    def _index(self, node: ast.expr, keys: dict[Any, Place]) -> ast.Constant:
        self._origins.append(Origin(self.place(node.lineno), keys))
        return ast.copy_location(ast.Constant(len(self._origins) - 1), node)

    def _key_records(self, statement: ast.Assign) -> list[ast.stmt]:
        """Calls that record which line wrote a key, as in ``model.backbone.depth = 50``."""
        records: list[ast.stmt] = []
        for target in statement.targets:
            if isinstance(target, ast.Attribute) and _is_plain_path(target.value):
                key: Any = target.attr
            elif (
                isinstance(target, ast.Subscript)
                and isinstance(target.slice, ast.Constant)
                and _is_plain_path(target.value)
            ):
                key = target.slice.value
            else:
                continue
            arguments = [
                _for_reading(target.value),
                ast.Constant(key),
                ast.Constant(statement.lineno),
            ]
            call = ast.Call(func=ast.Name(KEY_SET, ast.Load()), args=arguments, keywords=[])
            record = ast.copy_location(ast.Expr(call), statement)
            records.append(ast.fix_missing_locations(record))
        return records


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
    """Whether ``node`` has names, attributes and constant items only: reading it calls nothing."""
    while not isinstance(node, ast.Name):
        if isinstance(node, ast.Subscript) and not isinstance(node.slice, ast.Constant):
            return False
        if not isinstance(node, (ast.Attribute, ast.Subscript)):
            return False
        node = node.value
    return True


def _for_reading(node: ast.expr) -> ast.expr:
    from copy import deepcopy

    return deepcopy(node)


_LEAVES = frozenset((ast.Constant, ast.Name, ast.Load, ast.Store, ast.Del, str, int, type(None)))
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
