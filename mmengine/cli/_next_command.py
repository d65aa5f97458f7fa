"""Commands to type next, which have what the user has typed for the present one."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

_MANY = {'?': 1, '*': None, '+': None, None: 1}


@dataclass
class _Part:
    """An option with its values, or another word.

    Attributes:
        dest: The name under which argparse keeps the option; None for another word.
        room: How many more words it takes; None: any number.
        words: As they were typed.
    """

    dest: str | None
    room: int | None
    words: list[str] = field(default_factory=list)


class TypedCommand:
    """The command line of a user, in parts that can be left out.

    Args:
        parser: The parser of the command.
        words: The words after ``mmengine``.
    """

    def __init__(self, parser: argparse.ArgumentParser, words: Sequence[str]) -> None:
        self._options = parser._option_string_actions
        self._parts: list[_Part] = []
        for word in words:
            action = self._action_of(word)
            if action is not None:
                nargs = action.nargs
                room = nargs if isinstance(nargs, int) else _MANY[nargs]  # type: ignore[index]  # the other kinds are of positional words
                self._parts.append(_Part(action.dest, 0 if '=' in word else room))
            elif not self._parts or self._parts[-1].room == 0:
                self._parts.append(_Part(None, 0))
            elif self._parts[-1].room is not None:
                self._parts[-1].room -= 1
            self._parts[-1].words.append(word)

    def without(self, dests: Collection[str], more: Iterable[str] = ()) -> str:
        """The command without some options, and with ``more`` words."""
        return _joined([part for part in self._parts if part.dest not in dests], more)

    def with_settings(self, settings: Sequence[str], without: Collection[str]) -> str:
        """The command without some options, and with more ``--cfg-options``."""
        keys = tuple(f'{setting.partition("=")[0]}=' for setting in settings)
        parts = [part for part in self._parts if part.dest not in without]
        given = [part for part in parts if part.dest == 'cfg_options' and part.room is None]
        kept = [
            word for part in given for word in part.words[1:] if not word.startswith(keys)
        ]  # later ones win
        others = [part for part in parts if part not in given]
        return _joined(others, ['--cfg-options', *kept, *settings])

    def only(self, dests: Collection[str], begin: Sequence[str]) -> str:
        """Another command with some of the options."""
        parts = [part for part in self._parts if part.dest in dests]
        return _joined([_Part(None, 0, list(begin)), *parts])

    def _action_of(self, word: str) -> argparse.Action | None:
        name = word.partition('=')[0]
        if name in self._options or not name.startswith('--'):
            return self._options.get(name)
        found = {action for option, action in self._options.items() if option.startswith(name)}
        return found.pop() if len(found) == 1 else None


def _joined(parts: Iterable[_Part], more: Iterable[str] = ()) -> str:
    words = [word for part in parts for word in part.words]
    return shlex.join(['mmengine', *words, *more])
