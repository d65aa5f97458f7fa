"""ResumeReport: what differs between a resumed run and its checkpoint, and what is used."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from mmengine._checkpoint.state_dict import WAY_OUT

__all__ = ['NOT_SET', 'WAY_OUT', 'ResumeChange', 'ResumeReport']

_CELL = 48
_COLUMNS = ('key', 'then', 'now', 'used', 'written')


class _NotSet:
    """Stands for a key that a config does not have."""

    def __repr__(self) -> str:
        return 'not set'


NOT_SET: Any = _NotSet()


@dataclass(frozen=True)
class ResumeChange:
    """One difference.

    Attributes:
        key: The key in the config, or the part of the run.
        then: The value when the checkpoint was saved.
        now: The value of this run.
        used: ``'config'`` or ``'checkpoint'``, with a note if that is not the whole answer.
        written: Where the present value was written.
    """

    key: str
    then: Any
    now: Any
    used: str
    written: str = ''


class ResumeReport:
    """Collects the differences while a checkpoint is being loaded.

    Attributes:
        changes: The differences so far.
        config_keys: Keys that differ between the two configs; None if the configs were not
            compared.
        why_not_compared: The reason, if the configs were not compared.
        source: The checkpoint.
    """

    def __init__(self) -> None:
        self.changes: list[ResumeChange] = []
        self.config_keys: frozenset[str] | None = None
        self.why_not_compared = ''
        self.source = ''

    def add(self, key: str, then: Any, now: Any, used: str, written: str = '') -> None:
        """Add a difference."""
        self.changes.append(ResumeChange(key, then, now, used, written))

    def add_config(self, changes: Sequence[ResumeChange]) -> None:
        """Add the differences of the two configs."""
        self.changes.extend(changes)
        self.config_keys = frozenset(change.key for change in changes)

    def has_config_key(self, first: str, last: Iterable[str]) -> bool:
        """Whether the configs differ in a key from ``first`` to one of ``last``."""
        ends = set(last)
        return any(
            key == first or (key.startswith(f'{first}.') and key.rpartition('.')[2] in ends)
            for key in self.config_keys or ()
        )

    def table(self) -> str:
        """The differences as a table with one line each."""
        rows = [
            [change.key, _cell(change.then), _cell(change.now), change.used, change.written]
            for change in self.changes
        ]
        widths = [
            max(len(row[column]) for row in [_COLUMNS, *rows]) for column in range(len(_COLUMNS))
        ]
        lines = [
            '  '.join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in [_COLUMNS, *rows]
        ]
        return '\n'.join(f'  {line}' for line in lines)

    def as_json(self) -> str:
        """The source and the differences as JSON."""
        changes = [{name: getattr(change, name) for name in _COLUMNS} for change in self.changes]
        return json.dumps(
            {'checkpoint': self.source, 'changes': changes}, indent=2, default=_for_json
        )


def _cell(value: Any) -> str:
    text = ' '.join((value if isinstance(value, str) else repr(value)).split())
    return text if len(text) <= _CELL else f'{text[: _CELL - 4]} ...'


def _for_json(value: Any) -> Any:
    if value is NOT_SET:
        return None
    return sorted(map(repr, value)) if isinstance(value, (set, frozenset)) else repr(value)
