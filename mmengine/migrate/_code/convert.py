"""Run the codemods over a source text or a tree of files."""

from __future__ import annotations

import difflib
import re
import tokenize
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from copy import deepcopy
from dataclasses import dataclass, replace
from io import BytesIO
from multiprocessing import get_context
from pathlib import Path

import libcst as cst

from mmengine.fileio import atomic_write
from mmengine.migrate._code._base import MARK, Codemod
from mmengine.migrate._code._source import Source
from mmengine.migrate._code.calls import Calls
from mmengine.migrate._code.classes import Classes
from mmengine.migrate._code.configs import Configs
from mmengine.migrate._code.hooks import Hooks
from mmengine.migrate._code.imports import Imports
from mmengine.migrate._code.models import Models
from mmengine.migrate._code.names import TOO_DEEP, parse
from mmengine.migrate._code.notebooks import convert_notebook
from mmengine.migrate._code.optimizer_hooks import OptimizerHooks
from mmengine.migrate._code.optimizer_steps import OptimizerSteps
from mmengine.migrate._code.precision import Precision
from mmengine.migrate._code.registries import Registries
from mmengine.migrate._code.runner_aliases import RunnerAliases
from mmengine.migrate._code.scripts import Scripts
from mmengine.utils.errors import ArgumentError

# Imports last: the others recognise names of MMCV by their imports.
CODEMODS: tuple[type[Codemod], ...] = (
    Precision, Registries, Calls, RunnerAliases, OptimizerHooks, OptimizerSteps, Models, Hooks,
    Scripts, Configs, Imports,
)  # fmt: skip
SUFFIXES = ('.py', '.ipynb')
# Starting a process costs about as much as converting this many files.
_FILES_WORTH_A_PROCESS = 16
# What is behind a line of code in a notebook.
_OF_JSON = re.compile(r'\\n",?$')
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
        encoding: How the file holds its text.
    """

    old: str
    new: str
    applied: list[str]
    error: str = ''
    path: Path = Path()
    encoding: str = 'utf-8'

    @property
    def todo(self) -> list[tuple[int, str]]:
        """Lines of the new text that say what is left to do, and what they say."""
        return [
            (number, _OF_JSON.sub('', line.partition(MARK)[2]).lstrip(': '))
            for number, line in enumerate(re.split('\r\n|\r|\n', self.new), 1)
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


def convert_source(
    text: str, path: Path = Path('<text>'), classes: Classes | None = None
) -> Conversion:
    """Convert one module. What cannot be converted safely gets a comment; a text without MMCV
    stays as it is.

    Args:
        text: The module.
        path: Its file.
        classes: The classes of the other modules of its project.
    """
    try:
        tree = parse(text)
    except SyntaxError as error:
        return Conversion(text, text, [], f'line {error.lineno or 1}: {error.msg}', path)
    source = Source.of(tree, classes)
    if not any(codemod(source).concerns(text) for codemod in CODEMODS):
        return Conversion(text, text, [], path=path)
    try:
        module = _with_marks_on_statements(cst.parse_module(text))
        source.layout = module
        try:
            converted, applied = _run_all(module, source)
            new = converted.code
            parse(new)
        except RecursionError:
            raise
        except Exception:
            # The promise is a file that parses: rather none of a codemod's work than half of it.
            converted, applied = _run_each_on_its_own(module, Source.of(tree, classes))
            new = converted.code
    except cst.ParserSyntaxError as error:
        reason = f'line {error.raw_line}: {error.message.splitlines()[0]}'
        return Conversion(text, text, [], reason, path)
    except RecursionError:
        return Conversion(text, text, [], TOO_DEEP, path)
    return Conversion(text, new, applied, path=path)


def _run_all(module: cst.Module, source: Source) -> tuple[cst.Module, list[str]]:
    """All codemods, one after the other, and the names of those that changed something."""
    applied = []
    for codemod in CODEMODS:
        changed = module.visit(codemod(source))
        if not _is_same(module, changed, source):
            applied.append(codemod.name)
            module = changed
    return module, applied


def _run_each_on_its_own(module: cst.Module, source: Source) -> tuple[cst.Module, list[str]]:
    """The same, each codemod checked and left out, with a comment, where it breaks the file."""
    applied = []
    for codemod in CODEMODS:
        before = deepcopy((source.wanted, source.models, source.half_precision))
        try:
            changed = module.visit(codemod(source))
            parse(changed.code)
        except Exception as error:
            source.wanted, source.models, source.half_precision = before
            reason = f'{type(error).__name__}: {error}'.splitlines()[0]
            line = f'# {MARK}: {codemod.name} could not be converted: {reason}'
            comment = cst.EmptyLine(comment=cst.Comment(line))
            first = getattr(module.body[0], 'leading_lines', ()) if module.body else ()
            there = [one.comment.value for one in (*module.header, *first) if one.comment]
            if line not in there:
                module = module.with_changes(header=[*module.header, comment])
            continue
        if changed.code != module.code:
            applied.append(codemod.name)
            module = changed
    return module, applied


def _is_same(old: cst.Module, new: cst.Module, source: Source) -> bool:
    """Whether two modules have the same text; statements that were not entered are the same."""
    return len(old.body) == len(new.body) and all(
        before is after or source.text_of(before) == source.text_of(after)
        for before, after in zip(old.body, new.body, strict=True)
    )


def _with_marks_on_statements(module: cst.Module) -> cst.Module:
    """Comments above the first statement are the module's: give it those this tool wrote."""
    texts = [line.comment.value if line.comment else '' for line in module.header]
    first = next((i for i, text in enumerate(texts) if text.startswith(f'# {MARK}')), None)
    if first is None or not module.body:
        return module
    statement = module.body[0]
    lines = [*module.header[first:], *statement.leading_lines]
    return module.with_changes(
        header=module.header[:first],
        body=[statement.with_changes(leading_lines=lines), *module.body[1:]],
    )


