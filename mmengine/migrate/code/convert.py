"""Run the codemods over a source text or a tree of files."""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import libcst as cst

from mmengine.fileio.atomic import atomic_write
from mmengine.migrate.code._base import MARK, Codemod, Source
from mmengine.migrate.code.hooks import Hooks
from mmengine.migrate.code.imports import Imports
from mmengine.migrate.code.models import Models
from mmengine.migrate.code.optimizer_hooks import OptimizerHooks
from mmengine.migrate.code.optimizer_steps import OptimizerSteps
from mmengine.migrate.code.precision import Precision
from mmengine.migrate.code.registries import Registries
from mmengine.migrate.code.scripts import Scripts
from mmengine.utils.errors import ArgumentError

# Imports last: the others know names of MMCV by where they came from.
CODEMODS: tuple[type[Codemod], ...] = (
    Precision, OptimizerHooks, OptimizerSteps, Models, Hooks, Registries, Scripts, Imports,
)  # fmt: skip
_SKIPPED = {'.git', '.venv', 'venv', 'build', 'dist', '__pycache__', 'node_modules', '.tox'}


@dataclass
class Conversion:
    """One text, before and after.

    Attributes:
        old: As it was.
        new: As it is now.
        applied: Names of the codemods that changed something.
        error: Why it could not be parsed, if so.
        path: Its file.
    """

    old: str
    new: str
    applied: list[str]
    error: str = ''
    path: Path = Path()

    @property
    def todo(self) -> list[tuple[int, str]]:
        """Lines of the new text that say what is left to do, and what they say."""
        return [
            (number, line.partition(MARK)[2].lstrip(': '))
            for number, line in enumerate(self.new.splitlines(), 1)
            if f'# {MARK}' in line
        ]

    def diff(self) -> str:
        """The change as a unified diff."""
        lines = difflib.unified_diff(
            self.old.splitlines(keepends=True),
            self.new.splitlines(keepends=True),
            f'a/{self.path}',
            f'b/{self.path}',
        )
        return ''.join(lines)


def convert_source(text: str, path: Path = Path('<text>')) -> Conversion:
    """Convert one module. What cannot be converted safely gets a comment; a text without MMCV
    stays as it is.
    """
    applied: list[str] = []
    try:
        module = cst.parse_module(text)
    except cst.ParserSyntaxError as error:
        return Conversion(
            text, text, [], f'line {error.raw_line}: {error.message.splitlines()[0]}', path
        )
    source = Source.of(module)
    for codemod in CODEMODS:
        if not any(word in text for word in codemod.triggers) and not source.wanted:
            continue
        before = deepcopy((source.wanted, source.models))
        try:
            changed = module.visit(codemod(source))
            ast.parse(changed.code)
        except (cst.CSTValidationError, cst.ParserSyntaxError, SyntaxError) as error:
            # The promise is a file that parses: rather none of this codemod's work than half of it.
            source.wanted, source.models = before
            reason = str(error).splitlines()[0]
            module = _with_header(module, f'{codemod.name} could not be converted: {reason}')
            continue
        if changed.code != module.code:
            applied.append(codemod.name)
        module = changed
    return Conversion(text, module.code, applied, path=path)


def _with_header(module: cst.Module, reason: str) -> cst.Module:
    line = cst.EmptyLine(comment=cst.Comment(f'# {MARK}: {reason}'))
    return module.with_changes(header=[*module.header, line])


def convert_files(src: Path) -> Iterator[Conversion]:
    """Convert a file, or the Python files of a tree, one by one. Nothing is written.

    Raises:
        ArgumentError: If there is nothing at ``src``, or no Python file.
    """
    if not src.exists():
        raise ArgumentError(f'There is no file or folder {src}.')
    files = [src] if src.is_file() else sorted(_python_files(src))
    if not files:
        raise ArgumentError(f'{src} holds no Python files.')
    for file in files:
        try:
            text = file.read_bytes().decode('utf-8')
        except UnicodeDecodeError as error:
            yield Conversion('', '', [], f'it is no UTF-8 text ({error.reason})', file)
            continue
        yield convert_source(text, file)


def write(conversion: Conversion) -> None:
    """Write the new text over the old file, whole or not at all."""
    with atomic_write(conversion.path) as file:
        file.write(conversion.new.encode('utf-8'))


def _python_files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob('*.py'):
        if not _SKIPPED.intersection(path.relative_to(folder).parts):
            yield path
