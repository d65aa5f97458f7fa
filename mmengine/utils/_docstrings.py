"""Reads signatures and Google docstrings, for tables and for the schema of configs."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

# Other projects write the type behind the name: `lr (float, optional): ...`.
_ENTRY = re.compile(r'    (\*{0,2}\w+)(?: \([^:]*\))?: (.*)')
_SECTION = re.compile(r'^(?:Args|Attributes):\n((?:[ ]+.*\n?|\n)+)', re.M)


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
    texts = {**(sections(texts_of.__doc__ or '') if texts_of else {}), **texts_for(target)}
    found = []
    for name, parameter in inspect.signature(target).parameters.items():
        if name in leave_out or name == 'self' or parameter.kind is parameter.VAR_POSITIONAL:
            continue
        shown = f'**{name}' if parameter.kind is parameter.VAR_KEYWORD else name
        if shown not in texts:
            if shown.startswith('**'):
                continue
            raise LookupError(f'{target.__qualname__} has no text for {shown}')
        default = default_of(target, parameter)
        is_shown = default is not inspect.Parameter.empty and shown == name
        found.append(
            Argument(shown, type_text(parameter), repr(default) if is_shown else '', texts[shown])
        )
    return found


def texts_for(target: Any) -> dict[str, str]:
    """The texts of the arguments of ``target`` by name, for a class also from its bases."""
    if not inspect.isclass(target):
        return sections(target.__doc__ or '')
    texts: dict[str, str] = {}
    for cls in reversed(target.__mro__[:-1]):
        texts |= sections(cls.__doc__ or '')
        texts |= sections(getattr(vars(cls).get('__init__'), '__doc__', None) or '')
    return texts


def sections(docstring: str) -> dict[str, str]:
    """The texts of ``Args`` and ``Attributes``, by name, as Markdown."""
    found: dict[str, str] = {}
    for block in _SECTION.findall(inspect.cleandoc(docstring)):
        name = ''
        for line in block.splitlines():
            match = _ENTRY.match(line)
            if match:
                name = match[1]
                found[name] = match[2]
            elif line.strip() and name:
                found[name] += ' ' + line.strip()
    return {name: markdown(text) for name, text in found.items()}


def summary_of(target: Any) -> str:
    """The first paragraph of a docstring as Markdown, on one line."""
    paragraph = inspect.cleandoc(target.__doc__ or '').partition('\n\n')[0]
    return markdown(paragraph)


def markdown(text: str) -> str:
    """Text of a docstring as Markdown: roles and double quotes of code become code."""
    text = re.sub(r':\w+:`~?([^`]+)`', r'`\1`', text)
    return text.replace('``', '`').replace('\n', ' ')


def type_text(parameter: inspect.Parameter) -> str:
    """The annotation of a parameter without module names; empty if there is none."""
    annotation = parameter.annotation
    if annotation is parameter.empty:
        return ''
    text = annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)
    return re.sub(r'\b(?:[a-z_]\w*\.)+(?=\w)', '', text)


def default_of(target: Any, parameter: inspect.Parameter) -> Any:
    """The default of a parameter, or of a field of a dataclass; ``Parameter.empty`` if none."""
    if dataclasses.is_dataclass(target):
        for field in dataclasses.fields(target):
            if field.name == parameter.name and field.default_factory is not dataclasses.MISSING:
                return field.default_factory()
    return parameter.default
