"""Reads what a run has written to its work dir. Nothing of it is executed."""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from mmengine._checkpoint.tools import ls
from mmengine.logging._run_end import end_in

_TIMES = ('time', 'data_time')
_SCALARS = Path('vis_data', 'scalars.json')
_POSITIONS = ('iter', 'epoch', 'step')
# '2026/11/29 05:15:24 - mmengine - WARNING - text', or with the place in the code
# '... - ERROR - /home/me/hook.py - after_run - 12 - text'.
_LEVEL = re.compile(
    r'^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d - .*? - '
    r'(?:(WARNING) - |(ERROR|CRITICAL) - (?:.*? - \S+ - \d+ - )?)(.*)$'
)
_RULE = re.compile(r'^-{20,}$')


@dataclass(frozen=True)
class Curve:
    """Values of one quantity over the iterations of a run."""

    iters: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class RunRecord:
    """What a work dir says about its run.

    Attributes:
        work_dir: The folder.
        name: The name of the folder, or as much of its path as tells it from other runs.
        starts: Names of the folders of the starts, the first one first.
        curves: By name; curves of a validation begin with ``val/``.
        config: Text of the config of the last start; empty if there is none.
        environment: Text of the log of the last start about the machine; empty if there is none.
        checkpoints: See :func:`mmengine._checkpoint.tools.ls`.
        warnings: Warnings and errors of the logs, with how often each came.
        end: How the last start ended, such as ``'failed after 3 iterations: ...'``; empty if its
            log does not say so, because it is at work, or was killed.
    """

    work_dir: Path
    name: str
    starts: list[str]
    curves: dict[str, Curve]
    config: str
    environment: str
    checkpoints: list[dict[str, Any]]
    warnings: list[tuple[str, int]]
    end: str

    @property
    def iterations(self) -> int:
        """The last iteration of which there is a value; 0 if there is none."""
        return max((curve.iters[-1] for curve in self.curves.values()), default=0)


def read_run(work_dir: str | Path) -> RunRecord:
    """Read the logs, scalars and the list of checkpoints of a run.

    Where a later start repeats iterations, because it was resumed from an earlier checkpoint, the
    values of the later start count.

    Raises:
        FileNotFoundError: If no start of a run has left a folder with scalars there.
    """
    root = Path(work_dir)
    logs = _logs_by_start(root) if root.is_dir() else {}
    if not logs:
        raise FileNotFoundError(
            2, 'No run has written scalars here (TIMESTAMP/vis_data/scalars.json)', str(root)
        )
    *_, last = logs.values()
    configs = [path for start in logs for path in (start / 'vis_data').glob('config.py')]
    return RunRecord(
        work_dir=root,
        name=root.resolve().name,
        starts=[start.name for start in logs],
        curves=_curves([file for start in logs if (file := start / _SCALARS).is_file()]),
        config=configs[-1].read_text() if configs else '',
        environment=_environment(last),
        checkpoints=ls(root),
        warnings=_warnings('\n'.join(logs.values())),
        end=end_in(last),
    )


def _logs_by_start(root: Path) -> dict[Path, str]:
    """The folder of each start with the texts of its logs, the first start first.

    A start may fail before it writes scalars. Other folders without scalars are of tests, and of
    what tries a training out.
    """
    found = {}
    for start in sorted(path for path in root.iterdir() if path.is_dir()):
        log = '\n'.join(path.read_text(errors='replace') for path in sorted(start.glob('*.log')))
        if (start / _SCALARS).is_file() or end_in(log).startswith(('failed', 'stopped')):
            found[start] = log
    return found


def _curves(files: list[Path]) -> dict[str, Curve]:
    points: dict[str, dict[int, float]] = {}
    for file in files:
        at = [(place, values) for place, values in _placed(_records(file)) if values]
        if not at:
            continue
        first = at[0][0]
        for name, known in points.items():
            points[name] = {place: value for place, value in known.items() if place < first}
        for place, values in at:
            for name, value in values.items():
                points.setdefault(name, {})[place] = value
    return {
        name: Curve(list(found), list(found.values()))
        for name, found in points.items()
        if found  # a later start may have repeated all iterations of a curve that it lacks
    }


def _placed(records: Iterator[dict[str, Any]]) -> Iterator[tuple[int, dict[str, float]]]:
    """Each record with its iteration: a validation is at the last iteration before it."""
    place, is_later = 0, False
    for record in records:
        is_training = isinstance(record.get('iter'), int)
        if is_training:
            place, is_later = record['iter'], True
        elif not is_later and isinstance(record.get('step'), int):
            place = record['step']  # no training came before
        prefix = '' if is_training else 'val/'
        yield (
            place,
            {
                f'{prefix}{name}': float(value)
                for name, value in record.items()
                if name not in _POSITIONS
                and _is_number(value)
                and (is_training or name not in _TIMES)
            },
        )


def _records(file: Path) -> Iterator[dict[str, Any]]:
    for line in file.read_text(errors='replace').splitlines():
        try:
            record = json.loads(line)
        except ValueError:
            continue  # the last line of a run that was killed
        if isinstance(record, Mapping):
            yield dict(record)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _environment(log: str) -> str:
    """The lines between the first two rules of dashes that contain it."""
    lines = log.splitlines()
    rules = [index for index, line in enumerate(lines) if _RULE.match(line.strip())]
    for begin, end in pairwise(rules):
        block = lines[begin + 1 : end]
        if any('environment' in line.lower() for line in block[:2]):
            return '\n'.join(block).strip()
    return ''


def _warnings(log: str) -> list[tuple[str, int]]:
    counts: Counter[str] = Counter()
    for line in log.splitlines():
        match = _LEVEL.match(line)
        if match:
            counts[f'{match[1] or match[2]}: {match[3].strip()}'] += 1
    return list(counts.items())
