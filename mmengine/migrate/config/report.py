"""What a conversion did, as text for the terminal and as a page with pictures."""

from __future__ import annotations

import html
import os
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmengine.migrate.config.check import ASSUMED_EPOCH_LENGTHS, Check
from mmengine.migrate.config.curves import Comparison
from mmengine.migrate.config.notes import ERROR, INFO, TODO, Note
from mmengine.migrate.config.tree import Outcome

_TITLES = {
    ERROR: 'Not converted',
    TODO: 'Left to do',
    INFO: 'Good to know',
}


@dataclass
class Report:
    """The outcomes of one call.

    Args:
        outcomes: Of every file.
        checks: Of the files whose schedules were compared.
        written: How many files were written, and where.
        folder: The folder that paths are shown from.
    """

    outcomes: list[Outcome]
    folder: Path
    checks: dict[Path, list[Check]] = field(default_factory=dict)
    written: int = 0
    destination: Path | None = None

    @property
    def failed(self) -> list[Outcome]:
        return [one for one in self.outcomes if one.failed]

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do."""
        todo = any(one.failed or one.has_todo for one in self.outcomes)
        return not todo and all(check.passed for many in self.checks.values() for check in many)

    def name(self, path: Path) -> str:
        return os.path.relpath(path, self.folder)

    def notes(self, kind: str) -> list[Note]:
        """The notes of one kind; one that many files inherit is told once."""
        found: dict[Note, list[Path]] = {}
        for outcome in self.outcomes:
            for note in outcome.notes:
                if note.kind == kind:
                    found.setdefault(note, []).append(outcome.source)
        return [self._with_users(note, paths) for note, paths in found.items()]

    def _with_users(self, note: Note, paths: list[Path]) -> Note:
        """``note``; where it is about a line of a base, with the configs that give it reason."""
        written = Path(os.path.abspath((note.place or '').rpartition(':')[0]))
        if not note.place or written in paths or note.kind == ERROR:
            return note
        first, *others = [self.name(path) for path in paths]
        more = f' and {len(others)} more' if others else ''
        return replace(note, text=f'{note.text} (In {first}{more}.)')


def text_report(report: Report, *, verbose: bool = False) -> str:
    """The report as lines."""
    lines: list[str] = []
    for kind in (ERROR, TODO, INFO):
        notes = report.notes(kind)
        if kind == INFO and not verbose and len(notes) > 8:
            lines.append(f'{_TITLES[kind]}: {len(notes)} notes; --verbose or --report shows them.')
            continue
        if notes:
            lines.append(f'{_TITLES[kind]} ({len(notes)}):')
            lines.extend(f'  {note}' for note in notes)
    lines.extend(_check_lines(report))
    total, failed = len(report.outcomes), len(report.failed)
    where = f' to {report.destination}' if report.destination is not None else ''
    lines.append(
        f'{report.written} of {total} files written{where}'
        f'{f", {failed} not converted" if failed else ""}.'
    )
    return '\n'.join(lines)


def _check_lines(report: Report) -> list[str]:
    lines: list[str] = []
    for path, checks in report.checks.items():
        lines.extend(f'  {report.name(path)}: {check.key}: {outcome(check)}' for check in checks)
    compared = [
        check.comparison.largest
        for many in report.checks.values()
        for check in many
        if check.comparison is not None
    ]
    if compared:
        lines.insert(
            0,
            f'Schedules compared: {len(compared)}; largest relative difference {max(compared):.1e}',
        )
    if any(check.was_assumed for many in report.checks.values() for check in many):
        tried = ', '.join(map(str, ASSUMED_EPOCH_LENGTHS))
        lines.append(
            f'  Configs do not tell how many iterations an epoch has; tried with {tried}. '
            '--iters-per-epoch N checks yours.'
        )
    return lines


def outcome(check: Check) -> str:
    """What a comparison came to, as a sentence."""
    if check.comparison is None:
        return f'NOT COMPARED: {check.reason}'
    parts = [
        f'largest relative difference {check.comparison.largest:.1e} over '
        f'{len(check.comparison.legacy)} {check.unit}'
    ]
    if check.was_assumed:
        parts.append(f', the worst of epochs of {_listed(check.epoch_lengths)} iterations')
    elif check.epoch_lengths:
        parts.append(f', epochs of {check.epoch_lengths[0]} iterations')
    if check.reason:
        parts.append(f'; {check.reason}')
    return ''.join(parts) + ('' if check.passed else ' - TOO LARGE')


def _listed(numbers: tuple[int, ...]) -> str:
    *most, last = map(str, numbers)
    return f'{", ".join(most)} or {last}' if most else last


def html_report(report: Report) -> str:
    """The report as one page that needs nothing else."""
    sections = [f'<p>{html.escape(text_report(report).splitlines()[-1])}</p>']
    sections += [
        _figure(f'{report.name(path)}: {check.key}', check.comparison)
        for path, checks in report.checks.items()
        for check in checks
        if check.comparison is not None
    ]
    for kind in (ERROR, TODO, INFO):
        notes = report.notes(kind)
        if notes:
            rows = ''.join(
                f'<tr><td>{html.escape(note.place or "")}</td>'
                f'<td><code>{html.escape(note.key)}</code></td><td>{html.escape(note.text)}</td></tr>'
                for note in notes
            )
            sections.append(f'<h2>{_TITLES[kind]}</h2><table>{rows}</table>')
    sections.append('<h2>Files</h2>')
    for outcome in report.outcomes:
        if outcome.text is not None:
            name = html.escape(report.name(outcome.source))
            sections.append(
                f'<details><summary>{name}</summary><pre>{html.escape(outcome.text)}</pre></details>'
            )
    return _PAGE.format(body='\n'.join(sections))


_WIDTH, _HEIGHT, _MARGIN = 720, 240, 46
_MOST_POINTS = 1200


def _figure(title: str, comparison: Comparison) -> str:
    legacy = [values[0] for values in comparison.legacy]
    converted = [values[0] for values in comparison.converted]
    top = max(*legacy, *converted, 1e-30)
    count = max(len(legacy) - 1, 1)
    step = max(len(legacy) // _MOST_POINTS, 1)

    def path(values: list[float]) -> str:
        places = sorted({*range(0, len(values), step), len(values) - 1})
        points = (
            f'{_MARGIN + (_WIDTH - 2 * _MARGIN) * at / count:.1f},'
            f'{_HEIGHT - _MARGIN - (_HEIGHT - 2 * _MARGIN) * values[at] / top:.1f}'
            for at in places
        )
        return ' '.join(points)

    base = _HEIGHT - _MARGIN
    return (
        f'<figure><figcaption>{html.escape(title)}: largest relative difference '
        f'{comparison.largest:.1e}</figcaption>'
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img">'
        f'<path d="M{_MARGIN},{_MARGIN / 2:.0f} V{base} H{_WIDTH - _MARGIN / 2:.0f}" class="axis"/>'
        f'<text x="{_MARGIN - 4}" y="{_MARGIN + 4}" text-anchor="end">{top:.3g}</text>'
        f'<text x="{_MARGIN - 4}" y="{base}" text-anchor="end">0</text>'
        f'<text x="{_WIDTH - _MARGIN}" y="{base + 16}" text-anchor="end">iteration {count}</text>'
        f'<polyline class="legacy" points="{path(legacy)}"/>'
        f'<polyline class="converted" points="{path(converted)}"/>'
        f'<text x="{_WIDTH - _MARGIN}" y="{_MARGIN / 2:.0f}" text-anchor="end">'
        '<tspan class="legacy-name">MMCV 1.x</tspan> and '
        '<tspan class="converted-name">converted</tspan></text>'
        '</svg></figure>'
    )


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Migrated configs</title><style>
body {{ font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; }}
body {{ padding: 0 1em; color: #222; }}
table {{ border-collapse: collapse; }}
td {{ border-top: 1px solid #ddd; padding: .2em .6em; vertical-align: top; }}
pre {{ background: #f6f6f6; padding: 1em; overflow-x: auto; }}
figure {{ margin: 1.5em 0; }} svg text {{ font-size: 11px; }}
.axis {{ fill: none; stroke: #999; }} polyline {{ fill: none; }}
.legacy {{ stroke: #f4a261; stroke-width: 5; }} .converted {{ stroke: #264653; stroke-width: 1.5; }}
.legacy-name {{ fill: #c2691e; }} .converted-name {{ fill: #264653; }}
</style></head><body><h1>Migrated configs</h1>
{body}
</body></html>
"""


def worst(checks: Iterable[Check]) -> float:
    """The largest difference of several comparisons; 0 where there is none."""
    return max(
        (one.comparison.largest for one in checks if one.comparison is not None), default=0.0
    )
