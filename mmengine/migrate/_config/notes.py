"""What a conversion has to tell: what it changed in meaning, and what is left to do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

INFO, TODO, ERROR = 'info', 'todo', 'error'


@dataclass(frozen=True)
class Note:
    """One sentence about one key of one config.

    Args:
        kind: 'info' for a change of meaning, 'todo' for what is left to a person, 'error' for what
            stops the conversion.
        key: Dotted key of the legacy config.
        text: The sentence.
        place: 'file:line' where the key was written, when known.
    """

    kind: str
    key: str
    text: str
    place: str | None = None

    def __str__(self) -> str:
        where = f'{self.place}: ' if self.place else ''
        return f'{where}{self.key}: {self.text}'


@dataclass
class Notes:
    """Collects notes, each with the place of its key.

    Args:
        locate: Gives the place of a dotted key.
    """

    locate: Callable[[str], str | None] = lambda key: None
    items: list[Note] = field(default_factory=list)

    def info(self, key: str, text: str) -> None:
        self._add(INFO, key, text)

    def todo(self, key: str, text: str) -> None:
        self._add(TODO, key, text)

    def error(self, key: str, text: str) -> None:
        self._add(ERROR, key, text)

    def has_error(self, key: str) -> bool:
        """Whether ``key``, or something inside it, is known to be wrong."""
        return any(
            note.kind == ERROR and (note.key == key or note.key.startswith(f'{key}.'))
            for note in self.items
        )

    def tells(self, key: str) -> bool:
        """Whether there is a note for ``key``, or for something inside it."""
        return any(note.key == key or note.key.startswith(f'{key}.') for note in self.items)

    def _add(self, kind: str, key: str, text: str) -> None:
        note = Note(kind, key, text, self.locate(key))
        if note not in self.items:
            self.items.append(note)
