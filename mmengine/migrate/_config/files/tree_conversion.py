"""Convert config files together, so that they keep inheriting from each other."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mmengine.migrate._config.convert import LEGACY_KEYS, OWNERS, Converted, convert_config
from mmengine.migrate._config.files.rewriting import flat_text, rewrite_data, rewrite_python
from mmengine.migrate._config.files.script import Script
from mmengine.migrate._config.files.sources import LegacyFile, merge_traced
from mmengine.migrate._config.files.tree import Config, Outcome, Tree
from mmengine.migrate._config.kinds import Kind, kind_of
from mmengine.migrate._config.notes import ERROR, INFO, Note
from mmengine.migrate._config.rules import Rules
from mmengine.migrate._config.rules.choice import RuleBook
from mmengine.migrate._config.topics.loop import tells_length
from mmengine.migrate._config.trace import plain

_LENGTHS = ('runner', 'total_epochs', 'total_iters')
_TIMES = ('evaluation', 'checkpoint_config', 'log_config')
_CONTEXT = (*_LENGTHS, *_TIMES, 'data')
"""Legacy keys that other keys' conversion looks at: a part of a config takes them from the configs
that use it."""


def convert_tree(
    tree: Tree,
    *,
    rules: RuleBook | None = None,
    iters_per_epoch: int | None = None,
    flatten: bool = False,
) -> dict[Path, Outcome]:
    """Convert every file of ``tree``."""
    book = rules or RuleBook()
    outcomes = {
        path: Outcome(path, notes=[_broken(path, why)]) for path, why in tree.broken.items()
    }
    for path in tree.lazy:
        text = path.read_text(encoding='utf-8', errors='replace')
        outcomes[path] = Outcome(path, text, original=text, is_new=True)
    scripts = {path: script_of(tree.files[path]) for path in tree.files}
    targets: dict[Path, Config] = {}
    for path, file in tree.files.items():
        outcome = outcomes[path] = Outcome(
            path, legacy=file.resolved, is_part=tree.is_base(path), original=file.text
        )
        if _is_new(tree, path):
            targets[path] = dict(file.resolved)
            outcome.is_new = True
            continue
        chosen = book.rules_for(*_users_of(tree, path))
        outcome.rules = chosen.names
        converted = _converted(tree, path, scripts[path], chosen, iters_per_epoch)
        outcome.notes, outcome.length = list(converted.notes), converted.length
        if converted.failed:
            continue
        left = converted.leftover
        outcome.leftover = {key: left[key] for key in left if key in file.own}
        targets[path] = {key: value for key, value in converted.config.items() if key not in left}
    if flatten:
        for path, target in targets.items():
            outcomes[path].config = plain(target)
            outcomes[path].settle(flat_text(path, target))
        return outcomes
    _settle_conflicts(tree, targets)
    for path in tree.bases_first():
        if path in targets:
            _write(tree, path, scripts[path], targets, outcomes[path])
    return outcomes


def _users_of(tree: Tree, path: Path) -> list[Config]:
    """The configs that tell by which vocabulary a file is read: itself, or those that use it."""
    users = tree.users(path) if tree.is_base(path) else [path]
    return [tree.files[one].resolved for one in users or [path]]


def _is_new(tree: Tree, path: Path) -> bool:
    """Whether a file was written for this engine, or is a part of nothing but such files."""
    kind = kind_of(tree.files[path].resolved)
    if kind is not Kind.UNKNOWN:
        return kind is Kind.NEW
    users = tree.users(path)
    return bool(users) and all(kind_of(tree.files[one].resolved) is Kind.NEW for one in users)


def _broken(path: Path, why: str) -> Note:
    # The message names the file, and where in it; the folder that all lie in says nothing.
    return Note(ERROR, os.path.relpath(path), why.replace(f'{os.getcwd()}{os.sep}', ''), None)


def script_of(file: LegacyFile) -> Script | None:
    if not file.is_python:
        return None
    try:
        return Script(file.text, file.own)
    except (SyntaxError, StopIteration, RecursionError):
        # Python only after variables in braces are filled in.
        return None


def _converted(
    tree: Tree, path: Path, script: Script | None, rules: Rules, iters_per_epoch: int | None
) -> Converted:
    file = tree.files[path]
    touched = LEGACY_KEYS | {'train_cfg', 'test_cfg', 'custom_hooks'}
    names = set(file.resolved)
    if not touched & names and not any(name.endswith('pipeline') for name in names):
        return Converted(dict(file.resolved), [], None)
    if script is None:
        legacy: Config = dict(file.resolved)
    else:
        own = {name: script.traced(name) if name in script.written else value
               for name, value in file.own.items()}  # fmt: skip
        legacy = merge_traced(file.base, own)
        if plain(legacy) != file.resolved:
            legacy = dict(file.resolved)
    borrowed = _borrowed(tree, path) if tree.is_base(path) else {}
    whole = {**borrowed, **legacy}
    if borrowed.get('runner') and 'runner' in legacy:
        whole['runner'] = borrowed['runner']
    converted = convert_config(
        whole, rules=rules, iters_per_epoch=iters_per_epoch, locate=file.locate
    )
    if not tree.is_base(path):
        return converted
    part = _only_of(converted, file.resolved)
    loop = part.config.get('train_cfg')
    if isinstance(loop, dict) and not tells_length(file.resolved) and 'runner' in file.resolved:
        # The files that inherit from this one say how long they run.
        kept = {key: loop[key] for key in loop if key not in ('max_epochs', 'max_iters')}
        part.config['train_cfg'] = kept
    return part


def _borrowed(tree: Tree, path: Path) -> Config:
    """What most configs that use this part of a config say of the keys that it lacks."""
    file = tree.files[path]
    told = set(file.resolved)
    is_whole = tells_length(file.resolved)
    if is_whole and 'data' in told and told & {'optimizer', 'optimizers'}:
        return {}
    missing = [key for key in _CONTEXT if key not in file.resolved]
    if is_whole:
        missing = [key for key in missing if key not in _LENGTHS]
    elif 'runner' in told:
        missing.append('runner')
    users = tree.users(path) if missing else []
    borrowed: Config = {}
    for key in missing:
        values = [
            None if key in _TIMES and _is_added(tree, key, user, path)
            else tree.files[user].resolved.get(key)
            for user in users
        ]  # fmt: skip
        if values:
            text, _ = Counter(repr(value) for value in values).most_common(1)[0]
            value = next(value for value in values if repr(value) == text)
            if value is not None:
                borrowed[key] = value
    return borrowed


def _is_added(tree: Tree, key: str, user: Path, part: Path) -> bool:
    """Whether a file that inherits from ``part`` says ``key`` itself: the part does not mean it."""
    return any(
        key in tree.files[one].own and part in tree.all_bases(one)
        for one in (user, *tree.all_bases(user))
        if one in tree.files
    )


def _only_of(converted: Converted, legacy: Mapping[str, Any]) -> Converted:
    """The part of a conversion that comes from the keys in ``legacy``."""

    def is_own(key: str) -> bool:
        if key in legacy and key not in ('train_cfg', 'test_cfg'):
            return True
        return any(owner in legacy for owner in OWNERS.get(key, ()))

    config = {key: value for key, value in converted.config.items() if is_own(key)}
    if 'optimizer' not in legacy and 'optimizers' not in legacy:
        config.pop('optim_wrapper', None)
    notes = []
    for note in converted.notes:
        top = note.key.partition('.')[0]
        if top not in legacy:
            continue
        if (
            note.kind == ERROR
            and converted.length is None
            and top in ('lr_config', 'momentum_config', 'runner')
        ):
            # The configs that use this part say how long the run is.
            text = 'it depends on the length of the run, which other files tell.'
            notes.append(Note(INFO, note.key, text, note.place))
            continue
        notes.append(note)
    left = {key: converted.leftover[key] for key in converted.leftover if key in config}
    return Converted(config, notes, converted.length, left)


def _settle_conflicts(tree: Tree, targets: dict[Path, Config]) -> None:
    """Two bases of one file must not define the same key: the less telling one leaves it out."""
    changed = True
    while changed:
        changed = False
        for path in tree.bases_first():
            bases = [base for base in tree.files[path].bases if base in targets]
            holders: dict[str, list[Path]] = {}
            for base in bases:
                for key in targets[base]:
                    holders.setdefault(key, []).append(base)
            for key, several in holders.items():
                if len(several) < 2:
                    continue
                keeper = min(several, key=lambda one: _rank(tree.files[one].resolved, key))
                for base in several:
                    if base == keeper:
                        continue
                    for one in (base, *tree.all_bases(base)):
                        if targets.get(one, {}).pop(key, None) is not None:
                            changed = True


def _rank(legacy: Mapping[str, Any], key: str) -> int:
    owners = OWNERS.get(key, ())
    return next((rank for rank, owner in enumerate(owners) if owner in legacy), len(owners))


def _write(
    tree: Tree,
    path: Path,
    script: Script | None,
    targets: dict[Path, Config],
    outcome: Outcome,
) -> None:
    file, target = tree.files[path], targets[path]
    outcome.config = plain(target)
    fallen = [base for base in file.bases if base not in targets]
    if fallen:
        names = ', '.join(os.path.relpath(base, path.parent) for base in fallen)
        outcome.settle(flat_text(path, target))
        reason = f'written flat: {names}, which it inherits from, could not be converted in place.'
        outcome.notes.append(Note(INFO, '_base_', reason, str(path)))
        return
    if outcome.is_new:
        outcome.text = file.text
        return
    new_base: Config = {}
    for base in file.bases:
        new_base |= plain(targets[base])
    if not file.is_python:
        outcome.settle(
            rewrite_data(file, target, new_base) if _differs(file, target) else file.text
        )
        return
    if script is None:
        outcome.settle(flat_text(path, target))
        outcome.notes.append(
            Note(INFO, '_base_', 'variables in braces stand where Python cannot be read: written '
                 'flat.', str(path))
        )  # fmt: skip
        return
    outcome.settle(rewrite_python(file, script, target, new_base))


def _differs(file: LegacyFile, target: Config) -> bool:
    return bool(plain(target) != file.resolved)
