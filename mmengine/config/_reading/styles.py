"""Tell the styles of Python configs apart: ``_base_ = ...`` (text), ``read_base()`` (lazy)."""

from __future__ import annotations

import ast
import sys
from typing import NamedTuple

from mmengine.config._reading.source import Source
from mmengine.config.errors import ConfigParsingError


class Sign(NamedTuple):
    """A statement that only one style has."""

    what: str
    line: int


def is_standard_module(name: str) -> bool:
    """Whether a module comes with Python, so that it can be imported right away."""
    return name.partition('.')[0] in sys.stdlib_module_names


def lazy_sign(tree: ast.Module) -> Sign | None:
    """A statement that makes a file lazy: ``with read_base()``, or an import of a package."""
    for statement in tree.body:
        if isinstance(statement, ast.Import):
            for alias in statement.names:
                if not is_standard_module(alias.name):
                    return Sign(f'import {alias.name}', statement.lineno)
        elif isinstance(statement, ast.ImportFrom):
            module = '.' * statement.level + (statement.module or '')
            names = {alias.name for alias in statement.names}
            if not is_standard_module(module) and not _is_for_configs(module, names):
                return Sign(f'from {module} import ...', statement.lineno)
    return read_base_sign(tree)


def _is_for_configs(module: str, names: set[str]) -> bool:
    """Whether an import gives what a text config calls, such as ``Config.fromfile``."""
    return (
        names == {'read_base'}
        or module == 'mmengine.config'
        or (module == 'mmengine' and names <= {'Config', 'ConfigDict', 'read_base'})
    )


def read_base_sign(tree: ast.Module) -> Sign | None:
    """The first ``with read_base()`` of a file."""
    for statement in tree.body:
        if isinstance(statement, ast.With) and reads_base(statement):
            return Sign('with read_base()', statement.lineno)
    return None


def assigns_base(tree: ast.Module) -> Sign | None:
    """The statement that makes a file text-style: an assignment to ``_base_``."""
    for statement in tree.body:
        if isinstance(statement, ast.Assign):
            for target in statement.targets:
                if isinstance(target, ast.Name) and target.id == '_base_':
                    return Sign('_base_ = ...', statement.lineno)
    return None


def reads_base(statement: ast.With) -> bool:
    """Whether a with statement is ``with read_base():`` or ``with config.read_base():``."""
    for item in statement.items:
        call = item.context_expr
        if isinstance(call, ast.Call):
            func = call.func
            name = func.id if isinstance(func, ast.Name) else getattr(func, 'attr', '')
            if name == 'read_base':
                return True
    return False


def mixed_styles(source: Source, lazy: Sign, text: Sign | None) -> ConfigParsingError:
    """The error for a file of both styles, or of another style than its child."""
    if text is not None:
        return ConfigParsingError(
            f'{source.label}:{text.line}: {text.what!r} (text style) and {lazy.what!r} on line '
            f'{lazy.line} (lazy style) are in one config. Inherit with `with read_base(): from '
            '.base import *`, or import nothing and name types as strings, or load it with '
            'lazy_import=False.'
        )
    child = (
        f'{source.chain[-1]} inherits from it with _base_'
        if source.chain
        else 'lazy_import is False'
    )
    return ConfigParsingError(
        f'{source.label}:{lazy.line}: {lazy.what!r} makes this a lazy-style config, but {child}. '
        'All files of a config have one style: inherit with `with read_base(): from .base import '
        '*`.'
    )
