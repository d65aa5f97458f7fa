"""Convert config files together, so that they keep inheriting from each other."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine.config.config_dict import as_plain
from mmengine.config.errors import ConfigError
from mmengine.config.python_file import read_source
from mmengine.config.text_style import TextLoader
from mmengine.migrate.config.convert import (
    LEGACY_KEYS,
    OWNERS,
    Converted,
    convert_config,
)
from mmengine.migrate.config.notes import ERROR, INFO, TODO, Note
from mmengine.migrate.config.rewriting import flat_text, rewrite_data, rewrite_python
from mmengine.migrate.config.rules import Rules
from mmengine.migrate.config.schedules import Length
from mmengine.migrate.config.script import Script
from mmengine.migrate.config.sources import (
    SUFFIXES,
    CachingLoader,
    LegacyFile,
    load_file,
    merge_traced,
)
from mmengine.migrate.config.trace import plain

Config = dict[str, Any]

_CONTEXT = (
    'runner', 'total_epochs', 'total_iters', 'evaluation', 'checkpoint_config', 'log_config',
    'optimizer_config',
    'fp16', 'data',
)  # fmt: skip
"""Legacy keys that other keys' conversion looks at: a part of a config takes them from the configs
that use it."""

_LENGTHS = {'runner', 'total_epochs', 'total_iters'}


@dataclass
class Outcome:
    """What became of one file.

    Args:
        source: The legacy file.
        text: Its new text; None when it could not be converted.
        notes: What there is to tell.
        legacy: The resolved legacy config.
        config: The resolved new config.
        length: How long the run is, for a whole config.
        is_part: Whether other files inherit from it.
        changed: Whether the text differs from before.
    """

    source: Path
    text: str | None = None
    notes: list[Note] = field(default_factory=list)
    legacy: Config = field(default_factory=dict)
    config: Config = field(default_factory=dict)
    length: Length | None = None
    is_part: bool = False

    @property
    def has_todo(self) -> bool:
        return any(note.kind == TODO for note in self.notes)

    @property
    def failed(self) -> bool:
        return self.text is None


@dataclass
class Tree:
    """Config files that are converted together.

    Args:
        files: Those that loaded, by path.
        broken: What is wrong with the others.
    """

    files: dict[Path, LegacyFile]
    broken: dict[Path, str]

    def users(self, path: Path) -> list[Path]:
        """The nearest files below ``path`` that tell how long a run is."""
        nearest: list[Path] = []
        for one in self._children.get(path, ()):
            is_whole = _LENGTHS & set(self.files[one].resolved)
            nearest += [one] if is_whole or one not in self._children else self.users(one)
        return nearest

    def is_base(self, path: Path) -> bool:
        return path in self._children

    def all_bases(self, path: Path) -> set[Path]:
        found: set[Path] = set()
        waiting = list(self.files[path].bases)
        while waiting:
            base = waiting.pop()
            if base not in found and base in self.files:
                found.add(base)
                waiting.extend(self.files[base].bases)
        return found

    def __post_init__(self) -> None:
        self._children: dict[Path, list[Path]] = {}
        for path, file in self.files.items():
            for base in file.bases:
                self._children.setdefault(base, []).append(path)

    def bases_first(self) -> list[Path]:
        order: list[Path] = []
        seen: set[Path] = set()

        def visit(path: Path) -> None:
            if path in seen or path not in self.files:
                return
            seen.add(path)
            for base in self.files[path].bases:
                visit(base)
            order.append(path)

        for path in self.files:
            visit(path)
        return order


def load_tree(paths: Iterable[Path]) -> Tree:
    """Load files and all that they inherit from."""
    loader = CachingLoader(lazy_import=False)
    files: dict[Path, LegacyFile] = {}
    broken: dict[Path, str] = {}
    waiting = list(paths)
    while waiting:
        path = waiting.pop(0)
        if path in files or path in broken:
            continue
        try:
            files[path] = load_file(path, loader, os.path.relpath(path))
        except (ConfigError, OSError, RecursionError) as error:
            broken[path] = str(error) or type(error).__name__
            continue
        waiting.extend(base for base in files[path].bases)
    return Tree(files, broken)


def convert_tree(
    tree: Tree,
    *,
    rules: Rules | None = None,
    iters_per_epoch: int | None = None,
    flatten: bool = False,
) -> dict[Path, Outcome]:
    """Convert every file of ``tree``."""
    rules = rules or Rules()
    outcomes = {
        path: Outcome(path, notes=[_broken(path, why)]) for path, why in tree.broken.items()
    }
    scripts = {path: _script(tree.files[path]) for path in tree.files}
    targets: dict[Path, Config] = {}
    for path, file in tree.files.items():
        outcome = outcomes[path] = Outcome(path, legacy=file.resolved, is_part=tree.is_base(path))
        converted = _converted(tree, path, scripts[path], rules, iters_per_epoch)
        outcome.notes, outcome.length = list(converted.notes), converted.length
        if converted.failed:
            continue
        targets[path] = converted.config
    if flatten:
        for path, target in targets.items():
            outcomes[path].config = plain(target)
            outcomes[path].text = flat_text(path, target)
        return outcomes
    _settle_conflicts(tree, targets)
    for path in tree.bases_first():
        if path in targets:
            _write(tree, path, scripts[path], targets, outcomes[path])
    return outcomes


def _broken(path: Path, why: str) -> Note:
    return Note(ERROR, path.name, why, None)


def _script(file: LegacyFile) -> Script | None:
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
    converted = convert_config(
        {**borrowed, **legacy}, rules=rules, iters_per_epoch=iters_per_epoch, locate=file.locate
    )
    if not tree.is_base(path):
        return converted
    return _only_of(converted, file.resolved)


def _borrowed(tree: Tree, path: Path) -> Config:
    """What most configs that use this part of a config say of the keys that it lacks."""
    file = tree.files[path]
    told = set(file.resolved)
    if told & _LENGTHS and 'data' in told and told & {'optimizer', 'optimizers'}:
        return {}
    missing = [key for key in _CONTEXT if key not in file.resolved]
    if _LENGTHS & set(file.resolved):
        missing = [key for key in missing if key not in _LENGTHS]
    users = tree.users(path) if missing else []
    borrowed: Config = {}
    for key in missing:
        values = [tree.files[user].resolved.get(key) for user in users]
        if values:
            text, _ = Counter(repr(value) for value in values).most_common(1)[0]
            value = next(value for value in values if repr(value) == text)
            if value is not None:
                borrowed[key] = value
    return borrowed


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
            and top in ('lr_config', 'momentum_config')
        ):
            # The configs that use this part say how long the run is.
            text = 'the schedule depends on the length of the run, which is told elsewhere.'
            notes.append(Note(INFO, note.key, text, note.place))
            continue
        notes.append(note)
    return Converted(config, notes, converted.length)


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
    missing = [base for base in file.bases if base in tree.files and base not in targets]
    missing += [base for base in file.bases if base in tree.broken]
    outcome.config = plain(target)
    if missing:
        names = ', '.join(os.path.relpath(base, path.parent) for base in missing)
        outcome.notes.append(
            Note(
                ERROR,
                '_base_',
                f'it inherits from {names}, which could not be converted.',
                str(path),
            )
        )
        return
    new_base: Config = {}
    for base in file.bases:
        new_base |= plain(targets[base])
    if not file.is_python:
        outcome.text = rewrite_data(file, target, new_base) if _differs(file, target) else file.text
        return
    if script is None:
        outcome.text = flat_text(path, target)
        outcome.notes.append(
            Note(INFO, '_base_', 'variables in braces stand where Python cannot be read: written '
                 'flat.', str(path))
        )  # fmt: skip
        return
    outcome.text = rewrite_python(file, script, target, new_base)


def _differs(file: LegacyFile, target: Config) -> bool:
    return bool(plain(target) != file.resolved)


def verify(
    tree: Tree, outcomes: dict[Path, Outcome], root: Path, folder: Path | None = None
) -> None:
    """Load every new file, and make sure that it resolves to its flattened conversion.

    A file that does not is written anew: first without taking over expressions, then without bases.

    Args:
        tree: The legacy files.
        outcomes: Their conversions; texts are replaced where needed.
        root: The folder above all of them.
        folder: Where to lay them out; a temporary folder by default.
    """
    with tempfile.TemporaryDirectory(prefix='migrate-') as made:
        stage = folder or Path(made)
        for attempt in range(3):
            for path, outcome in outcomes.items():
                if outcome.text is not None:
                    place = stage / path.relative_to(root)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_text(outcome.text, encoding='utf-8')
            wrong = _wrong(tree, outcomes, root, stage)
            if not wrong:
                return
            for path in wrong:
                _simplify(tree, outcomes, path, attempt)
        for path, why in _wrong(tree, outcomes, root, stage).items():
            outcomes[path].text = None
            outcomes[path].notes.append(Note(ERROR, path.name, f'the converted file {why}', None))


def _wrong(tree: Tree, outcomes: dict[Path, Outcome], root: Path, stage: Path) -> dict[Path, str]:
    loader = CachingLoader(lazy_import=False)
    wrong: dict[Path, str] = {}
    for path in tree.bases_first():
        outcome = outcomes[path]
        if outcome.text is None:
            continue
        place = stage / path.relative_to(root)
        try:
            loaded = as_plain(load_entries(place, loader))
        except (ConfigError, OSError) as error:
            wrong[path] = f'does not load: {error}'
            continue
        got = _comparable(loaded, str(place.parent), str(path.parent))
        if got != _comparable(outcome.config, '', ''):
            different = sorted(
                key
                for key in set(got) | set(outcome.config)
                if got.get(key) != outcome.config.get(key)
            )
            wrong[path] = f'resolves differently in {", ".join(different)}.'
    return wrong


def load_entries(path: Path, loader: TextLoader) -> Any:
    """The resolved entries of a text-style config file."""
    return loader.load(read_source(path)).entries


def _comparable(config: Any, folder: str, instead: str) -> Any:
    """``config`` without top-level Nones, and with names for what cannot be compared."""
    return {
        key: _by_name(value, folder, instead) for key, value in config.items() if value is not None
    }


def _by_name(value: Any, folder: str, instead: str) -> Any:
    if isinstance(value, dict):
        return {key: _by_name(item, folder, instead) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_by_name(item, folder, instead) for item in value)
    if callable(value):
        return getattr(value, '__qualname__', repr(type(value)))
    if isinstance(value, str) and folder and folder in value:
        return value.replace(folder, instead)
    return value


def _simplify(tree: Tree, outcomes: dict[Path, Outcome], path: Path, attempt: int) -> None:
    outcome, file = outcomes[path], tree.files[path]
    script = _script(file)
    if attempt == 0 and script is not None:
        new_base: Config = {}
        for base in file.bases:
            new_base |= outcomes[base].config
        outcome.text = rewrite_python(file, script, outcome.config, new_base, reuse=False)
        return
    outcome.text = flat_text(path, outcome.config)
    outcome.notes.append(
        Note(INFO, '_base_', 'written flat: code in this file kept it from being converted in '
             'place.', str(path))
    )  # fmt: skip


def config_files(folder: Path) -> list[Path]:
    """The config files in a folder and those below it, in order of their names."""
    return sorted(
        path
        for path in folder.rglob('*')
        if path.suffix in SUFFIXES and path.is_file() and not _is_hidden(path.relative_to(folder))
    )


def _is_hidden(path: Path) -> bool:
    return any(part.startswith('.') or part == '__pycache__' for part in path.parts)
