"""The one page about a migrated project: what was done, what is left, how sure it is."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from mmengine.migrate._config.notes import ERROR, TODO
from mmengine.migrate._project.files import packages_of_mmcv1
from mmengine.migrate._project.migrate import Migration

_MOST = 40


def page(migration: Migration) -> str:
    """The page as Markdown."""
    name = migration.source.name
    lines = [f'# {name}, migrated from MMCV 1.x', '']
    for title, part in (
        ('What was done', _done(migration)),
        ('What is left', _left(migration)),
        ('How sure it is', _certainty(migration)),
    ):
        lines += [f'## {title}', '', *part, '']
    return '\n'.join(lines)


def _done(migration: Migration) -> Iterator[str]:
    report = migration.report
    if report is not None:
        converted = len(report.leaves) - len(report.failed)
        new = sum(one.is_new for one in report.outcomes)
        bases = sum(one.is_part and not one.failed for one in report.outcomes)
        yield f'- {converted} of {len(report.leaves)} configs converted, {bases} files below them.'
        if new:
            yield f'- {new} config files are of this engine already, and were copied.'
        rules = Counter(', '.join(one.rules) or 'none' for one in report.leaves if not one.is_new)
        told = ', '.join(f'{name} for {count}' for name, count in rules.most_common())
        yield from [f'- Rules: {told}.'] if told else []
    changed = [one for one in migration.code if one.new != one.old]
    yield f'- {len(changed)} of {len(migration.code)} Python files converted.'
    codemods = Counter(name for one in changed for name in one.applied)
    if codemods:
        told = ', '.join(f'{name} in {count}' for name, count in codemods.most_common())
        yield f'- Codemods: {told}.'
    for path in migration.requirements:
        yield f'- {_name(migration, path)}: mmengine takes the place of MMCV 1.x.'
    yield f'- {len(migration.files.others)} other files copied.'


def _left(migration: Migration) -> Iterator[str]:
    lines = [*_left_of_configs(migration), *_left_of_code(migration)]
    lines += [
        f'- {one.config}: the first training step differs: {one.reason}.'
        for one in migration.steps or ()
        if one.difference is not None and one.reason
    ]
    lines += [
        f'- {_name(migration, path)} names mmcv: name mmengine there.'
        for path in migration.others_naming_mmcv
    ]
    lines += [
        f'- {_name(migration, path)}: {line} is for MMCV 1.x: ask for a version for mmengine.'
        for path in _lists_of_packages(migration)
        for line in packages_of_mmcv1(path.read_text('utf-8', errors='replace'))
    ]
    yield from lines[:_MOST] or ['Nothing.']
    if len(lines) > _MOST:
        yield f'- ... and {len(lines) - _MOST} more; the two commands for parts list all.'


def _lists_of_packages(migration: Migration) -> Iterator[Path]:
    """The files of the project that say which packages it needs."""
    setups = ('setup.py', 'setup.cfg', 'pyproject.toml')
    others = (*migration.files.code, *migration.files.others)
    yield from migration.files.requirements
    yield from (path for path in others if path.name in setups)


def _left_of_configs(migration: Migration) -> Iterator[str]:
    if migration.failure:
        yield f'- Configs: {migration.failure}'
    if migration.report is not None:
        for kind in (ERROR, TODO):
            yield from (f'- Configs: {cause}' for cause in migration.report.causes(kind))


def _left_of_code(migration: Migration) -> Iterator[str]:
    """Each mark once, with how often it stands and where it stands first."""
    for conversion in migration.code:
        if conversion.error:
            path = _name(migration, conversion.path)
            yield f'- {path}: not converted: {conversion.error}'
    places: dict[str, list[str]] = {}
    for conversion in migration.code:
        for line, why in conversion.todo:
            where = f'{_name(migration, conversion.path)}:{line}'
            places.setdefault(why, []).append(where)
    for why, found in sorted(places.items(), key=lambda one: -len(one[1])):
        count = f', {len(found)} times' if len(found) > 1 else ''
        yield f'- {found[0]}{count}: {why}'


def _certainty(migration: Migration) -> Iterator[str]:
    report = migration.report
    if report is not None:
        checks = [check for many in report.checks.values() for check in many]
        compared = [check for check in checks if check.comparison is not None]
        passed = sum(check.passed for check in compared)
        if checks:
            largest = max((check.largest for check in compared), default=0.0)
            yield (
                f'- Schedules: {passed} of {len(checks)} equal to MMCV at every iteration, largest '
                f'relative difference {largest:.1e}.'
            )
        yield '- Every converted config was loaded and compared with its source.'
    marked = sum(bool(one.todo) for one in migration.code)
    yield (
        f'- Code: {len(migration.code) - marked} of {len(migration.code)} files without a mark. '
        'Each file parses; none was run.'
    )
    yield from _steps(migration)


def _steps(migration: Migration) -> Iterator[str]:
    if migration.steps is None:
        yield (
            '- Losses were not compared: give --mmcv-python, or train both for some iterations '
            'from one checkpoint.'
        )
        return
    compared = [one for one in migration.steps if one.difference is not None]
    equal = sum(one.is_equal for one in compared)
    largest = max((one.difference or 0.0 for one in compared), default=0.0)
    made_up = sum(one.is_stand_in for one in compared)
    data = f', {made_up} of them on stand-in data' if made_up else ''
    yield (
        f'- One training step under MMCV 1.x and here: the losses of {equal} of {len(compared)} '
        f'configs are equal{data}; largest relative difference {largest:.1e}.'
    )
    for one in migration.steps:
        if one.difference is None:
            yield f'- {one.config}: no training step compared: {one.reason}.'


def _name(migration: Migration, path: Path) -> str:
    return os.path.relpath(path, migration.source)
