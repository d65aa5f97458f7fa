"""The findings as a table in a terminal, and as lines elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from mmengine.doctor._finding import FAIL, OK, WARN, Finding

_STYLES = {OK: 'green', WARN: 'yellow', FAIL: 'bold red'}


def print_findings(findings: Sequence[Finding], console: Console) -> None:
    """Print the findings and their number."""
    if console.is_terminal:
        console.print(_table(findings))
        console.print(summary_of(findings))
        return
    for line in [*lines_of(findings), summary_of(findings)]:
        print(line)


def lines_of(findings: Sequence[Finding]) -> list[str]:
    """A line for each finding, and a line below it for its advice."""
    width = max((len(finding.name) for finding in findings), default=0)
    lines = []
    for finding in findings:
        lines.append(
            f'{finding.status:<4}  {finding.area:<11}  {finding.name:<{width}}  {finding.found}'
        )
        if finding.advice:
            lines.append(f'{"":<{width + 21}}{finding.advice}')
    return lines


def summary_of(findings: Sequence[Finding]) -> str:
    """How many are not ok."""
    fails, warns = (sum(one.status == status for one in findings) for status in (FAIL, WARN))
    if not fails and not warns:
        return f'All {len(findings)} checks are ok.'
    return f'{fails} of {len(findings)} checks failed, {warns} are warnings.'


def _table(findings: Sequence[Finding]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow='fold', max_width=24)
    table.add_column(overflow='fold')
    area = ''
    for finding in findings:
        if finding.area != area:
            area = finding.area
            table.add_row('', Text(area, style='bold'), '')
        text = Text(finding.found)
        if finding.advice:
            style = '' if finding.status == OK else _STYLES[finding.status]
            text.append(f'\n{finding.advice}', style=style)
        status = Text(finding.status, style=_STYLES[finding.status])
        table.add_row(status, finding.name, text)
    return table
