"""Execute one Python config file, whatever its style."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Collection
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from mmengine.config._origin.places import Origin
from mmengine.config._origin.recorder import Recorder, assigned_lines
from mmengine.config._reading.defined import module_name, publish
from mmengine.config._reading.source import Source
from mmengine.config.config_dict import ConfigDict, as_config
from mmengine.config.errors import ConfigError, execution_error
from mmengine.config.lazy import LazyAttr, LazyObject


def execute(source: Source, tree: ast.Module, namespace: dict[str, Any]) -> Recorder:
    """Run ``tree`` in ``namespace``, recording where dicts are written.

    The caller turns the dicts into ConfigDicts and then calls ``forget`` of the returned recorder.

    Raises:
        ConfigError: If the code raises; also an instance of the builtin error that was raised.
    """
    recorder = Recorder(source.label)
    recorder.rewrite(tree)
    namespace |= recorder.helpers() | {
        '__file__': str(source.path),
        '__name__': module_name(source.path),
    }
    try:
        # What the parser lets pass, such as an argument that is given twice.
        code = compile(tree, source.label, 'exec')
    except SyntaxError as error:
        recorder.forget()
        raise source.syntax_error(error) from None
    try:
        exec(code, namespace)
    except ConfigError:
        recorder.forget()
        raise
    except Exception as error:
        recorder.forget()
        line = _line_of(error, source.label)
        raise execution_error(error)(
            f'{source.label}:{line}: {type(error).__name__}: {error}{_line_text(source.text, line)}'
        ) from error
    publish(source.path, tree, namespace)
    return recorder


def entries_of(
    source: Source,
    tree: ast.Module,
    namespace: dict[str, Any],
    helpers: Collection[str],
    ignore: Collection[str] = (),
) -> ConfigDict:
    """The values that an executed file defines, without modules, functions and imported names.

    Args:
        helpers: Names to leave out, unless the file assigns them itself.
        ignore: Names whose assignments in ``tree`` are not the file's own.
    """
    lines = assigned_lines(tree.body)
    entries = ConfigDict()
    places = {}
    for name, value in namespace.items():
        if (
            isinstance(value, _MACHINERY)
            or _is_dunder(name)
            or (name in helpers and name not in lines)
        ):
            continue
        if name in ignore and isinstance(value, (LazyObject, LazyAttr)):
            continue
        dict.__setitem__(entries, name, as_config(value))
        if name in lines:
            places[name] = (source.label, lines[name])
    object.__setattr__(entries, '_origin', Origin((source.label, 0), places))
    return entries


def warn_if_deprecated(entries: ConfigDict, source: Source) -> None:
    """Drop ``_deprecation_`` from a file's entries, and warn with what it says."""
    notice = dict.pop(entries, '_deprecation_', None)
    if not isinstance(notice, dict):
        return
    instead = f' Use {notice["expected"]} instead.' if 'expected' in notice else ''
    reference = f' See {notice["reference"]}.' if 'reference' in notice else ''
    warnings.warn(
        f'The config file {source.path} is deprecated.{instead}{reference}',
        DeprecationWarning,
        stacklevel=2,
    )


def bound_by_statements(tree: ast.Module) -> set[str]:
    """Names that module-level ``import``, ``def``, ``class`` and ``with`` statements bind."""
    names: set[str] = set()
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            names.update(alias.asname or alias.name.partition('.')[0] for alias in node.names)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, ast.withitem) and isinstance(node.optional_vars, ast.Name):
            names.add(node.optional_vars.id)
        elif isinstance(node, (ast.If, ast.Try, ast.With, ast.For, ast.While, ast.ExceptHandler)):
            waiting.extend(ast.iter_child_nodes(node))
    return names


def _is_dunder(name: object) -> bool:
    return isinstance(name, str) and name.startswith('__')


def _line_of(error: BaseException, filename: str) -> int:
    line = 0
    trace = error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == filename:
            line = trace.tb_lineno
        trace = trace.tb_next
    return line


def _line_text(text: str, line: int) -> str:
    lines = text.splitlines()
    return f': {lines[line - 1].strip()}' if 0 < line <= len(lines) else ''


_MACHINERY = (ModuleType, FunctionType, BuiltinFunctionType)
