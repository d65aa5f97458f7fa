"""Config options on a command line: ``--cfg-options model.depth=50 'milestones=[8,11]'``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from mmengine.utils.errors import ArgumentError

_CLOSING = {'[': ']', '(': ')'}


class DictAction(argparse.Action):
    """Collects ``key=value`` words into a dict, with values as :func:`parse_value` reads them.

    Example:
        >>> parser = argparse.ArgumentParser()
        >>> _ = parser.add_argument('--cfg-options', nargs='+', action=DictAction)
        >>> parser.parse_args(['--cfg-options', 'lr=0.1', 'a.b=[1,(2,x)]']).cfg_options
        {'lr': 0.1, 'a.b': [1, (2, 'x')]}
    """

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: str | Sequence[Any] | None,
        option_string: str | None = None,
    ) -> None:
        """Called by argparse.

        Raises:
            ArgumentError: If a word is not ``key=value``, or its brackets do not match.
        """
        words = [values] if isinstance(values, str) else values or []
        options = dict(getattr(namespace, self.dest, None) or {})
        for word in words:
            key, equals, text = str(word).partition('=')
            if not equals or not key.strip():
                raise ArgumentError(f'{option_string or self.dest} takes key=value, got {word!r}')
            options[key.strip()] = self._parse_iterable(text)
        setattr(namespace, self.dest, options)

    # Projects call this one for their own option values.
    @staticmethod
    def _parse_iterable(val: str) -> Any:
        """The value that ``val`` stands for; see :func:`parse_value`."""
        return parse_value(val)


def parse_value(text: str) -> Any:
    """The value of ``text`` from a command line.

    Numbers, ``true`` and ``false`` in any case, ``None``, and ``[1,2]``, ``(1,2)`` or ``1,2`` (a
    list), also nested, with or without quotes around strings. Anything else is a string.

    Raises:
        ArgumentError: If a list or tuple is not closed.

    Example:
        >>> parse_value('[1,(0.5,x)]'), parse_value('1,2'), parse_value('None')
        ([1, (0.5, 'x')], [1, 2], None)
    """
    text = _unquoted(text.strip())
    if text[:1] in _CLOSING:
        end = _closing_index(text)
        if end == len(text) - 1:
            values = [parse_value(part) for part in _split(text[1:end])]
            return values if text[0] == '[' else tuple(values)
    parts = _split(text)
    return [parse_value(part) for part in parts] if len(parts) > 1 else _atom(text)


def add_args(
    parser: argparse.ArgumentParser, cfg: dict[str, Any], prefix: str = ''
) -> argparse.ArgumentParser:
    """Give ``parser`` one option for each entry of ``cfg``, ``--a.b`` for nested ones."""
    for key, value in cfg.items():
        option = f'--{prefix}{key}'
        if isinstance(value, dict):
            add_args(parser, value, f'{prefix}{key}.')
        elif isinstance(value, bool):
            parser.add_argument(option, action='store_true')
        elif isinstance(value, str):
            parser.add_argument(option)
        elif isinstance(value, (int, float)):
            parser.add_argument(option, type=type(value))
        elif isinstance(value, (list, tuple)):
            same_kind = (
                type(value[0]) if value and type(value[0]) in (int, float, str) else parse_value
            )
            parser.add_argument(option, type=same_kind, nargs='+')
        else:
            parser.add_argument(option, type=parse_value)
    return parser


def config_argument() -> str:
    """The path of the config file on the command line of this process."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument('config')
    words = [word for word in sys.argv[1:] if word not in ('-h', '--help')]
    path: str = parser.parse_known_args(words)[0].config
    return path


def _atom(text: str) -> Any:
    for number in (int, float):
        try:
            return number(text)
        except ValueError:
            continue
    folded = text.lower()
    if folded in ('true', 'false'):
        return folded == 'true'
    return None if text == 'None' else text


def _unquoted(text: str) -> str:
    if len(text) >= 2 and text[0] in '"\'' and text.find(text[0], 1) == len(text) - 1:
        return text[1:-1]
    return text


def _split(text: str) -> list[str]:
    """Parts between commas outside brackets and quotes; a comma at the end adds no part."""
    parts: list[str] = []
    depth, start, quote = 0, 0, ''
    for index, letter in enumerate(text):
        if quote:
            quote = '' if letter == quote else quote
        elif letter in '"\'' and letter in text[index + 1 :]:
            quote = letter
        elif letter in '[({':
            depth += 1
        elif letter in '])}':
            depth -= 1
        elif letter == ',' and depth == 0:
            parts.append(text[start:index])
            start = index + 1
    if text[start:].strip() or (parts and text[start:]):
        parts.append(text[start:])
    return parts


def _closing_index(text: str) -> int:
    """Where the bracket that opens ``text`` is closed."""
    open_brackets: list[str] = []
    quote = ''
    for index, letter in enumerate(text):
        if quote:
            quote = '' if letter == quote else quote
        elif letter in '"\'' and letter in text[index + 1 :]:
            quote = letter
        elif letter in _CLOSING:
            open_brackets.append(letter)
        elif letter in '])':
            if _CLOSING[open_brackets.pop()] != letter:
                raise ArgumentError(
                    f'the brackets of {text!r} do not match at {text[: index + 1]!r}'
                )
            if not open_brackets:
                return index
    raise ArgumentError(f'{text!r} opens {"".join(open_brackets)!r} and does not close it')
