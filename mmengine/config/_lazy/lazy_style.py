"""Lazy-style configs: plain Python, inheriting with ``read_base()``, importing only on use."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config._lazy.import_pass import ImportTransformer
from mmengine.config._merge import unshare
from mmengine.config._origin.places import Place
from mmengine.config._reading.packages import package_folder
from mmengine.config._reading.paths import checked_path
from mmengine.config._reading.python_file import (
    bound_by_statements,
    entries_of,
    execute,
    warn_if_deprecated,
)
from mmengine.config._reading.source import Source, read_source
from mmengine.config._reading.styles import assigns_base, lazy_sign, mixed_styles, reads_base
from mmengine.config.config_dict import ConfigDict
from mmengine.config.errors import ConfigFileNotFoundError, ConfigKeyError, ConfigParsingError
from mmengine.config.lazy import LazyAttr, LazyObject
from mmengine.utils.errors import did_you_mean

_ADD_BASE_NAMES = '__add_base_names__'


@contextmanager
def read_base() -> Iterator[None]:
    """Marks the base files that a lazy-style config inherits from.

    The block contains only ``from .base import *`` or ``from .base import name``. They are valid
    Python imports, so an editor can follow them.

    Example::

        with read_base():
            from .._base_.default_runtime import *
    """
    yield


@dataclass
class Module:
    """A lazy-style file that was executed."""

    entries: ConfigDict
    """The content of the config."""
    hidden: dict[str, Any] = field(default_factory=dict)
    """Imported names, functions and classes: available to files that inherit, not in the config."""
    imported: dict[str, Any] = field(default_factory=dict)
    """The hidden names that are lazily imported."""

    def names(self) -> dict[str, Any]:
        return {**dict(dict.items(self.entries)), **self.hidden}


def load_lazy(source: Source, tree: ast.Module) -> Module:
    """Execute a lazy-style file over its base files.

    Raises:
        ConfigError: If one of the files is wrong.
    """
    module = _load(source, tree)
    unshare(module.entries)
    return module


def _load(source: Source, tree: ast.Module) -> Module:
    _refuse_text_style(source, tree)
    base_imports: list[_BaseImport] = []
    namespace: dict[str, Any] = {}
    tree.body = [
        line for statement in tree.body for line in _with_bases(statement, source, base_imports)
    ]
    transformer = ImportTransformer(namespace, {}, source.label)
    defined = bound_by_statements(tree)
    tree = transformer.visit(tree)
    namespace[_ADD_BASE_NAMES] = lambda index: namespace.update(base_imports[index].names)
    recorder = execute(source, tree, namespace)
    for name in ('LazyObject', _ADD_BASE_NAMES):
        namespace.pop(name, None)

    hidden_of_bases = {name for base_import in base_imports for name in base_import.hidden}
    helpers = defined | hidden_of_bases | transformer.imported_obj | {'read_base'}
    try:
        # The import pass adds assignments. Only assignments of the file itself are content.
        entries = entries_of(source, tree, namespace, helpers, ignore=transformer.imported_obj)
    finally:
        recorder.forget()
    warn_if_deprecated(entries, source)
    _add_places(entries, base_imports)
    hidden = {
        name: value
        for name, value in namespace.items()
        if name not in entries and not name.startswith('__')
    }
    hidden.pop('read_base', None)
    imported = {
        name: value for name, value in hidden.items() if isinstance(value, (LazyObject, LazyAttr))
    }
    return Module(entries, hidden, imported)


@dataclass
class _BaseImport:
    """The names that one import inside ``with read_base()`` adds."""

    names: dict[str, Any]
    hidden: set[str]
    places: dict[str, Place]


def _refuse_text_style(source: Source, tree: ast.Module) -> None:
    text = assigns_base(tree)
    if text is None:
        return
    lazy = lazy_sign(tree)
    if lazy is not None:
        raise mixed_styles(source, lazy, text)
    child = (
        f'{source.chain[-1]} reads it with read_base()' if source.chain else 'lazy_import is True'
    )
    raise ConfigParsingError(
        f'{source.label}:{text.line}: {text.what!r} makes this a text-style config, but {child}. '
        'All files of a config have one style: inherit with `with read_base(): from .base import '
        '*`.'
    )


def _with_bases(
    statement: ast.stmt, source: Source, base_imports: list[_BaseImport]
) -> Iterator[ast.stmt]:
    """The statement itself; for ``with read_base()``, calls that add base files' names."""
    if not isinstance(statement, ast.With) or not reads_base(statement):
        yield statement
        return
    for inner in statement.body:
        if isinstance(inner, ast.Pass) or (
            isinstance(inner, ast.Expr) and isinstance(inner.value, ast.Constant)
        ):
            continue
        if not isinstance(inner, ast.ImportFrom):
            raise ConfigParsingError(
                f'{source.label}:{inner.lineno}: only `from ... import ...` of base files may '
                f'stand in `with read_base():`, got {ast.unparse(inner).partition(chr(10))[0]!r}'
            )
        base_imports.append(_base_import(inner, source))
        call = ast.Call(
            func=ast.Name(_ADD_BASE_NAMES, ast.Load()),
            args=[ast.Constant(len(base_imports) - 1)],
            keywords=[],
        )
        yield ast.fix_missing_locations(ast.copy_location(ast.Expr(call), inner))


def _base_import(node: ast.ImportFrom, source: Source) -> _BaseImport:
    path = _base_file(node, source)
    base_source = read_source(path, child=source)
    base = _load(base_source, base_source.parse())
    available = base.names()
    imported_as: dict[str, str] = {}
    for alias in node.names:
        if alias.name == '*':
            imported_as.update((name, name) for name in available)
        elif alias.name in available:
            imported_as[alias.asname or alias.name] = alias.name
        else:
            raise ConfigKeyError(
                f'{source.label}:{node.lineno}: {path} defines no '
                f'{alias.name!r}.{did_you_mean(alias.name, available)}'
            )
    origin = base.entries._origin
    return _BaseImport(
        names={bound: available[name] for bound, name in imported_as.items()},
        hidden={bound for bound, name in imported_as.items() if name in base.hidden},
        places={
            bound: origin.place_of(name)
            for bound, name in imported_as.items()
            if origin is not None and name in base.entries
        },
    )


def _add_places(entries: ConfigDict, base_imports: list[_BaseImport]) -> None:
    """Record where the base files wrote the keys that the file itself does not write."""
    origin = entries._origin
    assert origin is not None
    written_here = set(origin.keys)
    for base_import in base_imports:
        for name, place in base_import.places.items():
            if name in entries and name not in written_here:
                origin.keys[name] = place


def _base_file(node: ast.ImportFrom, source: Source) -> Path:
    parts = (node.module or '').split('.') if node.module else []
    where = f'{source.label}:{node.lineno}: read_base: '
    if not parts:
        raise ConfigParsingError(f'{where}write `from .file import *`, naming the base file')
    if node.level:
        folder = source.path.parent
        for _ in range(node.level - 1):
            folder = folder.parent
        return checked_path(folder.joinpath(*parts).with_suffix('.py'), wanted_by=where)
    package, *inside = parts
    root = package_folder(package)
    # A wheel keeps its configs in `.mim`; a source checkout has them inside the package.
    tried = [
        root.joinpath(*inside).with_suffix('.py'),
        (root / '.mim').joinpath(*inside).with_suffix('.py'),
    ]
    for path in tried:
        if path.is_file():
            return path
    if not inside:
        raise ConfigFileNotFoundError(f'{where}{package!r} is a package, not a config file in one')
    return checked_path(tried[0], wanted_by=where)
