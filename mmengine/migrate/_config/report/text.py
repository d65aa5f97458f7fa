"""What a conversion did, as text for the terminal; :mod:`.page` shows it with pictures."""

from __future__ import annotations

import os
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path

from mmengine.migrate._config.files.tree import Outcome
from mmengine.migrate._config.notes import ERROR, INFO, TODO, Note
from mmengine.migrate._config.report.check import ASSUMED_EPOCH_LENGTHS, Check

TITLES = {
    ERROR: 'Not converted',
    TODO: 'Left to do',
    INFO: 'Changed in meaning',
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
    def leaves(self) -> list[Outcome]:
        """The configs that a run can use: other files do not inherit from them."""
        return [one for one in self.outcomes if not one.is_part]

    @property
    def failed(self) -> list[Outcome]:
        return [one for one in self.leaves if one.failed]

    @property
    def are_all_new(self) -> bool:
        """Whether every file was written for this engine."""
        return bool(self.outcomes) and all(one.is_new for one in self.outcomes)

    @property
    def is_complete(self) -> bool:
        """Whether nothing is left to do."""
        todo = any(one.failed or one.has_todo for one in self.leaves)
        return not todo and all(check.passed for many in self.checks.values() for check in many)

    def name(self, path: Path) -> str:
        return os.path.relpath(path, self.folder)

    def notes(self, kind: str) -> list[Note]:
        """The notes of one kind; one that many files inherit appears once.

        Errors of a file that others inherit from are listed only for the configs that they stop.
        """
        found: dict[Note, list[Path]] = {}
        for outcome in self.outcomes if kind == INFO else self.leaves:
            for note in outcome.notes:
                if note.kind == kind:
                    found.setdefault(note, []).append(outcome.source)
        told = [self._with_users(note, paths) for note, paths in found.items()]
        return [replace(note, place=self._relative(note.place) or None) for note in told]

    def causes(self, kind: str) -> list[str]:
        """A line for each cause, the most frequent first.

        One cause is one sentence, wherever in configs it appears.
        """
        by_text: dict[str, list[tuple[Note, Path]]] = {}
        for outcome in self.outcomes if kind == INFO else self.leaves:
            for note in outcome.notes:
                if note.kind == kind:
                    by_text.setdefault(note.text, []).append((note, outcome.source))
        lines = []
        for text, told in by_text.items():
            places = list(dict.fromkeys((note.place, note.key) for note, _ in told))
            configs = list(dict.fromkeys(source for _, source in told))
            if len(places) == 1 or kind == ERROR:
                lines += [(len(configs), str(note)) for note in self._of_text(kind, text)]
                continue
            place = self._relative(places[0][0]) or self.name(configs[0])
            where = f'in {len(configs)} configs' if len(configs) > 1 else f'{len(places)} times'
            lines.append((len(configs), f'{text} ({where}, first at {place}: {places[0][1]})'))
        return [line for _, line in sorted(lines, key=lambda one: -one[0])]

    def _of_text(self, kind: str, text: str) -> list[Note]:
        return [note for note in self.notes(kind) if note.text.startswith(text)]

    def _relative(self, place: str | None) -> str:
        """A place with its file as it is named from the folder of the call."""
        if not place:
            return ''
        path, colon, line = place.rpartition(':')
        if not line.isdigit():
            return self.name(Path(place)) if os.path.isabs(place) else place
        return f'{self.name(Path(path)) if os.path.isabs(path) else path}{colon}{line}'

    def _with_users(self, note: Note, paths: list[Path]) -> Note:
        """``note``; where it is about a line of a base, with the configs that give it reason."""
        written = Path(os.path.abspath((note.place or '').rpartition(':')[0]))
        if not note.place or (written in paths and len(paths) == 1):
            return note
        if note.kind == ERROR:
            return replace(note, text=f'{note.text} (In {", ".join(map(self.name, paths))}.)')
        if written in paths:
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
            lines.append(f'{TITLES[kind]}: {len(notes)} notes; --verbose or --report shows them.')
            continue
        if notes:
            causes = report.causes(kind)
            lines.append(f'{TITLES[kind]} ({len(causes)}):')
            lines.extend(f'  {cause}' for cause in causes)
    lines.extend(_check_lines(report))
    lines.append(_summary(report))
    lines.extend(_next_step(report))
    return '\n'.join(lines)


def _summary(report: Report) -> str:
    where = f' to {report.destination}' if report.destination is not None else ''
    if report.are_all_new:
        return f'{report.written} files are configs of this engine already: copied{where}.'
    total, failed = len(report.leaves), len(report.failed)
    parts = [f'{total - failed} of {total} configs converted']
    num_bases = sum(one.is_part and not one.failed for one in report.outcomes)
    if num_bases:
        parts.append(f', with {num_bases} files that they inherit from')
    num_new = sum(one.is_new for one in report.outcomes)
    if num_new:
        parts.append(f' ({num_new} files are of this engine already, and were copied)')
    if failed:
        parts.append(f', {failed} not converted')
    return f'{"".join(parts)}: {report.written} files written{where}.'


def _next_step(report: Report) -> list[str]:
    """By which rules the configs were read, what is left, and what to do about it."""
    lines = []
    by_rules = Counter(', '.join(one.rules) for one in report.leaves if not one.is_new)
    if any(by_rules):
        told = ', '.join(f'{name or "none"} for {count}' for name, count in by_rules.most_common())
        lines.append(f'Rules: {told}.')
    left = report.causes(TODO)
    if not left:
        return lines
    known = Counter(re.findall(r'--rules (\w+)', ' '.join(left)))
    settle = ''
    if known:
        name, count = known.most_common(1)[0]
        settle = f' --rules {name} settles {count} of them.'
    lines.append(
        f'Left: {len(left)} things, the most frequent first.{settle} Next: place them, in a file '
        'of rules or by hand, and convert the code with `mmengine migrate code`.'
    )
    return lines


def _check_lines(report: Report) -> list[str]:
    lines: list[str] = []
    for path, checks in report.checks.items():
        lines.extend(f'  {report.name(path)}: {check.key}: {outcome(check)}' for check in checks)
    compared = [
        check.largest
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
        f'largest relative difference {check.largest:.1e} over '
        f'{len(check.comparison.legacy):,} {check.unit}'
    ]
    if check.was_assumed and len(check.epoch_lengths) > 1:
        parts.append(f' in epochs of {_listed(check.epoch_lengths)}')
    elif check.epoch_lengths:
        parts.append(f' in epochs of {check.epoch_lengths[0]}')
    if check.reason:
        parts.append(f'; {check.reason}')
    return ''.join(parts) + ('' if check.passed else ' - TOO LARGE')


def _listed(numbers: tuple[int, ...]) -> str:
    *most, last = map(str, numbers)
    return f'{", ".join(most)} and {last}' if most else last
