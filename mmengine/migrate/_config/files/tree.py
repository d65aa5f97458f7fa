"""The config files of one conversion, and which inherits from which."""

from __future__ import annotations

import ast
import os
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config._reading.styles import lazy_sign, read_base_sign, reads_base
from mmengine.config._writing.python_text import python_text
from mmengine.config.errors import ConfigError
from mmengine.migrate._config.convert import LEGACY_KEYS
from mmengine.migrate._config.files.sources import (
    SUFFIXES,
    CachingLoader,
    LegacyFile,
    load_file,
)
from mmengine.migrate._config.kinds import OF_MMCV, OF_THIS_ENGINE
from mmengine.migrate._config.notes import TODO, Note
from mmengine.migrate._config.schedules.conversion import Length
from mmengine.migrate._config.topics.loop import tells_length
from mmengine.migrate._config.trace import plain

Config = dict[str, Any]


_LEFT_OVER = 'Left over from MMCV 1.x, as no rule tells what it became:'


@dataclass
class Outcome:
    """What became of one file.

    Args:
        source: The legacy file.
        text: Its new text; None when it could not be converted.
        notes: What there is to tell.
        legacy: The resolved legacy config.
        config: The resolved new config.
        length: How long the run is, for a whole config.
        is_part: Whether other files inherit from it.
        original: The text before.
        is_new: Whether it was written for this engine, so that it is copied as it is.
        leftover: Entries of MMCV 1.x of the file itself, which have no rule: a comment holds them.
        rules: The vocabularies by which it was converted.
    """

    source: Path
    text: str | None = None
    notes: list[Note] = field(default_factory=list)
    legacy: Config = field(default_factory=dict)
    config: Config = field(default_factory=dict)
    length: Length | None = None
    is_part: bool = False
    original: str | None = None
    is_new: bool = False
    leftover: Config = field(default_factory=dict)
    rules: tuple[str, ...] = ()

    def settle(self, text: str) -> None:
        """Take ``text`` as the new one, with a comment for what is left over."""
        if self.leftover and self.source.suffix != '.json':
            lines = python_text(plain(self.leftover)).splitlines()
            text += ''.join(f'# {line}\n' for line in (_LEFT_OVER, *lines) if line.strip())
        self.text = text

    @property
    def is_unchanged(self) -> bool:
        return self.text is not None and self.text == self.original

    @property
    def has_todo(self) -> bool:
        return any(note.kind == TODO for note in self.notes)

    @property
    def failed(self) -> bool:
        return self.text is None


@dataclass
class Tree:
    """Config files that are converted together.

    Args:
        files: Those that loaded, by path.
        broken: What is wrong with others.
        lazy: Files of this engine's lazy style, which MMCV could not read.
    """

    files: dict[Path, LegacyFile]
    broken: dict[Path, str]
    lazy: list[Path] = field(default_factory=list)

    def users(self, path: Path) -> list[Path]:
        """The nearest files below ``path`` that tell how long a run is."""
        nearest: list[Path] = []
        for one in self._children.get(path, ()):
            is_whole = tells_length(self.files[one].resolved)
            nearest += [one] if is_whole or one not in self._children else self.users(one)
        return nearest

    def is_base(self, path: Path) -> bool:
        return path in self._children

    def all_bases(self, path: Path) -> set[Path]:
        found: set[Path] = set()
        waiting = list(self.files[path].bases)
        while waiting:
            base = waiting.pop()
            if base not in found and base in self.files:
                found.add(base)
                waiting.extend(self.files[base].bases)
        return found

    def __post_init__(self) -> None:
        self._children: dict[Path, list[Path]] = {}
        for path, file in self.files.items():
            for base in file.bases:
                self._children.setdefault(base, []).append(path)

    def bases_first(self) -> list[Path]:
        order: list[Path] = []
        seen: set[Path] = set()

        def visit(path: Path) -> None:
            if path in seen or path not in self.files:
                return
            seen.add(path)
            for base in self.files[path].bases:
                visit(base)
            order.append(path)

        for path in self.files:
            visit(path)
        return order


def load_tree(paths: Iterable[Path]) -> Tree:
    """Load files and all that they inherit from."""
    loader = CachingLoader(lazy_import=False)
    files: dict[Path, LegacyFile] = {}
    broken: dict[Path, str] = {}
    waiting = list(paths)
    lazy = _lazy_files(waiting)
    while waiting:
        path = waiting.pop(0)
        if path in files or path in broken or path in lazy:
            continue
        try:
            files[path] = load_file(path, loader, os.path.relpath(path))
        except SystemExit:
            broken[path] = 'it ends the program that loads it (sys.exit).'
            continue
        except (ConfigError, OSError, RecursionError) as error:
            broken[path] = str(error) or type(error).__name__
            continue
        waiting.extend(base for base in files[path].bases)
    return Tree(files, broken, lazy)


