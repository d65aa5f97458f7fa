"""Parse and execute one Python config file, whatever its style."""

from __future__ import annotations

import ast
import os
import warnings
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from mmengine.config.config_dict import ConfigDict, as_config
from mmengine.config.defined import module_name, publish
from mmengine.config.errors import (
    ConfigError,
    ConfigParsingError,
    ConfigSyntaxError,
    execution_error,
)
from mmengine.config.instrument import Recorder, assigned_lines
from mmengine.config.lazy import LazyAttr, LazyObject
from mmengine.config.origin import Origin


@dataclass
class Source:
    """A config file that was read, before anything in it runs."""

    path: Path
    text: str
    chain: tuple[Path, ...] = ()
    """The files that inherit from this one, the first one first."""
    label: str = field(default='')
    """How the file is called in errors and source locations."""
    parsed: ast.Module | None = None
    """The syntax tree of ``text``, when somebody has parsed it and not changed it."""

    def __post_init__(self) -> None:
        self.label = self.label or str(self.path)

    def refuse_circle(self) -> None:
        """Raise if the file inherits from itself; shows the whole circle."""
        if self.path in self.chain:
            circle = (*self.chain[self.chain.index(self.path) :], self.path)
            raise ConfigParsingError(f'circular _base_: {" -> ".join(map(str, circle))}')

    def parse(self, text: str | None = None) -> ast.Module:
        """The syntax tree.

        Raises:
            ConfigSyntaxError: With file, line and the line's text.
        """
        code = self.text if text is None else text
        if self.parsed is not None and code == self.text:
            # Handed out once: whoever gets it rewrites it.
            tree, self.parsed = self.parsed, None
            return tree
        try:
            return ast.parse(code, self.label)
        except SyntaxError as error:
            lines = code.splitlines()
            number = error.lineno or 0
            shown = lines[number - 1] if 0 < number <= len(lines) else error.text
            raise ConfigSyntaxError(
                f'syntax error, {error.msg}', self.label, number, shown
            ) from None


def read_source(path: Path, label: str = '', child: Source | None = None) -> Source:
    """Read a config file.

    Args:
        label: How to call it.
        child: The file that inherits from it, beside whose label its own is put.

    Raises:
        ConfigParsingError: If the file inherits from itself, or is not text.
    """
    if child is None:
        source = Source(path, '', label=label)
    else:
        source = Source(path, '', (*child.chain, child.path), _label_beside(child, path))
    source.refuse_circle()
    try:
        source.text = path.read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise ConfigParsingError(f'{source.label}: not a text file in UTF-8: {error}') from error
    return source


def _label_beside(child: Source, path: Path) -> str:
    """``path`` written as ``child``'s label is: relative to the working directory or not."""
    if os.path.isabs(child.label) or '::' in child.label:
        return str(path)
    steps = os.path.relpath(path, child.path.parent)
    label = os.path.normpath(os.path.join(os.path.dirname(child.label), steps))
    return str(path) if label.startswith('..') else label


def execute(source: Source, tree: ast.Module, namespace: dict[str, Any]) -> Recorder:
    """Run ``tree`` in ``namespace``, recording where dicts are written.

    Whoever calls turns the dicts into ConfigDicts and then lets the returned recorder forget them.

    Raises:
        ConfigError: If the code raises; it is also an error of the kind that was raised.
    """
    recorder = Recorder(source.label)
    recorder.rewrite(tree)
    namespace |= recorder.helpers() | {
        '__file__': str(source.path),
        '__name__': module_name(source.path),
    }
    code = compile(tree, source.label, 'exec')
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
    """What an executed file defines, without modules, functions and names that it only imported.

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
