"""What became of a project drawn at random: equal to MMCV, marked, refused by MMCV, different.

Diverged are those whose weights were no numbers any more under MMCV: Runner stops there.

Equal are those alone that have no mark: a mark where nothing is to be done counts against it.
"""

import contextlib
import io
import math
from pathlib import Path

from random_projects import write_project
from run_project import outcome_of

from mmengine.migrate._project.migrate import migrate_project


def verdict(seed, mmcv, scratch):
    """``equal``, ``marked``, ``refused``, ``diverged`` or what differs.

    Args:
        seed: The seed of the project.
        mmcv: What it gave under MMCV.
        scratch: A folder for the project and its runs.
    """
    if 'error' in mmcv:
        return 'refused'
    source = Path(scratch, 'legacy', f'{seed}')
    target = Path(scratch, 'migrated', f'{seed}')
    write_project(seed, source)
    migration = _migrated(source, target)
    if migration.report is not None and (
        migration.report.failed or not migration.report.is_complete
    ):
        return 'marked'
    changed = _changed_by_a_second_run(target, Path(scratch, 'again', f'{seed}'))
    if changed:
        return f'a second run changes {changed}'
    marks = [mark for one in migration.code for mark in one.todo]
    if marks or any(one.error for one in migration.code):
        return 'marked'
    found = outcome_of(target, Path(scratch, 'work', f'{seed}'), start='forkserver')
    if 'error' in found:
        stops = found['error'].startswith('NonFiniteLossError')
        ends_in_nan = not all(map(math.isfinite, _flat(mmcv['parameters']).values()))
        return 'diverged' if stops and ends_in_nan else found['error']
    return _difference(found, mmcv)


def _migrated(source, target):
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        return migrate_project(source, target)


def _changed_by_a_second_run(target, again):
    """The files of a migrated project that a further migration writes otherwise."""
    _migrated(target, again)
    return sorted(
        str(path.relative_to(target))
        for path in target.rglob('*')
        if path.is_file()
        and path.name != 'MIGRATION.md'
        and path.read_bytes() != (again / path.relative_to(target)).read_bytes()
    )


def _difference(ours, mmcv):
    if ours['files'] != mmcv['files']:
        return f'files {ours["files"]}, under MMCV {mmcv["files"]}'
    names = [[one[0] for one in outcome['seen']] for outcome in (ours, mmcv)]
    if names[0] != names[1]:
        pairs = zip(*names, strict=False)
        first = next((i for i, (a, b) in enumerate(pairs) if a != b), min(map(len, names)))
        return (
            f'note {first}: {names[0][first : first + 2]}, under MMCV {names[1][first : first + 2]}'
        )
    for index, (one, other) in enumerate(zip(ours['seen'], mmcv['seen'], strict=True)):
        pairs = zip(one[1:], other[1:], strict=True)
        if not all(math.isclose(a, b, rel_tol=1e-5, abs_tol=1e-7) for a, b in pairs):
            return f'note {index}: {one}, under MMCV {other}'
    found = _of_weights(ours['parameters'], mmcv['parameters'])
    for path, one, other in zip(mmcv['files'], ours['saved'], mmcv['saved'], strict=True):
        found = found or ((wrong := _of_weights(one, other)) and f'{path}: {wrong}')
    return found or 'equal'


def _of_weights(ours, mmcv):
    ours, mmcv = _flat(ours), _flat(mmcv)
    if ours.keys() != mmcv.keys():
        return f'parameters {sorted(ours)}, under MMCV {sorted(mmcv)}'
    for name, value in mmcv.items():
        if not math.isclose(ours[name], value, rel_tol=1e-5, abs_tol=1e-7):
            return f'{name} is {ours[name]}, under MMCV {value}'
    return ''


def _flat(parameters):
    return {
        f'{name}[{index}]': value
        for name, values in parameters.items()
        for index, value in enumerate(values if isinstance(values, list) else [values])
    }
