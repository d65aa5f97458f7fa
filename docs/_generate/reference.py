"""The reference: a page for each public package, with every public name once.

A name is public if its module has no underscore and lists it in ``__all__``, or defines it without
an underscore where there is no ``__all__``. A name that several modules export is documented at its
shortest path; the other paths are listed.
"""

from __future__ import annotations

import importlib
import inspect
import json
import pkgutil
import warnings
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any, TypeVar

import mmengine
from mmengine.registry import Registry

ROOT = Path(__file__).parents[2]
LISTED = json.loads(
    (ROOT / 'tests' / 'api' / 'data' / 'public_modules.json').read_text(encoding='utf-8')
)
# A page of its own each, in the order in which a reader meets them; others follow by name.
FIRST = (
    'runner', 'hooks', 'model', 'optim', 'dataset', 'evaluator', 'strategy', 'config', 'registry',
    'visualization', 'logging', 'infer', 'hub', 'dist', 'device', 'fileio', 'structures', 'process',
)  # fmt: skip


@dataclass
class Entry:
    """A public name and the modules that export it, the documented one first."""

    name: str
    value: Any
    paths: list[str] = field(default_factory=list)


def modules() -> list[ModuleType]:
    """All public modules, packages before their parts."""
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        names = ['mmengine'] + sorted(
            module.name for module in pkgutil.walk_packages(mmengine.__path__, 'mmengine.')
        )
        found = [name for name in names if not any(part[0] == '_' for part in name.split('.'))]
        return [
            importlib.import_module(name)
            for name in sorted(found, key=lambda name: (name.count('.'), name))
        ]


def exported(module: ModuleType) -> list[str]:
    """The public names of a module."""
    if hasattr(module, '__all__'):
        return sorted(name for name in module.__all__ if not name.startswith('_'))
    return sorted(
        name
        for name, value in vars(module).items()
        if not name.startswith('_') and getattr(value, '__module__', None) == module.__name__
    )


def entries() -> list[Entry]:
    """Every public name once."""
    found: dict[tuple[str, Any], Entry] = {}
    for module in modules():
        for name in exported(module):
            value = getattr(module, name)
            if isinstance(value, (ModuleType, TypeVar)):
                continue
            key = (name, id(value) if _has_home(value) else repr(value))
            found.setdefault(key, Entry(name, value)).paths.append(module.__name__)
    return list(found.values())


@cache
def paths() -> dict[str, str]:
    """Where each public name is documented; of equal names, the one at the shorter path."""
    found: dict[str, str] = {}
    for entry in sorted(entries(), key=lambda entry: (entry.paths[0].count('.'), entry.paths[0])):
        found.setdefault(entry.name, f'{entry.paths[0]}.{entry.name}')
    return found


def _has_home(value: Any) -> bool:
    return inspect.isclass(value) or inspect.isroutine(value)


def package_of(module: str) -> str:
    """The page that documents the names of a module."""
    return module.split('.')[1] if '.' in module else ''


def write(folder: Path) -> None:
    """Write a page for each package, and the page that lists them."""
    folder.mkdir(parents=True, exist_ok=True)
    by_package: dict[str, list[Entry]] = {}
    for entry in entries():
        by_package.setdefault(package_of(entry.paths[0]), []).append(entry)
    for package in by_package:
        (folder / f'{package or "mmengine"}.rst').write_text(
            _page(package, by_package[package]), encoding='utf-8'
        )
    order = [*FIRST, *sorted(by_package.keys() - {*FIRST, ''}), '']
    (folder / 'index.rst').write_text(
        _index([package for package in order if package in by_package], by_package),
        encoding='utf-8',
    )


def _title(text: str, line: str) -> str:
    return f'{text}\n{line * len(text)}\n\n'


def _index(order: list[str], by_package: dict[str, list[Entry]]) -> str:
    rows = ''
    for package in order:
        module = importlib.import_module(f'mmengine.{package}'.rstrip('.'))
        summary = (module.__doc__ or '').split('\n')[0]
        rows += f'   * - :doc:`{package or "mmengine"}`\n'
        rows += f'     - {summary}\n     - {len(by_package[package])}\n'
    return (
        _title('Reference', '=')
        + 'Every public name of the package, from its docstring. A name that can be imported from\n'
        'several modules is documented at its shortest path. All names are there since 0.20.0\n'
        'unless they say otherwise; see :doc:`/generated/versioning` for what stays.\n\n'
        '.. list-table::\n   :header-rows: 1\n   :widths: 20 70 10\n\n'
        f'   * - package\n     - what it is for\n     - names\n{rows}\n'
        '.. toctree::\n   :hidden:\n\n'
        + ''.join(f'   {package or "mmengine"}\n' for package in order)
    )


def _page(package: str, found: list[Entry]) -> str:
    name = f'mmengine.{package}' if package else 'mmengine'
    by_module: dict[str, list[Entry]] = {}
    for entry in found:
        by_module.setdefault(entry.paths[0], []).append(entry)
    text = _title(name, '=')
    for module in sorted(by_module, key=lambda module: (module.count('.'), module)):
        if module != name:
            text += _title(module, '-')
        text += f'.. automodule:: {module}\n   :no-members:\n   :no-index:\n\n'
        if module in LISTED['ours']:
            text += f'Not a module of the MMEngine API: {LISTED["ours"][module]}\n\n'
        text += _summary(module, by_module[module])
        for entry in by_module[module]:
            text += _directive(module, entry)
    return text


def _summary(module: str, found: list[Entry]) -> str:
    rows = ''.join(
        f'   * - :py:obj:`{entry.name} <{module}.{entry.name}>`\n     - {_first_line(entry)}\n'
        for entry in found
    )
    return f'.. list-table::\n   :widths: 30 70\n\n{rows}\n'


def _first_line(entry: Entry) -> str:
    if not _is_documented(entry.value):
        return _of_value(entry.value)
    text = (inspect.getdoc(entry.value) or '').split('\n\n')[0].replace('\n', ' ')
    return f'{text[:-2]}.' if text.endswith('::') else text


def _is_documented(value: Any) -> bool:
    """Whether the docstring is ours."""
    return _has_home(value) and (value.__module__ or '').startswith('mmengine')


def _of_value(value: Any) -> str:
    """What there is to say about a name without a docstring of ours."""
    if isinstance(value, Registry):
        return f'The registry of ``{value.name}``.'
    if _has_home(value):
        return f'``{value.__module__}.{value.__qualname__}``, as it is.'
    return f'A {type(value).__name__}.'


def _directive(module: str, entry: Entry) -> str:
    path = f'{module}.{entry.name}'
    if not _is_documented(entry.value):
        text = f'.. py:data:: {path}\n\n   {_of_value(entry.value)}\n'
    elif inspect.isclass(entry.value):
        text = f'.. autoclass:: {path}\n   :members:\n   :show-inheritance:\n'
    else:
        text = f'.. autofunction:: {path}\n'
    others = ', '.join(f'``{path}``' for path in entry.paths[1:])
    return text + '\n' + (f'   Also in {others}.\n\n' if others else '')
