"""Convert a config file or a tree of them, and write what came out."""

from __future__ import annotations

import os
import shutil
from collections.abc import Container, Iterable, Mapping
from pathlib import Path

from mmengine.fileio import atomic_write
from mmengine.migrate._config.convert import SCHEDULES
from mmengine.migrate._config.files.tree import (
    Outcome,
    config_files,
    is_code,
    is_hidden,
    load_tree,
)
from mmengine.migrate._config.files.tree_conversion import convert_tree
from mmengine.migrate._config.files.verify import verify
from mmengine.migrate._config.report.check import Check, check_schedules
from mmengine.migrate._config.report.text import Report
from mmengine.migrate._config.rules.choice import book_for
from mmengine.migrate._hook_facts import HookFacts
from mmengine.utils.errors import ArgumentError


def migrate_configs(
    source: str | Path,
    destination: str | Path | None = None,
    *,
    rules: Iterable[str] = ('auto',),
    flatten: bool = False,
    iters_per_epoch: int | None = None,
    check: bool = False,
    force: bool = False,
    only: Iterable[Path] | None = None,
    own: Mapping[str, HookFacts] | None = None,
) -> Report:
    """Convert configs of MMCV 1.x and write them; sources are never changed.

    Args:
        source: A config file, converted with the files it inherits from, or a folder.
        destination: A folder for a folder; for a file, the file to write, beside which its
            bases get the places that they had. By default a file or folder named as the source,
            with ``_migrated``.
        rules: Names of vocabularies, or files of rules; see :func:`load_rules`. 'auto' chooses
            a built-in one for each config.
        flatten: Write each config resolved, without ``_base_``.
        iters_per_epoch: Iterations of an epoch, for what cannot be said in epochs.
        check: Compare the schedules over the whole run.
        force: Overwrite files that are there.
        only: The config files of a folder; by default all that look like one. Nothing else of the
            folder is copied then.
        own: Classes of the project whose code is converted as well, and what each does as a hook.

    Raises:
        ArgumentError: If there is nothing to convert, or files would be overwritten.
    """
    if iters_per_epoch is not None and iters_per_epoch < 1:
        raise ArgumentError(f'iters_per_epoch is a positive integer, got {iters_per_epoch}.')
    source = Path(os.path.abspath(source))
    vocabulary = book_for(rules, source, own)
    if only is not None:
        asked = [Path(os.path.abspath(path)) for path in only]
    elif source.is_dir():
        asked = config_files(source, _target(source, destination))
    elif source.is_file():
        if source.suffix == '.py' and is_code(source):
            raise ArgumentError(
                f'{source} is a script or a module, not a config: nothing of it was run. '
                '`mmengine migrate code` converts code.'
            )
        asked = [source]
    else:
        raise ArgumentError(f'there is no file or folder {str(source)!r}.')
    if not asked:
        raise ArgumentError(
            f'{source} holds no config: no .json or .yaml file, and no .py file that assigns keys.'
        )
    tree = load_tree(asked)
    outcomes = convert_tree(
        tree, rules=vocabulary, iters_per_epoch=iters_per_epoch, flatten=flatten
    )
    root = Path(os.path.commonpath([str(path.parent) for path in outcomes]))
    verify(tree, outcomes, root)
    if flatten:
        outcomes = {path: outcomes[path] for path in asked}
    report = Report(list(outcomes.values()), folder=Path.cwd())
    if check:
        report.checks = _checks(outcomes.values(), own or {})
    if destination is None and source.is_file() and len(outcomes) > 1:
        folder = source.with_name(f'{source.stem}_migrated')
        places = {path: _moved(path, root, folder) for path in outcomes}
        report.destination = folder
    else:
        places = _places(source, destination, outcomes, flatten)
        report.destination = _target(source, destination)
    report.written = _write(outcomes, places, force)
    if source.is_dir() and report.written and only is None:
        _copy_others(source, report.destination, set(outcomes), force)
    return report


def _checks(outcomes: Iterable[Outcome], own: Container[str]) -> dict[Path, list[Check]]:
    checks: dict[Path, list[Check]] = {}
    known: dict[str, list[Check]] = {}
    for outcome in outcomes:
        # Of parts of configs, those are checked that use them.
        if outcome.text is None or (outcome.is_part and 'data' not in outcome.legacy):
            continue
        # Many configs of a project share one schedule.
        keys = (*SCHEDULES, 'optimizer', 'optimizers', 'evaluation')
        asked = [outcome.legacy.get(key) for key in keys]
        label = repr((asked, outcome.config.get('param_scheduler'), outcome.length))
        if label not in known:
            known[label] = check_schedules(outcome.legacy, outcome.config, outcome.length, own)
        if known[label]:
            checks[outcome.source] = known[label]
    return checks


def _default(source: Path) -> Path:
    return source.with_name(f'{source.stem}_migrated{source.suffix}')


def _target(source: Path, destination: str | Path | None) -> Path:
    return _default(source) if destination is None else Path(os.path.abspath(destination))


def _places(
    source: Path, destination: str | Path | None, outcomes: Iterable[Path], flatten: bool
) -> dict[Path, Path]:
    """Where each file is written."""
    target = _target(source, destination)
    if source.is_dir():
        places = {path: _moved(path, source, target) for path in outcomes}
    else:
        if destination is not None and (target.is_dir() or not target.suffix):
            target = target / source.name
        places = {path: _moved(path, source.parent, target.parent) for path in outcomes}
        places[source] = target
    sources = set(places)
    clash = [place for path, place in places.items() if place in sources]
    if clash:
        hint = '' if flatten else ' Name another folder with -o, or write one file with --flatten.'
        raise ArgumentError(
            f'{clash[0]} is a legacy config itself, and would be overwritten.{hint}'
        )
    return places


def _moved(path: Path, old: Path, new: Path) -> Path:
    return Path(os.path.normpath(new / os.path.relpath(path, old)))


def _write(outcomes: dict[Path, Outcome], places: dict[Path, Path], force: bool) -> int:
    pending = [
        (places[path], path.read_bytes() if outcome.is_unchanged else outcome.text.encode())
        for path, outcome in outcomes.items()
        if outcome.text is not None
    ]
    for place, content in pending:
        if place.is_dir():
            raise ArgumentError(f'{place} is a folder; a config is to be written there.')
        if force or not place.exists():
            continue
        if place.read_bytes() != content:
            raise ArgumentError(f'{place} is there already; --force overwrites it.')
    # Folders first, so that one that cannot be made is found before anything is written.
    for folder in {place.parent for place, _ in pending}:
        folder.mkdir(parents=True, exist_ok=True)
    for place, content in pending:
        with atomic_write(str(place)) as stream:
            stream.write(content)
    return len(pending)


def _copy_others(source: Path, target: Path, configs: set[Path], force: bool) -> None:
    """What lies between the configs (readme files, modules that are not configs) comes along."""
    target = Path(os.path.abspath(target))
    for path in sorted(source.rglob('*')):
        inside = path.relative_to(source)
        if is_hidden(inside) or path in configs or target in path.parents or not path.is_file():
            continue
        place = target / inside
        if force or not place.exists():
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, place)