def convert_files(src: Path, processes: int = 1) -> Iterator[Conversion]:
    """Convert a file, or the Python files of a tree, in the order of their names. Nothing is
    written.

    Args:
        src: The file or folder.
        processes: How many convert at a time; a small tree gets one all the same.

    Raises:
        ArgumentError: If there is nothing at ``src``, or no Python file.
    """
    if not src.exists():
        raise ArgumentError(f'There is no file or folder {src}.')
    files = [src] if src.is_file() else sorted(_python_files(src))
    if not files:
        raise ArgumentError(f'{src} holds no Python files.')
    processes = min(processes, len(files) // _FILES_WORTH_A_PROCESS)
    # A class may be derived from one of another file.
    classes = Classes.of_files(files, is_project=src.is_dir())
    if processes < 2:
        yield from (convert_file(path, classes) for path in files)
        return
    context = get_context('spawn')
    with ProcessPoolExecutor(processes, context, _know, (classes,)) as pool:
        yield from pool.map(_convert_known, files, chunksize=8)


_known = Classes()


def _know(classes: Classes) -> None:
    """Hand the classes of the project to a process once, not with each file."""
    global _known
    _known = classes


def _convert_known(path: Path) -> Conversion:
    return convert_file(path, _known)


def convert_file(path: Path, classes: Classes | None = None) -> Conversion:
    """Convert one file, in the encoding that it declares. Nothing is written."""
    try:
        data = path.read_bytes()
        encoding, _ = tokenize.detect_encoding(BytesIO(data).readline)
        encoding = 'utf-8' if path.suffix == '.ipynb' else encoding
        text = data.decode(encoding)
    except OSError as error:
        return Conversion('', '', [], error.strerror or str(error), path)
    except SyntaxError as error:
        return Conversion('', '', [], str(error), path)
    except UnicodeDecodeError as error:
        return Conversion('', '', [], f'it is not {error.encoding} text ({error.reason})', path)
    if path.suffix == '.ipynb':
        return _convert_notebook(text, path, classes)
    return replace(convert_source(text, path, classes), encoding=encoding)


def _convert_notebook(text: str, path: Path, classes: Classes | None) -> Conversion:
    applied: list[str] = []

    def convert(module: str) -> str:
        found = convert_source(module, path, classes)
        applied.extend(one for one in found.applied if one not in applied)
        return found.new

    try:
        new = convert_notebook(text, convert)
    except ValueError as error:
        return Conversion(text, text, [], str(error), path)
    return Conversion(text, new, applied, path=path)


def write(conversion: Conversion) -> None:
    """Write the new text over the old file, whole or not at all."""
    with atomic_write(conversion.path) as file:
        file.write(conversion.new.encode(conversion.encoding))


def _python_files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob('*'):
        if path.suffix not in SUFFIXES:
            continue
        if path.is_file() and not _SKIPPED.intersection(path.relative_to(folder).parts):
            yield path