def _lazy_files(paths: Iterable[Path]) -> list[Path]:
    """The files of lazy style among ``paths``, and those that they inherit from."""
    found: list[Path] = []
    waiting = [(path, False) for path in paths if path.suffix == '.py']
    while waiting:
        path, is_base = waiting.pop(0)
        tree = _parsed(path)
        if path in found or tree is None or not (is_base or _is_lazy(tree)):
            continue
        found.append(path)
        waiting += [(base, True) for base in _lazy_bases(path, tree)]
    return found


def _is_lazy(tree: ast.Module) -> bool:
    if read_base_sign(tree) is not None:
        return True
    names = _assigned(tree)
    return bool(names & OF_THIS_ENGINE) and not names & OF_MMCV.keys() and bool(lazy_sign(tree))


def _lazy_bases(path: Path, tree: ast.Module) -> Iterator[Path]:
    for statement in tree.body:
        if not isinstance(statement, ast.With) or not reads_base(statement):
            continue
        for line in statement.body:
            if isinstance(line, ast.ImportFrom) and line.level and line.module:
                folder = path.parents[line.level - 1]
                base = folder.joinpath(*line.module.split('.')).with_suffix('.py')
                if base.is_file():
                    yield base


def _parsed(path: Path) -> ast.Module | None:
    try:
        return ast.parse(path.read_bytes())
    except (SyntaxError, ValueError, RecursionError, MemoryError, OSError):
        return None


def _assigned(tree: ast.Module) -> set[str]:
    """The names that statements of a module assign, nested blocks left out."""
    return {
        target.id
        for one in tree.body
        if isinstance(one, ast.Assign)
        for target in one.targets
        if isinstance(target, ast.Name)
    }


def config_files(folder: Path, target: Path | None = None) -> list[Path]:
    """The config files in a folder and those below it, in order of their names.

    Args:
        folder: Where to look.
        target: A folder that is left out: what an earlier call wrote.
    """
    return sorted(
        path
        for path in folder.rglob('*')
        if path.suffix in SUFFIXES
        and path.is_file()
        and not is_hidden(path.relative_to(folder))
        and (target is None or target == folder or target not in path.parents)
        and not is_other_file(path)
    )


def is_hidden(path: Path) -> bool:
    """Whether a part of a relative path is hidden, or holds Python's own files."""
    return any(part.startswith('.') or part == '__pycache__' for part in path.parts)


def is_other_file(path: Path) -> bool:
    """Whether a file is not a config: code of the project, or data of another kind.

    Code must not be run for its values, and metafiles, notebooks and settings of tools are copied.
    """
    return not _holds_config(path) if path.suffix != '.py' else is_code(path)


def is_code(path: Path) -> bool:
    """Whether a Python file is a script or a module, with nothing in it that a config has."""
    tree = _parsed(path)
    if tree is None:
        return False
    is_script = any(_is_main(one) for one in tree.body) or _acts(tree)
    defines = any(isinstance(one, _DEFINITIONS) for one in tree.body)
    return is_script or (defines and not _assigned(tree) & KEYS_OF_CONFIGS)


_CHANGES = ('append', 'clear', 'extend', 'insert', 'pop', 'remove', 'setdefault', 'update')


def _acts(tree: ast.Module) -> bool:
    """Whether a file without functions does something: it reads the command line, or imports
    packages and calls something for what it does."""
    nodes = list(_outside_definitions(tree))
    if any(isinstance(one, ast.Attribute) and ast.unparse(one) == 'sys.argv' for one in nodes):
        return True
    if not any(map(_imports_a_package, nodes)):
        return False
    calls = [
        one.value for one in nodes if isinstance(one, ast.Expr) and isinstance(one.value, ast.Call)
    ]
    return any(
        not (isinstance(call.func, ast.Attribute) and call.func.attr in _CHANGES)
        and ast.unparse(call.func) != 'print'
        for call in calls
    )


def _outside_definitions(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a file that run when it is loaded."""
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, _DEFINITIONS):
            yield child
            yield from _outside_definitions(child)


def _imports_a_package(node: ast.AST) -> bool:
    names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
    if isinstance(node, ast.ImportFrom) and not node.level:
        names = [node.module or '']
    tops = {name.partition('.')[0] for name in names} - {'mmengine', ''}
    return not tops <= sys.stdlib_module_names


def _is_main(statement: ast.stmt) -> bool:
    """Whether it is ``if __name__ == '__main__'``."""
    return isinstance(statement, ast.If) and '__name__' in ast.unparse(statement.test)


def _holds_config(path: Path) -> bool:
    """Whether a JSON or YAML file has a key of a config at its top."""
    try:
        text = path.read_text('utf-8')
    except (OSError, UnicodeDecodeError):
        # Its loading tells what is wrong.
        return True
    if path.suffix == '.json':
        return any(f'"{key}"' in text for key in KEYS_OF_CONFIGS)
    words = '|'.join(map(re.escape, sorted(KEYS_OF_CONFIGS)))
    return re.search(rf'(?m)^["\']?({words})["\']?\s*:', text) is not None


_DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
KEYS_OF_CONFIGS = LEGACY_KEYS | OF_THIS_ENGINE | {'_base_', 'model', 'train_cfg', 'test_cfg'}
