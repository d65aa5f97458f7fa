"""A config file that was read, before anything in it runs."""

from __future__ import annotations

import ast
import os
from dataclasses import dataclass, field
from pathlib import Path

from mmengine.config.errors import ConfigParsingError, ConfigSyntaxError


@dataclass
class Source:
    """A config file that was read, before anything in it runs."""

    path: Path
    text: str
    chain: tuple[Path, ...] = ()
    """The files that inherit from this one; the first is the one that was loaded."""
    label: str = field(default='')
    """Name of the file in errors and source locations."""
    parsed: ast.Module | None = None
    """The unchanged syntax tree of ``text``, if it was parsed before."""

    def __post_init__(self) -> None:
        self.label = self.label or str(self.path)

    def refuse_circle(self) -> None:
        """Raise if the file inherits from itself. The message shows the whole circle."""
        if self.path in self.chain:
            circle = (*self.chain[self.chain.index(self.path) :], self.path)
            raise ConfigParsingError(f'circular _base_: {" -> ".join(map(str, circle))}')

    def parse(self, text: str | None = None) -> ast.Module:
        """The syntax tree.

        Raises:
            ConfigSyntaxError: With file, line and the line's text.
        """
        code = self.text if text is None else text
        if self.parsed is not None and code == self.text:
            # Used once, because the caller rewrites it.
            tree, self.parsed = self.parsed, None
            return tree
        try:
            return ast.parse(code, self.label)
        except SyntaxError as error:
            raise self.syntax_error(error, code) from None

    def syntax_error(self, error: SyntaxError, text: str | None = None) -> ConfigSyntaxError:
        """``error`` of this file, or of its changed ``text``, with file, line and the line's
        text."""
        lines = (self.text if text is None else text).splitlines()
        number = error.lineno or 0
        shown = lines[number - 1] if 0 < number <= len(lines) else error.text
        return ConfigSyntaxError(f'syntax error, {error.msg}', self.label, number, shown)


def read_source(path: Path, label: str = '', child: Source | None = None) -> Source:
    """Read a config file.

    Args:
        label: Its name in errors.
        child: The file that inherits from it, beside whose label its own is put.

    Raises:
        ConfigParsingError: If the file inherits from itself, or is not text.
    """
    if child is None:
        source = Source(path, '', label=label)
    else:
        source = Source(path, '', (*child.chain, child.path), _label_beside(child, path))
    source.refuse_circle()
    try:
        source.text = path.read_text(encoding='utf-8')
    except UnicodeDecodeError as error:
        raise ConfigParsingError(f'{source.label}: not a text file in UTF-8: {error}') from error
    return source


def _label_beside(child: Source, path: Path) -> str:
    """``path`` written as ``child``'s label is: relative to the working directory or not."""
    if os.path.isabs(child.label) or '::' in child.label:
        return str(path)
    steps = os.path.relpath(path, child.path.parent)
    label = os.path.normpath(os.path.join(os.path.dirname(child.label), steps))
    return str(path) if label.startswith('..') else label
