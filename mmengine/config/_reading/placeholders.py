"""``{{ fileBasename }}``, ``{{ $ENV:default }}`` and ``{{ _base_.x.y }}`` in text-style configs."""

from __future__ import annotations

import ast
import os
import re
from copy import deepcopy
from pathlib import Path
from typing import Any

from mmengine.config.errors import (
    ConfigKeyError,
    MissingAttributeError,
    MissingKeyError,
    short_repr,
)

_FILE_VARIABLE = re.compile(r'\{\{\s*(file\w+)\s*\}\}')
_ENV_VARIABLE = re.compile(
    r'\{\{\s*(?P<q>["\']?)\$\s*(?P<name>\w+)\s*(?P<colon>:)?(?P<default>[^{}\n]*?)(?P=q)\s*\}\}'
)
_BASE_VARIABLE = re.compile(r'\{\{\s*_base_\.([\w.]+)\s*\}\}')
_STRING_OR_INDEXED_BASE_VARIABLE = re.compile(
    r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|(?P<bare>\{\{\s*_base_\.[\w.]*\.\d[\w.]*\s*\}\})'
)
_STRING_OR_BASE_VARIABLE = re.compile(
    r'"(?:\\.|[^"\\\n])*"|\'(?:\'\'|[^\'\n])*\'|(?P<bare>\{\{\s*_base_\.[\w.]+\s*\}\})'
)


def fill_file_variables(text: str, path: Path) -> str:
    """Replace the variables that name the file itself; other names in braces stay as they are."""
    if '{{' not in text:
        return text
    # Forward slashes: a backslash would begin an escape inside the file's string literals.
    values = {
        'fileDirname': path.parent.as_posix(),
        'fileBasename': path.name,
        'fileBasenameNoExtension': path.stem,
        'fileExtname': path.suffix,
    }
    return _FILE_VARIABLE.sub(lambda found: values.get(found[1], found[0]), text)


def fill_env_variables(text: str, label: str, used: dict[str, str]) -> str:
    """Replace environment variables by their values or defaults.

    Args:
        label: What errors call the file.
        used: Gets the variables that were set, with their values.

    Raises:
        ConfigKeyError: If a variable is unset and has no default.
    """

    def value(found: re.Match[str]) -> str:
        name, default = found['name'], found['default'].strip()
        if name in os.environ:
            used[name] = os.environ[name]
            return used[name]
        if found['colon'] and default:
            return default
        line = text.count('\n', 0, found.start()) + 1
        raise ConfigKeyError(
            f'{label}:{line}: the environment variable {name!r} is not set and {found[0]} has no '
            f'default. Set it, or write {{{{${name}:some default}}}}.'
        )

    return _ENV_VARIABLE.sub(value, text) if '{{' in text else text


def quote_bare_base_variables(text: str, suffix: str) -> str:
    """Put quotes around base variables outside strings if the file cannot be parsed without them.

    Python can parse ``{{ _base_.x }}``, a set in a set, but not ``{{ _base_.x.0 }}``.
    """

    def quoted(found: re.Match[str]) -> str:
        return f'"{found[0]}"' if found['bare'] else found[0]

    pattern = _STRING_OR_INDEXED_BASE_VARIABLE if suffix == '.py' else _STRING_OR_BASE_VARIABLE
    return pattern.sub(quoted, text) if has_base_variables(text) else text


def resolve_base_variables(value: Any, base: Any, label: str) -> Any:
    """``value`` with the base variables in its strings filled in."""
    if isinstance(value, dict):
        return {key: resolve_base_variables(item, base, label) for key, item in value.items()}
    if isinstance(value, list):
        return [resolve_base_variables(item, base, label) for item in value]
    return fill_base_variables(value, base, label) if isinstance(value, str) else value


def fill_base_variables(text: str, base: Any, place: str) -> Any:
    """``text`` with base variables filled in. A single variable gives a copy of its value.

    Raises:
        ConfigKeyError: If the base files define no such variable.
    """
    whole = _BASE_VARIABLE.fullmatch(text.strip())
    if whole:
        return base_value(base, whole[1], place)
    return _BASE_VARIABLE.sub(lambda found: str(base_value(base, found[1], place)), text)


def base_value(base: Any, dotted: str, place: str) -> Any:
    """A copy of the base files' value at ``dotted``; digits are indices of lists."""
    value = base
    for part in dotted.split('.'):
        try:
            value = value[int(part)] if isinstance(value, (list, tuple)) else value[part]
        except (MissingKeyError, MissingAttributeError) as error:
            raise ConfigKeyError(f'{place}: the base files define no {dotted!r}: {error}') from None
        except (IndexError, ValueError, TypeError, KeyError):
            raise ConfigKeyError(
                f'{place}: the base files define no {dotted!r}: {part!r} was looked up in '
                f'{short_repr(value)}.'
            ) from None
    return deepcopy(value)


class BaseVariableRewriter(ast.NodeTransformer):
    """Turns base variables in Python code into calls of ``__base_value__`` and ``__base_text__``.

    Outside a string ``{{ _base_.x }}`` is valid Python, a set in a set, and is recognised as such.
    """

    def visit_Set(self, node: ast.Set) -> ast.AST:
        inner = node.elts[0] if len(node.elts) == 1 else None
        if isinstance(inner, ast.Set) and len(inner.elts) == 1:
            path = _base_path(inner.elts[0])
            if path is not None:
                return _call('__base_value__', path, node)
        return self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if isinstance(node.value, str) and _BASE_VARIABLE.search(node.value):
            return _call('__base_text__', node.value, node)
        return node

    def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.AST:
        return node


def has_base_variables(text: str) -> bool:
    return _BASE_VARIABLE.search(text) is not None


def _base_path(node: ast.expr) -> str | None:
    parts: list[str] = []
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    is_base = isinstance(node, ast.Name) and node.id == '_base_' and parts
    return '.'.join(reversed(parts)) if is_base else None


def _call(function: str, argument: str, node: ast.expr) -> ast.Call:
    arguments: list[ast.expr] = [ast.Constant(argument), ast.Constant(node.lineno)]
    call = ast.Call(func=ast.Name(function, ast.Load()), args=arguments, keywords=[])
    return ast.fix_missing_locations(ast.copy_location(call, node))
