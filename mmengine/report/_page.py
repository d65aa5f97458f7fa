"""Puts the records of runs on one page of HTML that needs no other file and no network."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from mmengine.report._figures import figures, script
from mmengine.report._run import RunRecord, read_run
from mmengine.utils.errors import ArgumentError

_TEMPLATE = 'page.html.jinja'
_NO_END = 'not in its log: it is at work, or was killed'


def report(work_dirs: str | Path | Sequence[str | Path], out: str | Path = 'report.html') -> Path:
    """Write a page about runs: how they ended, curves, configs, checkpoints, warnings.

    Args:
        work_dirs: Work dir of a run, or of several runs, whose curves are drawn in the same
            figures and whose configs are compared with the config of the first one.
        out: The file to write. Its folder must exist.

    Returns:
        ``out`` as a path.

    Raises:
        ArgumentError: If there is no work dir, or Plotly is not installed.
        FileNotFoundError: If no run has written scalars to a work dir.
    """
    given = [work_dirs] if isinstance(work_dirs, (str, Path)) else list(work_dirs)
    if not given:
        raise ArgumentError('A report needs at least one work dir.')
    # A folder that is given twice is one run.
    folders = {Path(folder).resolve(): folder for folder in given}.values()
    runs = told_apart([read_run(folder) for folder in folders])
    page = _render(runs)
    path = Path(out)
    path.write_text(page, encoding='utf-8')
    return path


def told_apart(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """The runs with names that differ: as many last parts of each path as no other path has."""
    paths = [run.work_dir.resolve().parts for run in runs]

    def name_of(own: tuple[str, ...]) -> str:
        for length in range(1, len(own)):
            if sum(path[-length:] == own[-length:] for path in paths) == 1:
                return '/'.join(own[-length:])
        return str(Path(*own))

    return [replace(run, name=name_of(path)) for run, path in zip(runs, paths, strict=True)]


def _render(runs: Sequence[RunRecord]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader('mmengine.report', ''),
        autoescape=True,  # names and texts of a run are not HTML
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    page: str = environment.get_template(_TEMPLATE).render(
        runs=runs,
        rows=[_summary(run) for run in runs],
        figures=figures(runs),
        script=script(),
        differences=[_difference(runs[0], run) for run in runs[1:]],
    )
    return page


def _summary(run: RunRecord) -> dict[str, Any]:
    finals = {
        name.removeprefix('val/'): curve.values[-1]
        for name, curve in run.curves.items()
        if name.startswith('val/')
    }
    best = next((entry for entry in reversed(run.checkpoints) if 'best' in entry['marks']), None)
    time = run.curves.get('time')
    return {
        'name': run.name,
        'end': run.end or _NO_END,
        'starts': len(run.starts),
        'iterations': run.iterations,
        'seconds': sum(time.values) / len(time.values) if time is not None else None,
        'finals': finals,
        'best': best,
    }


def _difference(first: RunRecord, other: RunRecord) -> str:
    """The lines that differ, as texts: configs are not executed."""
    lines = difflib.unified_diff(
        first.config.splitlines(), other.config.splitlines(), first.name, other.name, lineterm=''
    )
    return '\n'.join(lines)
