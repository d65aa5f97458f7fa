"""Rows of a title and a text, as commands print them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

_TITLE_WIDTH = 16


def rows_text(rows: Iterable[tuple[str, Any]]) -> str:
    """A line for each title and its text; the texts begin in one column."""
    return '\n'.join(f'{title:<{_TITLE_WIDTH}} {text}' for title, text in rows)
