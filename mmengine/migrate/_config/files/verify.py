"""Load every converted file, and make sure that it says what it should."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from mmengine.config._reading.source import read_source
from mmengine.config._reading.text_style import TextLoader
from mmengine.config.config_dict import as_plain
from mmengine.config.errors import ConfigError
from mmengine.migrate._config.files.rewriting import flat_text, rewrite_python
from mmengine.migrate._config.files.sources import CachingLoader
from mmengine.migrate._config.files.tree import Config, Outcome, Tree
from mmengine.migrate._config.files.tree_conversion import script_of
from mmengine.migrate._config.notes import ERROR, INFO, Note


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
        attempts = dict.fromkeys(outcomes, 0)
        while True:
            for path, outcome in outcomes.items():
                if outcome.text is not None:
                    place = stage / path.relative_to(root)
                    place.parent.mkdir(parents=True, exist_ok=True)
                    place.write_text(outcome.text, encoding='utf-8')
            wrong = _wrong(tree, outcomes, root, stage)
            if not wrong:
                break
            # A file on top of a wrong one may be right.
            for path in [one for one in wrong if not tree.all_bases(one) & set(wrong)]:
                if attempts[path] < 2:
                    _simplify(tree, outcomes, path, attempts[path])
                    attempts[path] += 1
                else:
                    outcomes[path].text = None
                    note = Note(ERROR, path.name, f'the converted file {wrong[path]}', None)
                    outcomes[path].notes.append(note)
    for path in tree.files:
        if not tree.is_base(path):
            _account_for(outcomes[path], tree.files[path].resolved)


def _account_for(outcome: Outcome, source: Config) -> None:
    """Refuse a conversion that lost an entry of its source without a word.

    This function has its own list of MMCV's keys, so that a mistake in the converter's tables
    does not hide a loss.
    """
    if outcome.text is None:
        return
    told = {note.key.partition('.')[0] for note in outcome.notes}
    lost = [
        key
        for key, value in source.items()
        if value is not None and key not in told and not _is_there(key, value, outcome.config)
    ]
    if lost:
        outcome.text = None
        why = f'the conversion would lose {", ".join(lost)}.'
        outcome.notes.append(Note(ERROR, lost[0], why, str(outcome.source)))


_WORDS_OF_MMCV = frozenset((
    'runner', 'total_epochs', 'total_iters', 'workflow', 'checkpoint_config', 'log_config',
    'optimizer', 'optimizers', 'optimizer_config', 'fp16', 'lr_config', 'momentum_config', 'data',
    'evaluation', 'dist_params', 'cudnn_benchmark', 'mp_start_method', 'opencv_num_threads',
    'find_unused_parameters', 'resume_from', 'auto_resume', 'seed', 'deterministic', 'diff_seed',
    'gpus', 'gpu_ids',
))  # fmt: skip
_CHANGED_IN_PLACE = ('model', 'custom_hooks', 'load_from', 'default_scope')


def _is_there(key: str, value: Any, config: Config) -> bool:
    """Whether an entry of the source is an entry of the new config, or a word of MMCV."""
    if key in _WORDS_OF_MMCV:
        return True
    if key in _CHANGED_IN_PLACE or 'pipeline' in key:
        return key in config
    if key in ('train_cfg', 'test_cfg'):
        if not value:
            return True
        model = config.get('model')
        is_moved = isinstance(model, dict) and _same(model.get(key), value)
        return is_moved or _same(config.get(key), value)
    return key in config and _same(config[key], value)


def _same(one: Any, other: Any) -> bool:
    return bool(_by_name(one, '', '') == _by_name(other, '', ''))


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
    if isinstance(value, float) and value != value:
        return 'not a number'  # which is not even equal to itself
    if callable(value):
        return getattr(value, '__qualname__', repr(type(value)))
    if isinstance(value, str) and folder and folder in value:
        return value.replace(folder, instead)
    return value


def _simplify(tree: Tree, outcomes: dict[Path, Outcome], path: Path, attempt: int) -> None:
    outcome, file = outcomes[path], tree.files[path]
    script = script_of(file)
    if attempt == 0 and script is not None:
        new_base: Config = {}
        for base in file.bases:
            new_base |= outcomes[base].config
        outcome.settle(rewrite_python(file, script, outcome.config, new_base, reuse=False))
        return
    outcome.settle(flat_text(path, outcome.config))
    outcome.notes.append(
        Note(INFO, '_base_', 'written flat: code in this file kept it from being converted in '
             'place.', str(path))
    )  # fmt: skip
