"""Progress bars drawn by rich. This module imports rich, so it is imported only when needed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.text import Text


class ProgressDisplay:
    """Named bars, with a line of values below them.

    Only :meth:`refresh` draws: there is no extra thread that competes with the training.

    Args:
        console: Console to draw on; None means standard output.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console or Console()
        self._bars = Progress(
            TextColumn('{task.description}'),
            BarColumn(),
            MofNCompleteColumn(),
            console=self._console,
            auto_refresh=False,
        )
        self._tasks: dict[str, TaskID] = {}
        self._live: Live | None = None

    @property
    def is_possible(self) -> bool:
        """Whether the console can redraw lines."""
        return self._console.is_terminal and not self._console.is_dumb_terminal

    def open(self) -> None:
        """Start drawing. Lines that are printed from now on appear above the display."""
        self._live = Live(
            Group(self._bars),
            console=self._console,
            auto_refresh=False,
            redirect_stdout=True,
            redirect_stderr=True,
        )
        self._live.start()

    def close(self) -> None:
        """Stop drawing, keep the last state, and restore the cursor and standard output."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def start(self, name: str, title: str, total: int | None) -> None:
        """Add an empty bar called ``name``; it replaces a bar of the same name."""
        self.stop(name)
        self._tasks[name] = self._bars.add_task(title, total=total)

    def advance(self, name: str, done: int) -> None:
        """Fill a bar up to ``done``, if the bar exists."""
        if name in self._tasks:
            self._bars.update(self._tasks[name], completed=done)

    def stop(self, name: str) -> None:
        """Remove a bar, if it exists."""
        if name in self._tasks:
            self._bars.remove_task(self._tasks.pop(name))

    def refresh(self, figures: Mapping[str, Any]) -> None:
        """Draw the bars and the values in ``figures``."""
        if self._live is None:
            return
        line = Text('  ').join(
            Text.assemble((f'{name} ', 'dim'), str(value)) for name, value in figures.items()
        )
        self._live.update(Group(self._bars, line), refresh=True)
