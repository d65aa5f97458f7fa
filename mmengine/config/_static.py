"""Reads the text of a config without executing it."""

from __future__ import annotations

import ast
from typing import Any

_SETS = {'set': set, 'frozenset': frozenset}


def read_static(text: str) -> dict[str, Any]:
    """The values that the assignments of a Python config give to its names.

    Literals, ``dict(...)`` and containers of them become values. An imported name becomes its
    dotted path (``'torch.optim.SGD'``). Any other expression becomes its source, as text. So texts
    that :attr:`Config.pretty_text` wrote are read whole, and nothing in them is called.

    Args:
        text: Python source.

    Raises:
        ValueError: If ``text`` is not Python.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, RecursionError, MemoryError) as error:
        raise ValueError(f'The text is not a Python config: {error}') from error
    reader = _Reader()
    values: dict[str, Any] = {}
    for statement in tree.body:
        if isinstance(statement, (ast.Import, ast.ImportFrom)):
            reader.note_import(statement)
        elif isinstance(statement, ast.Assign):
            for name in filter(None, map(_name_of, statement.targets)):
                values[name] = reader.value(statement.value)
    return values


def _name_of(target: ast.expr) -> str | None:
    """The name that ``name = ...`` or ``globals()['name'] = ...`` sets."""
    if isinstance(target, ast.Name):
        return target.id
    if (
        isinstance(target, ast.Subscript)
        and isinstance(target.slice, ast.Constant)
        and ast.unparse(target.value) == 'globals()'
    ):
        return str(target.slice.value)
    return None


class _Reader:
    """Values of expressions; ``paths`` has the dotted path of each imported name."""

    def __init__(self) -> None:
        self._paths: dict[str, str] = {}

    def note_import(self, statement: ast.Import | ast.ImportFrom) -> None:
        parent = ''
        if isinstance(statement, ast.ImportFrom):
            parent = '.' * statement.level + (statement.module or '')
            parent += '' if parent.endswith('.') or not parent else '.'
        for alias in statement.names:
            path = parent + alias.name
            self._paths[alias.asname or alias.name.partition('.')[0]] = (
                path if alias.asname or parent else alias.name.partition('.')[0]
            )

    def value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            return self._items(node)
        if isinstance(node, ast.Dict):
            return self._display(node)
        if isinstance(node, ast.Call):
            return self._call(node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            operand = self.value(node.operand)
            if isinstance(operand, (int, float, complex)):
                return -operand
        path = self._path(node)
        return ast.unparse(node) if path is None else path

    def _items(self, node: ast.List | ast.Tuple | ast.Set) -> Any:
        items = [self.value(item) for item in node.elts]
        if isinstance(node, ast.List):
            return items
        try:
            return tuple(items) if isinstance(node, ast.Tuple) else set(items)
        except TypeError:  # an item of a set that cannot be in one
            return ast.unparse(node)

    def _display(self, node: ast.Dict) -> Any:
        result: dict[Any, Any] = {}
        for key, item in zip(node.keys, node.values, strict=True):
            value = self.value(item)
            if isinstance(key, ast.Constant):
                result[key.value] = value
            elif key is None and isinstance(value, dict):
                result.update(value)
            else:
                result[ast.unparse(node if key is None else key)] = value
        return result

    def _call(self, node: ast.Call) -> Any:
        name = node.func.id if isinstance(node.func, ast.Name) else ''
        if name == 'dict' and not node.args:
            result: dict[Any, Any] = {}
            for keyword in node.keywords:
                value = self.value(keyword.value)
                if keyword.arg is not None:
                    result[keyword.arg] = value
                elif isinstance(value, dict):
                    result.update(value)
                else:
                    return ast.unparse(node)
            return result
        arguments = [self.value(argument) for argument in node.args]
        if len(arguments) == 1 and not node.keywords:
            if name == 'float' and arguments[0] in ('inf', '-inf', 'nan'):
                return float(arguments[0])
            if name in _SETS and isinstance(arguments[0], (set, list, tuple)):
                return _SETS[name](arguments[0])
        return ast.unparse(node)

    def _path(self, node: ast.expr) -> str | None:
        """The dotted path of ``name.attribute`` with an imported name; None for anything else."""
        if isinstance(node, ast.Name):
            return self._paths.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self._path(node.value)
            return None if owner is None else f'{owner}.{node.attr}'
        return None
