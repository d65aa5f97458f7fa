"""Notebooks: their code cells are converted as one module, and each stays a cell."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable
from typing import Any

_CELL = '# %%migrated cell {}'
_CELLS = re.compile(r'(?m)^# %%migrated cell (\d+)\n')
_MAGIC = re.compile(r'(?m)^([ \t]*)([%!?].*|[\w.]+\?{1,2}[ \t]*)$')
_MASKED = re.compile(r'pass  # %%magic (.*)')
_BY_HAND = '# TODO(mmengine migrate): this cell is not Python alone: convert it by hand\n'


def convert_notebook(text: str, convert: Callable[[str], str]) -> str:
    """The text of a notebook with its code converted; outputs stay as they are.

    Args:
        text: The file.
        convert: Converts a module.

    Raises:
        ValueError: If it is not a notebook.
    """
    try:
        book = json.loads(text)
        cells = [one for one in book['cells'] if one['cell_type'] == 'code']
        old = [''.join(one['source']) for one in cells]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise ValueError(f'it is not a notebook ({type(error).__name__}: {error})') from error
    places = [index for index, source in enumerate(old) if _is_python(source)]
    new = list(old)
    masked = [_masked(old[index]) for index in places]
    for index, source in zip(places, _converted(masked, convert), strict=True):
        new[index] = _MASKED.sub(r'\1', source)
    for index in set(range(len(old))) - set(places):
        is_told = _BY_HAND in old[index] or old[index].startswith('%%')
        if not is_told and re.search(r'\bmmcv\b', old[index]):
            new[index] = _BY_HAND + old[index]
    if new == old:
        return text
    for cell, source in zip(cells, new, strict=True):
        as_lines = isinstance(cell['source'], list)
        cell['source'] = source.splitlines(keepends=True) if as_lines else source
    return _dumped(book, text)


def _masked(source: str) -> str:
    return _MAGIC.sub(r'\1pass  # %%magic \2', source)


def _is_python(source: str) -> bool:
    if source.startswith('%%'):
        return False
    try:
        ast.parse(_masked(source))
    except (SyntaxError, ValueError, RecursionError):
        return False
    return True


def _converted(sources: list[str], convert: Callable[[str], str]) -> list[str]:
    """The cells, converted together: what one imports the next ones use."""
    ends = [len(source) - len(source.rstrip('\n')) for source in sources]
    parts = [f'{_CELL.format(index)}\n{source.rstrip()}\n' for index, source in enumerate(sources)]
    # The last statement keeps comments at the end of the last cell in their place.
    whole = ''.join([*parts, f'{_CELL.format(len(sources))}\n...\n'])
    changed = _CELLS.split(convert(whole))
    numbers = [int(one) for one in changed[1::2]]
    if changed[0].strip() or numbers != list(range(len(sources) + 1)):
        # A statement went that began a cell: each is converted for itself.
        found = [convert(source) for source in sources]
    else:
        found = changed[2:-1:2]
    return [
        source if new.strip() == source.strip() else new.strip('\n') + '\n' * end
        for source, new, end in zip(sources, found, ends, strict=True)
    ]


def _dumped(book: Any, like: str) -> str:
    """JSON with the indent and the end of ``like``."""
    indent = re.match(r'\{\r?\n([ \t]+)', like)
    text = json.dumps(book, indent=indent[1] if indent else None, ensure_ascii=False)
    return text + ('\n' if like.endswith('\n') else '')
