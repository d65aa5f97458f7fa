"""Keys of a config that look like misspelt arguments of a run, or that belong in one of them.

A config file also holds variables of its author (``data_root``, ``num_classes``), so an unknown key
is not wrong. It is reported only if it is one typing error away from a key that a run reads, or if
a run reads it in another place.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config._origin.places import source_location
from mmengine.config.config_dict import raw_items
from mmengine.config.errors import ConfigKeyError
from mmengine.utils.errors import did_you_mean

# Keys that are read from the config itself, not passed to the constructor of the runner.
READ_FROM_CONFIG = frozenset(
    {
        'activation_checkpointing', 'compile', 'custom_imports', 'find_unused_parameters',
        'inferencer', 'model_wrapper_cfg', 'runner_type', 'split_data', 'strategy', 'strict_config',
        'sync_bn', 'tta_model', 'tta_pipeline',
    }
)  # fmt: skip
# Dicts without a type whose keys are all known.
CLOSED: dict[str, tuple[str, ...]] = {
    'auto_scale_lr': ('base_batch_size', 'enable'),
    'env_cfg': ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit', 'lock'),
    'checkpoint': ('format', 'async_save'),
    'randomness': (
        'seed', 'diff_rank_seed', 'deterministic', 'per_sample', 'restore_after_val',
    ),
}  # fmt: skip
# Words of such dicts that mean nothing at the top level, where they are names of variables.
_COMMON_WORDS = ('enable', 'format', 'lock')
# The dict, or the dict in a dict, in which a run reads a key.
PLACES: dict[str, str] = {
    **{key: parent for parent, keys in CLOSED.items() for key in keys if key not in _COMMON_WORDS},
    'backend': 'env_cfg.dist_cfg',
    'mp_start_method': 'env_cfg.mp_cfg',
    'opencv_num_threads': 'env_cfg.mp_cfg',
    'exit_code': 'preempt',
    'save_within_s': 'preempt',
    'timeout_s': 'watchdog',
}
# At the top level, the code of a project may read them.
_ALSO_VARIABLES = frozenset({'backend', 'deterministic', 'exit_code', 'seed', 'timeout_s'})
# Entries whose names are common for variables, too: one that nothing reads, and that differs from
# the entry, was probably meant as the entry.
ELSEWHERE = {
    **dict.fromkeys(('max_epochs', 'max_iters', 'val_interval'), 'train_cfg'),
    **dict.fromkeys(('batch_size', 'num_workers'), 'train_dataloader'),
    **dict.fromkeys(('lr', 'weight_decay'), 'optim_wrapper.optimizer'),
    **{key: PLACES[key] for key in ('seed', 'deterministic')},
}
_SAME_WORDS = {'config': 'cfg', 'configs': 'cfgs', 'optimizer': 'optim', 'optimiser': 'optim'}
# In shorter words another letter usually makes another word: test, text.
_MIN_LETTERS_TO_REPLACE = 5


def misspelt_keys(cfg: Any, arguments: Collection[str]) -> dict[str, str]:
    """Top-level keys that are probably misspelt, and the keys that were meant.

    Args:
        cfg: The config of a run.
        arguments: Names of the arguments of the runner.
    """
    # 'inference' is another name, not a misspelling.
    known = {*arguments, *READ_FROM_CONFIG} - {'cfg', 'model', 'inferencer'}
    return {
        key: meant
        for key in cfg
        if isinstance(key, str)
        and key not in known
        and (meant := _meant_by(key, known)) is not None
        and not _is_used(cfg, key)
    }


def without_effect(cfg: Any) -> dict[str, str]:
    """Top-level keys that the file does not read, and that differ from the entry they may mean.

    Returns:
        Messages by key.
    """
    found = {}
    for key, place in ELSEWHERE.items():
        if key not in cfg or _is_used(cfg, key):
            continue
        path = f'{place}.{key}'
        entry = _entry(cfg, path)
        is_misplaced = key in PLACES and entry is None  # which wrong_keys tells
        if isinstance(cfg[key], (bool, int, float)) and entry != cfg[key] and not is_misplaced:
            found[key] = f'nothing reads {key!r} here: a run reads {path}, which is {entry!r}.'
    return found


def misspellings(name: str, known: Collection[str]) -> list[str]:
    """Words that :func:`misspelt_keys` takes for ``name``: a letter is missing, there twice, or
    exchanged with the next one.

    Args:
        name: A key of ``known``.
        known: All keys that a run reads.
    """
    found = set()
    for at in range(len(name)):
        before, letter, after = name[:at], name[at], name[at + 1 :]
        found |= {before + after, before + 2 * letter + after}
        if after:
            found.add(before + after[0] + letter + after[1:])
    return sorted(word for word in found - {*known} if _meant_by(word, known) == name)


class WrongKey(NamedTuple):
    """A top-level key that a run does not read there.

    Attributes:
        key: The key.
        message: What is wrong with it.
        is_certain: Whether the code of a project does not read it either.
    """

    key: str
    message: str
    is_certain: bool


def wrong_keys(cfg: Any, arguments: Collection[str]) -> list[WrongKey]:
    """Top-level keys that are probably misspelt, or belong in a dict of the config.

    Args:
        cfg: The config of a run.
        arguments: Names of the arguments of the runner.
    """
    text = '{!r} is not a key that a run reads.{}'
    found = [
        WrongKey(key, text.format(key, f' Did you mean {meant!r}?'), True)
        for key, meant in misspelt_keys(cfg, arguments).items()
    ]
    for key, place in PLACES.items():
        is_given = key in cfg and key not in arguments
        if is_given and not _has(cfg, place, key) and not _is_used(cfg, key):
            message = text.format(key, f' It belongs in {place}: {written(place, key)}.')
            found.append(WrongKey(key, message, key not in _ALSO_VARIABLES))
    return found


def unknown_entries(name: str, given: Mapping[str, Any]) -> dict[str, str]:
    """Messages about the keys of a dict of a config that mean nothing there.

    Args:
        name: Key of the dict, one of ``CLOSED``.
        given: The dict.
    """
    return {
        str(key): f'{name} has {key!r}, which has no meaning.{_hint(str(key), name)}'
        for key in given
        if key not in CLOSED[name]
    }


def _hint(key: str, parent: str) -> str:
    place = PLACES.get(key, parent)
    if place != parent:
        return f' It belongs in {place}: {written(place, key)}.'
    return did_you_mean(key, CLOSED[parent], limit=1)


def written(place: str, key: str) -> str:
    """How a config gives ``key`` in the dict ``place``: ``env_cfg=dict(dist_cfg=...)``."""
    text = f'{key}=...'
    for name in reversed(place.split('.')):
        text = f'{name}=dict({text})'
    return text


def _has(cfg: Any, place: str, key: str) -> bool:
    """Whether the dict ``place`` of the config has ``key``."""
    node = _entry(cfg, place)
    return isinstance(node, Mapping) and key in node


def _entry(cfg: Any, path: str) -> Any:
    """The entry at a dotted path; None if there is none."""
    for name in path.split('.'):
        cfg = cfg.get(name) if isinstance(cfg, Mapping) else None
    return cfg


def misspelt_key_messages(cfg: Any, arguments: Collection[str]) -> list[str]:
    """Messages about :func:`wrong_keys`.

    Raises:
        ConfigKeyError: If there are any, and ``strict_config`` of the config is set.
    """
    found = [f'{_place(cfg, key)}{message}' for key, message, _ in wrong_keys(cfg, arguments)]
    check_strict(cfg, found)
    return found


def check_given(cfg: Any, *names: str) -> None:
    """Check that the config has all keys that a run needs.

    Raises:
        KeyError: If one is missing or None; names a similar key.
    """
    for name in names:
        if cfg.get(name) is None:
            raise KeyError(
                f'The config has no {name}, which a run cannot do without.'
                f'{did_you_mean(name, cfg, limit=1)}'
            )


def check_strict(cfg: Any, messages: list[str]) -> None:
    """Raise an error with the messages if ``strict_config`` is set in the config.

    Raises:
        ConfigKeyError: If there is a message and ``strict_config`` is true.
    """
    if messages and cfg.get('strict_config', False):
        raise ConfigKeyError(' '.join(messages) + ' strict_config=True makes this an error.')


def new_keys_of_options(
    cfg: Any, options: Mapping[str, Any], arguments: Collection[str]
) -> list[str]:
    """Messages about ``options`` that create a key which nothing reads, as far as is known.

    Args:
        cfg: The config before the options are merged.
        options: Values by dotted keys, as on a command line.
        arguments: Names of the arguments of the runner.
    """
    known = {*arguments, *READ_FROM_CONFIG} - {'cfg'}
    messages = []
    for option in options:
        parent, key, node = _first_new_key(cfg, str(option))
        if key is None or key in ('_delete_', 'type'):
            continue
        siblings = [str(name) for name in node]
        if not parent:
            is_unknown, candidates = key not in known, [*known, *siblings]
        elif parent in CLOSED:
            is_unknown, candidates = key not in CLOSED[parent], list(CLOSED[parent])
        else:
            near = _meant_by(key, siblings)
            is_unknown, candidates = near is not None, [near or '']
        if is_unknown:
            where = f'in {parent!r}' if parent else 'at the top level'
            hint = did_you_mean(key, candidates, limit=1)
            if not parent and key in PLACES:
                hint = f' Did you mean {f"{PLACES[key]}.{key}"!r}?'
            messages.append(
                f'The option {option!r} creates the new key {key!r} {where} of the config.{hint}'
            )
    return messages


def _first_new_key(cfg: Any, option: str) -> tuple[str, str | None, Mapping[str, Any]]:
    """The dict in which ``option`` creates a key: its dotted path, that key, and the dict.

    The key is None if the option changes an existing value, or leads into a list.
    """
    node: Any = cfg
    path: list[str] = []
    for key in option.split('.'):
        if not isinstance(node, Mapping):
            return '.'.join(path), None, {}
        if key not in node:
            return '.'.join(path), key, node
        node = node[key]
        path.append(key)
    return '.'.join(path), None, {}


def _meant_by(key: str, known: Iterable[str]) -> str | None:
    """The known key of which ``key`` is a misspelling; None if it is probably another name."""
    if key.startswith('_') or len(key) < 4:
        return None
    return next((name for name in sorted(known) if _is_misspelt(key.lower(), name)), None)


def _is_misspelt(key: str, name: str) -> bool:
    return _are_near(key.split('_'), name.split('_')) or _are_near(_words(key), _words(name))


def _are_near(words: list[str], meant: list[str]) -> bool:
    if [word.rstrip('s') for word in words] == [word.rstrip('s') for word in meant]:
        return True
    if ''.join(words) == ''.join(meant):
        return True
    if len(words) != len(meant):
        word, name = ''.join(words), ''.join(meant)
        return len(word) >= 8 and _is_one_edit_away(word, name)
    differing = [pair for pair in zip(words, meant, strict=True) if pair[0] != pair[1]]
    if sum(map(len, meant)) < 8 and len(meant) > 1:
        # In short names only exchanged and doubled letters are certain: enc_cfg is not env_cfg.
        return len(differing) == 1 and set(differing[0][0]) == set(differing[0][1])
    return len(differing) <= 2 and all(_is_one_edit_away(*pair) for pair in differing)


def _words(key: str) -> list[str]:
    return [_SAME_WORDS.get(word, word) for word in key.split('_')]


def _is_one_edit_away(word: str, meant: str) -> bool:
    """Whether one letter is missing, added or replaced, or two neighbours are exchanged.

    Numbered names (``model2``) and words with another first letter are other names.
    """
    if re.search(r'\d', word) or not word or not meant or word[0] != meant[0]:
        return False
    if min(len(word), len(meant)) < 3:
        return False
    if word.startswith(meant) and word[-1] != meant[-1]:
        return False  # another form of the word: compiler, resumed
    if abs(len(word) - len(meant)) == 1:
        longer, shorter = (word, meant) if len(word) > len(meant) else (meant, word)
        return any(longer[:at] + longer[at + 1 :] == shorter for at in range(len(longer)))
    if len(word) != len(meant):
        return False
    differing = [at for at in range(len(word)) if word[at] != meant[at]]
    if len(differing) == 1:
        return len(word) >= _MIN_LETTERS_TO_REPLACE
    return (
        len(differing) == 2
        and differing[1] == differing[0] + 1
        and sorted(word[at] for at in differing) == sorted(meant[at] for at in differing)
    )


def _is_used(cfg: Any, key: str) -> bool:
    """Whether the author uses ``key`` as a variable.

    Other entries contain its value, or the file in which it is written reads the name.
    """
    value = cfg[key]
    if isinstance(value, (dict, list, tuple)) and value:
        found = any(
            part == value for name, entry in raw_items(cfg) if name != key for part in _parts(entry)
        )
        if found:
            return True
    place = source_location(cfg, key) or ''
    return key in _names_read(place.rpartition(':')[0])


def _names_read(file: str) -> set[str]:
    """The names that a Python config reads; empty for other files."""
    if not file.endswith('.py'):
        return set()
    try:
        tree = ast.parse(Path(file).read_text(encoding='utf-8'))
    except (OSError, SyntaxError, ValueError):
        return set()  # changed since it was read
    return {
        node.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)
    }


def _parts(entry: Any) -> Iterator[Any]:
    if isinstance(entry, (dict, list, tuple)):
        yield entry
        for item in entry.values() if isinstance(entry, dict) else entry:
            yield from _parts(item)


def _place(cfg: Any, key: str) -> str:
    place = source_location(cfg, key)
    return f'{place}: ' if place else ''
