"""Tables of plain text, and sizes in units."""

from __future__ import annotations

from collections.abc import Sequence

_UNITS = ('', 'K', 'M', 'G', 'T', 'P')


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
    """Cells indented by the depth of their module."""
    return [' ' * depth + cell if cell else '' for cell in cells]


def _format_size(x: float, sig_figs: int = 3, hide_zero: bool = False) -> str:
    """A number in units of thousands: 12345 becomes '12.345K'.

    Args:
        x: The number.
        sig_figs: Digits after the point, at most.
        hide_zero: Give no text for 0.
    """
    if hide_zero and x == 0:
        return ''
    # A unit is used from a tenth of it, which keeps three digits of small counts: 0.999K.
    power = 0
    while abs(x) > 10 ** (3 * power + 2) and power < len(_UNITS) - 1:
        power += 1
    if not power:
        return str(x)
    digits = f'{x / 1000**power:.{sig_figs}f}'
    return (digits.rstrip('0').rstrip('.') if sig_figs else digits) + _UNITS[power]
