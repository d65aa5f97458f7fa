"""Tables of plain text."""

from __future__ import annotations

from collections.abc import Sequence


def text_table(columns: Sequence[str], rows: Sequence[Sequence[str]], title: str = '') -> str:
    """Rows in a frame of ASCII, left-aligned; ends with a newline.

    Args:
        columns: Their headings.
        rows: As many texts each as there are columns.
        title: A line above, centred.
    """
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    rule = '+' + '+'.join('-' * (width + 2) for width in widths) + '+'

    def line(cells: Sequence[str]) -> str:
        padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
        return f'| {" | ".join(padded)} |'

    lines = [rule, line(columns), rule, *map(line, rows), rule, '']
    if title:
        lines.insert(0, title.center(len(rule)))
    return '\n'.join(lines)


def indented(depth: int, *cells: str) -> list[str]:
    """Cells moved to the right by the depth of what they tell about."""
    return [' ' * depth + cell if cell else '' for cell in cells]
