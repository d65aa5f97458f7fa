"""Arguments of our own code as tables in Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from mmengine.utils._docstrings import Argument, arguments, markdown, sections

__all__ = ['Argument', 'arguments', 'markdown', 'sections', 'table']


def table(rows: Sequence[Argument]) -> str:
    """A Markdown table of arguments."""
    lines = ['| key | type | default | what it does |', '|---|---|---|---|']
    for row in rows:
        cells = (f'`{row.name}`', _code(row.type), _code(row.default), row.text)
        lines.append('| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |')
    return '\n'.join(lines) + '\n'


def _code(text: str) -> str:
    return f'`{text}`' if text else ''
