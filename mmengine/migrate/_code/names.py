"""Names in the syntax tree of a module: which are imported, bound and used."""

from __future__ import annotations

import ast
import re
import warnings
from collections.abc import Iterable

TOO_DEEP = 'its expressions are nested too deeply'


def parse(text: str | bytes) -> ast.Module:
    """The syntax tree of ``text``, without warnings about it.

    Raises:
        SyntaxError: If it is not Python that can be read.
    """
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            return ast.parse(text)
        except (RecursionError, MemoryError) as error:
            raise SyntaxError(TOO_DEEP) from error
        except ValueError as error:
            raise SyntaxError(str(error)) from error


def imported_names(nodes: Iterable[ast.AST]) -> dict[str, str]:
    """What each imported name stands for."""
    origins = {}
    for node in nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                head = alias.name.partition('.')[0]
                origins[alias.asname or head] = alias.name if alias.asname else head
        elif isinstance(node, ast.ImportFrom) and not node.level:
            for alias in node.names:
                origins[alias.asname or alias.name] = f'{node.module}.{alias.name}'
    origins.pop('*', None)
    return origins


def bound_names(nodes: Iterable[ast.AST]) -> frozenset[str]:
    """Names of variables, arguments, functions and classes, wherever in the module."""
    names = set()
    for node in nodes:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)):
            names.add(node.name)
        elif isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            names.add(node.id)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
    return frozenset(names)


def used_names(nodes: Iterable[ast.AST]) -> set[str]:
    """Names that the code uses, those in short texts included: annotations and ``__all__``."""
    names = set()
    for node in nodes:
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            is_short = len(node.value) < 80
            names.update(re.findall(r'[^\W\d]\w*', node.value) if is_short else ())
    return names
