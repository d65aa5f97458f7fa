"""Runs the code blocks of a page in order, in one folder and one process.

- A ``python`` block is executed; one that begins with ``# name.py`` is also written to that file,
  and not executed.
- Each line of a ``bash`` block is a command: ``mmengine ...`` or ``python file.py``.
- A ``text`` block right after such a block is what it prints, as in a doctest: ``...`` stands for
  anything.
- A block in another language (``console``, ``yaml`` without a name) is only shown.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import linecache
import re
import runpy
import shlex
import sys
import types
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmengine.cli.__main__ import main
from mmengine.registry.registry import ALL_REGISTRIES

_FENCE = re.compile(r'^```(\w*)\n(.*?)^```$', re.M | re.S)
_FILE = re.compile(r'# ([\w/]+\.(?:py|yaml|json))\n')
_COMPARE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass
class Block:
    """A fenced block: its language, its text and the line where it begins."""

    language: str
    text: str
    line: int


def blocks_of(page: str) -> list[Block]:
    """All fenced blocks of a page."""
    return [
        Block(match[1], match[2], page.count('\n', 0, match.start()) + 2)
        for match in _FENCE.finditer(page)
    ]


def run_page(path: Path, folder: Path) -> int:
    """Run the blocks of a page in ``folder``, the current one; returns how many ran."""
    module = types.ModuleType(f'page_{path.stem}')
    sys.modules[module.__name__] = module
    printed, number = '', 0
    for block in blocks_of(path.read_text(encoding='utf-8')):
        at = f'{path.name}:{block.line}'
        if block.language == 'text':
            assert doctest.OutputChecker().check_output(block.text, printed, _COMPARE), (
                f'{at} is not what is printed:\n{printed}'
            )
        if block.language not in ('python', 'yaml', 'bash'):
            continue
        output = io.StringIO()
        with contextlib.redirect_stdout(output):
            number += _run(block, module, folder, str(path))
        printed = output.getvalue()
    return number


def _run(block: Block, module: types.ModuleType, folder: Path, name: str) -> int:
    file = _FILE.match(block.text)
    if file is not None:
        (folder / file[1]).parent.mkdir(parents=True, exist_ok=True)
        (folder / file[1]).write_text(block.text, encoding='utf-8')
    elif block.language == 'python':
        # Errors name the line of the page. torch.compile reads the code of functions again.
        code, file_name = '\n' * (block.line - 1) + block.text, f'{name} (line {block.line})'
        linecache.cache[file_name] = (len(code), None, code.splitlines(keepends=True), file_name)
        exec(compile(code, file_name, 'exec'), module.__dict__)
    elif block.language == 'bash':
        for line in block.text.splitlines():
            _run_command(shlex.split(line, comments=True))
    else:
        return 0
    return 1


def _run_command(words: list[str]) -> None:
    if not words:
        return
    if words[0] == 'mmengine':
        assert main(words[1:]) == 0, words
    elif words[0] == 'python':
        before = sys.argv
        sys.argv = words[1:]
        try:
            runpy.run_path(words[1], run_name='__main__')
        finally:
            sys.argv = before
    else:
        raise AssertionError(f'{words[0]} is not a command that pages may run')


@contextlib.contextmanager
def unchanged_process(folder: Path) -> Iterator[None]:
    """What the page has registered and imported is gone when it has run.

    What other tests have registered is not there meanwhile: a page may use the same names.
    """
    before, path = set(sys.modules), list(sys.path)
    children = [(registry, dict(registry.children)) for registry in ALL_REGISTRIES]
    of_others = [
        (registry, name, registry._module_dict.pop(name))
        for registry in ALL_REGISTRIES
        for name, component in list(registry._module_dict.items())
        if component.__module__.partition('.')[0] not in ('mmengine', 'torch')
    ]
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path[:] = path
        own = {name for name in set(sys.modules) - before if _is_of_page(name, folder)}
        for registry in ALL_REGISTRIES:
            for name, component in list(registry._module_dict.items()):
                if component.__module__ in own:
                    del registry._module_dict[name]
        for registry, name, component in of_others:
            registry._module_dict[name] = component
        for registry, known in children:
            registry.children.clear()
            registry.children.update(known)
        for name in own:
            del sys.modules[name]


def _is_of_page(module: str, folder: Path) -> bool:
    file = getattr(sys.modules[module], '__file__', None) or ''
    return module.startswith('page_') or file.startswith(str(folder))
