"""Answers a shell that asks how the words after ``mmengine`` may go on.

The script of ``mmengine completion`` calls the command with the line in the environment. Nothing of
this is imported otherwise.
"""

from __future__ import annotations

import argparse
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

_CONFIGS = ('py', 'json', 'yaml', 'yml')
_CHECKPOINTS = ('pth', 'pt', 'ckpt', 'bin', 'safetensors', 'json')
# The endings of files by the names under which commands keep their arguments.
_FILES = {
    **dict.fromkeys(('config', 'old', 'new'), _CONFIGS),
    **dict.fromkeys(('checkpoint', 'checkpoints', 'resume'), _CHECKPOINTS),
}
_FOLDERS = ('work_dir', 'work_dirs')
_MAX_BASES, _MAX_KEYS = 20, 2000


def complete(build_parser: Callable[[Sequence[str]], argparse.ArgumentParser]) -> None:
    """Write the words with which the line may go on, and end the process.

    Args:
        build_parser: Makes the parser of some commands.
    """
    import argcomplete
    from argcomplete.completers import DirectoriesCompleter, FilesCompleter

    line = os.environ['COMP_LINE'].encode()[: int(os.environ['COMP_POINT'])].decode()
    words = [word for word in line.split()[1:] if not word.startswith('-')]
    parser = build_parser(words[:1])
    action: Any  # argcomplete looks for an attribute `completer`
    for action in _actions(parser):
        if action.dest == 'cfg_options':
            action.completer = _keys
        elif action.dest in _FOLDERS:
            action.completer = DirectoriesCompleter()
        elif action.dest in _FILES and action.choices is None:
            action.completer = FilesCompleter(_FILES[action.dest])
    argcomplete.autocomplete(parser)


def _actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for inner in dict.fromkeys(action.choices.values()):
                yield from _actions(inner)


def _keys(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """The keys of the config on the line."""
    config = getattr(parsed_args, 'config', None)
    if not isinstance(config, str) or '=' in prefix:
        return []
    return [f'{key}=' for key in itertools.islice(leaves(keys_of(config)), _MAX_KEYS)]


def leaves(node: Any) -> Iterator[str]:
    """The dotted keys of all values except dicts and lists; digits are indices of lists.

    Whole keys, because a shell puts a space behind the only word that fits.
    """
    children: Iterable[tuple[Any, Any]] = ()
    if isinstance(node, Mapping):
        children = node.items()
    elif isinstance(node, (list, tuple)):
        children = enumerate(node)
    for key, value in children:
        if str(key).startswith('_'):
            continue
        below = [f'{key}.{rest}' for rest in leaves(value)]
        yield from below or [str(key)]


def keys_of(config: str) -> dict[str, Any]:
    """The entries of a config and of the files that it inherits; nothing is executed."""
    pending, merged, number = [Path(config)], [], 0
    while pending and number < _MAX_BASES:
        number += 1
        file = pending.pop(0)
        try:
            entries = _read(file)
        except (OSError, ValueError):
            continue  # a line that is not finished, or a file that is not a config
        bases = entries.pop('_base_', [])
        named = bases if isinstance(bases, (list, tuple)) else [bases]
        pending += [file.parent / base for base in named if isinstance(base, str)]
        merged.append(entries)
    found: dict[str, Any] = {}
    for entries in reversed(merged):
        _merge(found, entries)
    return found


def _read(file: Path) -> dict[str, Any]:
    text = file.read_text(encoding='utf-8')
    if file.suffix == '.py':
        from mmengine.config._static import read_static

        return read_static(text)
    if file.suffix == '.json':
        import json

        read = json.loads(text)
    else:
        from mmengine.utils._plain_yaml import read_yaml

        read = read_yaml(text)
    return read if isinstance(read, dict) else {}


def _merge(target: dict[str, Any], entries: Mapping[str, Any]) -> None:
    for key, value in entries.items():
        if isinstance(value, Mapping) and isinstance(target.get(key), dict):
            _merge(target[key], value)
        else:
            target[key] = dict(value) if isinstance(value, Mapping) else value
