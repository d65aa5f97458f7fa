"""The report of a conversion as a page that needs nothing else, with the pictures of its curves."""

from __future__ import annotations

import difflib
import html
from collections.abc import Iterator
from pathlib import Path

from mmengine.migrate._config.files.tree import Outcome
from mmengine.migrate._config.notes import ERROR, INFO, TODO, Note
from mmengine.migrate._config.report.check import Check
from mmengine.migrate._config.report.pictures import STYLE, curves_svg
from mmengine.migrate._config.report.text import TITLES, Report, outcome

_MOST_PICTURES = 12


def written_report(report: Report, place: Path) -> str:
    """What ``place`` is to hold: a page, or for a ``.svg`` the first picture alone."""
    if place.suffix != '.svg':
        return html_report(report)
    for path, checks in report.checks.items():
        for check in checks:
            if check.comparison is not None:
                return curves_svg(path.name, check, is_alone=True)
    return '<svg xmlns="http://www.w3.org/2000/svg"/>'


def html_report(report: Report) -> str:
    """The whole page."""
    sections = [
        *_summary(report),
        *_notes(report, ERROR),
        *_notes(report, TODO),
        *_schedules(report),
        *_notes(report, INFO),
        *_files(report),
    ]
    return _PAGE.replace('STYLE', STYLE).replace('BODY', '\n'.join(sections))


def _summary(report: Report) -> Iterator[str]:
    compared = [
        check.largest
        for checks in report.checks.values()
        for check in checks
        if check.comparison is not None
    ]
    figures = [
        (f'{report.written} of {len(report.outcomes)}', 'files written'),
        (str(len(report.failed)), 'not converted'),
        (str(len(report.notes(TODO))), 'left to do'),
    ]
    if compared:
        figures.append((f'{max(compared):.1e}', 'largest relative difference of a schedule'))
    cells = ''.join(f'<div><b>{value}</b> {words}</div>' for value, words in figures)
    yield f'<div class="figures">{cells}</div>'
    if report.destination is not None:
        yield f'<p>Written to <code>{html.escape(str(report.destination))}</code>.</p>'


def _notes(report: Report, kind: str) -> Iterator[str]:
    notes = report.notes(kind)
    if not notes:
        return
    yield f'<h2>{TITLES[kind]} ({len(notes)})</h2><table>'
    yield from map(_row, notes)
    yield '</table>'


def _row(note: Note) -> str:
    place = f'<code>{html.escape(note.place)}</code><br>' if note.place else ''
    return (
        f'<tr><td>{place}<code class="key">{html.escape(note.key)}</code></td>'
        f'<td>{html.escape(note.text)}</td></tr>'
    )


def _schedules(report: Report) -> Iterator[str]:
    groups = _alike(report)
    if not groups:
        return
    yield f'<h2>Schedules ({sum(len(paths) for paths, _ in groups)})</h2>'
    if any(check.was_assumed for _, check in groups):
        yield (
            '<p>Configs do not tell how many iterations an epoch has, so several lengths were '
            'tried; the picture shows the longest, or one that differs. '
            '<code>--iters-per-epoch N</code> checks yours.</p>'
        )
    for index, (paths, check) in enumerate(groups):
        names = [html.escape(report.name(path)) for path in paths]
        more = f' and {len(names) - 1} more with the same curve' if len(names) > 1 else ''
        picture = curves_svg(paths[0].name, check) if index < _MOST_PICTURES else ''
        yield (
            f'<figure>{picture}<figcaption><code>{names[0]}</code>{more}: '
            f'{html.escape(outcome(check))}</figcaption></figure>'
        )


def _alike(report: Report) -> list[tuple[list[Path], Check]]:
    """Checks with the paths that have the same one; those to look at first come first."""
    groups: dict[str, tuple[list[Path], Check]] = {}
    for path, checks in report.checks.items():
        for check in checks:
            curve = check.comparison.legacy if check.comparison is not None else check.reason
            label = f'{check.key} {outcome(check)} {curve}'
            groups.setdefault(label, ([], check))[0].append(path)

    def urgency(group: tuple[list[Path], Check]) -> tuple[bool, float]:
        check = group[1]
        return check.passed, -check.largest

    return sorted(groups.values(), key=urgency)


def _files(report: Report) -> Iterator[str]:
    yield '<h2>Files</h2>'
    for one in report.outcomes:
        name = html.escape(report.name(one.source))
        if one.text is None:
            yield f'<p><code>{name}</code> was not converted.</p>'
            continue
        lines = list(_changes(one))
        words = f'{len(lines)} lines' if lines else 'unchanged'
        yield f'<details><summary><code>{name}</code> <small>{words}</small></summary>'
        yield f'<pre>{"".join(lines)}</pre></details>'


def _changes(one: Outcome) -> Iterator[str]:
    try:
        before = one.source.read_text(encoding='utf-8', errors='replace').splitlines()
    except OSError:
        before = []
    after = (one.text or '').splitlines()
    for line in list(difflib.unified_diff(before, after, lineterm='', n=2))[2:]:
        kind = {'+': 'ins', '-': 'del'}.get(line[0])
        text = html.escape(line)
        yield f'<{kind}>{text}</{kind}>\n' if kind else f'{text}\n'


_PAGE = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark"><title>Migrated configs</title><style>
:root { --back: #fff; --ink: #24292f; --faint: #d0d7de; --soft: #f6f8fa; }
:root { --gone: #ffebe9; --come: #e6ffec; }
@media (prefers-color-scheme: dark) {
  :root { --back: #0d1117; --ink: #d0d7de; --faint: #30363d; --soft: #161b22; }
  :root { --gone: #3d1c1f; --come: #12331d; }
}
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em;
  background: var(--back); color: var(--ink); }
h1 { font-size: 1.6em; } h2 { font-size: 1.2em; margin-top: 2em; }
.figures { display: flex; flex-wrap: wrap; gap: .8em; }
.figures div { background: var(--soft); border: 1px solid var(--faint); border-radius: 6px;
  padding: .5em 1em; }
.figures b { font-size: 1.3em; display: block; }
table { border-collapse: collapse; width: 100%; }
td { border-top: 1px solid var(--faint); padding: .4em .8em .4em 0; vertical-align: top; }
td:first-child { width: 45%; overflow-wrap: anywhere; }
code, pre { font: 13px/1.45 ui-monospace, monospace; } .key { opacity: .75; }
pre { background: var(--soft); padding: 1em; overflow-x: auto; border-radius: 6px; }
del, ins { text-decoration: none; display: block; }
del { background: var(--gone); } ins { background: var(--come); }
details { border-top: 1px solid var(--faint); padding: .3em 0; } summary { cursor: pointer; }
small { opacity: .7; } figure { margin: 1.5em 0; } figcaption { opacity: .85; }
svg { width: 100%; height: auto; display: block; }
STYLE</style></head><body><h1>Migrated configs</h1>
BODY
</body></html>
"""
