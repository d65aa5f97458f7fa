"""Reads signatures and Google docstrings of our own code for tables in Markdown."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass
class Argument:
    """One argument of a callable or field of a dataclass, as text for a table."""

    name: str
    type: str
    default: str
    text: str


def arguments(
    target: Callable[..., Any], leave_out: Sequence[str] = (), texts_of: Any = None
) -> list[Argument]:
    """The arguments of a function, method, class or dataclass, with the text of its docstring.

    Args:
        target: The callable.
        leave_out: Names of arguments to leave out.
        texts_of: A class whose docstring has texts that the one of ``target`` refers to.

    Raises:
        LookupError: If the docstring has no text for an argument.
    """
    texts = sections(texts_of.__doc__ or '') if texts_of else {}
    if inspect.isclass(target):
        for cls in reversed(target.__mro__[:-1]):
            texts |= sections(cls.__doc__ or '')
    else:
        texts |= sections(target.__doc__ or '')
    found = []
    for name, parameter in inspect.signature(target).parameters.items():
        if name in leave_out or name == 'self' or parameter.kind is parameter.VAR_POSITIONAL:
            continue
        shown = f'**{name}' if parameter.kind is parameter.VAR_KEYWORD else name
        if shown not in texts:
            if shown.startswith('**'):
                continue
            raise LookupError(f'{target.__qualname__} has no text for {shown}')
        found.append(Argument(shown, _type(parameter), _default(target, parameter), texts[shown]))
    return found


def sections(docstring: str) -> dict[str, str]:
    """The texts of ``Args`` and ``Attributes``, by name, as Markdown."""
    found: dict[str, str] = {}
    for block in re.findall(
        r'^(?:Args|Attributes):\n((?:[ ]+.*\n?|\n)+)', inspect.cleandoc(docstring), re.M
    ):
        name = ''
        for line in block.splitlines():
            match = re.match(r'    (\*{0,2}\w+): (.*)', line)
            if match:
                name = match[1]
                found[name] = match[2]
            elif line.strip():
                found[name] += ' ' + line.strip()
    return {name: markdown(text) for name, text in found.items()}


def markdown(text: str) -> str:
    """Text of a docstring as Markdown: roles and double quotes of code become code."""
    text = re.sub(r':\w+:`~?([^`]+)`', r'`\1`', text)
    return text.replace('``', '`').replace('\n', ' ')


def table(rows: Sequence[Argument]) -> str:
    """A Markdown table of arguments."""
    lines = ['| key | type | default | what it does |', '|---|---|---|---|']
    for row in rows:
        cells = (f'`{row.name}`', _code(row.type), _code(row.default), row.text)
        lines.append('| ' + ' | '.join(cell.replace('|', '\\|') for cell in cells) + ' |')
    return '\n'.join(lines) + '\n'


def _code(text: str) -> str:
    return f'`{text}`' if text else ''


def _type(parameter: inspect.Parameter) -> str:
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return ''
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r'\b(?:[a-z_]\w*\.)+(?=\w)', '', text)


def _default(target: Any, parameter: inspect.Parameter) -> str:
    if parameter.default is parameter.empty or parameter.kind is parameter.VAR_KEYWORD:
        return ''
    if dataclasses.is_dataclass(target):
        for field in dataclasses.fields(target):
            if field.name == parameter.name and field.default_factory is not dataclasses.MISSING:
                return repr(field.default_factory())
    return repr(parameter.default)
