"""Mistakes of a config, and the error that has all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine.config import source_location
from mmengine.config.errors import ConfigError

OF_OPTIONS = '--cfg-options'
REGISTERED_BY_IMPORT = (
    'A custom class is registered when its module is imported: write its import path as type, '
    "'package.module.Class', or custom_imports=dict(imports=['package.module']) in the config."
)


@dataclass(frozen=True)
class ConfigMistake:
    """A mistake of a config.

    Attributes:
        path: Dotted path of the entry; empty for the whole config.
        message: What is wrong, and what is right.
        place: File and line, or ``--cfg-options``; None if unknown.
        advice: A sentence that is printed once for all mistakes of a kind.
        is_certain: Whether the run cannot do without a change. Otherwise the code of a
            project may read the entry in its own way.
    """

    path: str
    message: str
    place: str | None = None
    advice: str = ''
    is_certain: bool = True

    def __str__(self) -> str:
        place = f'{self.place}: ' if self.place else ''
        is_named = not self.path or self.message.startswith(self.path)
        path = '' if is_named else f'{self.path}: '
        return f'{place}{path}{self.message}'


class ConfigMistakesError(ConfigError):
    """A config has mistakes; all of them are in ``mistakes`` and in the message."""

    def __init__(self, mistakes: Sequence[ConfigMistake]) -> None:
        self.mistakes = list(mistakes)
        super().__init__(mistakes_text(mistakes))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.mistakes,)


def refuse_certain(mistakes: Sequence[ConfigMistake]) -> None:
    """Raise an error that has all certain ones of ``mistakes``.

    Raises:
        ConfigMistakesError: If there are any.
    """
    certain = [mistake for mistake in mistakes if mistake.is_certain]
    if certain:
        raise ConfigMistakesError(certain)


def mistakes_text(mistakes: Sequence[ConfigMistake]) -> str:
    """One mistake in a line, several as a list."""
    sentences = list(dict.fromkeys(mistake.advice for mistake in mistakes if mistake.advice))
    if len(mistakes) == 1:
        return '\n  '.join([str(mistakes[0]), *sentences])
    lines = [f'the config has {len(mistakes)} mistakes:']
    lines += [f'  {mistake}'.replace('\n', '\n    ') for mistake in mistakes]
    return '\n'.join([*lines, *sentences])


class Findings:
    """Collects mistakes, each with the place of its entry.

    Args:
        cfg: The config.
        options: Values of the command line that are merged into ``cfg``, by dotted path.
    """

    def __init__(self, cfg: Any, options: Mapping[str, Any]) -> None:
        self.cfg = cfg
        self.mistakes: list[ConfigMistake] = []
        self._options = list(options)
        self._told: set[str] = set()

    def add(
        self, path: str, message: str, *, advice: str = '', is_certain: bool = True, key: str = ''
    ) -> None:
        """Add a mistake of the entry at ``path``, or of ``key`` in it."""
        entry = _joined(path, key)
        mistake = ConfigMistake(path, message, self._place(entry), advice, is_certain)
        if entry not in self._told and not any(_are_one(mistake, each) for each in self.mistakes):
            self.mistakes.append(mistake)

    def add_once(self, path: str, message: str, *, key: str = '') -> None:
        """Add a mistake of an entry that other mistakes would only repeat."""
        self.add(path, message, key=key)
        self._told.add(_joined(path, key))

    def _place(self, path: str) -> str | None:
        if any(f'{path}.'.startswith(f'{option}.') for option in self._options):
            return OF_OPTIONS
        made = any(option.startswith(f'{path}.') for option in self._options)
        if made and ':' not in (source_location(self.cfg, path) or ''):
            return OF_OPTIONS  # the dict was created for an option within it
        while path:
            found = source_location(self.cfg, path)
            if found is not None:
                return found
            path = path.rpartition('.')[0]
        return None


def _are_one(mistake: ConfigMistake, other: ConfigMistake) -> bool:
    """Whether two mistakes are the same: two keys may have one dict, such as ``test = val``."""
    rests = {each.path.partition('.')[2] for each in (mistake, other)}
    return (
        (mistake.message, mistake.place) == (other.message, other.place)
        and len(rests) == 1
        and (mistake.path == other.path or mistake.place is not None)
    )


def _joined(path: str, key: str) -> str:
    return f'{path}.{key}' if key and path else key or path
