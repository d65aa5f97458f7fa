"""The errors of configs: one family with messages of one line.

Each is also a builtin error, so that ``except`` clauses written for the MMEngine API work.
"""

from collections.abc import Iterable
from typing import Any

from mmengine.utils.errors import did_you_mean


class ConfigError(ValueError):
    """A config file, or an option given on top of one, is wrong. The message is one line."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ''


class ConfigParsingError(ConfigError, RuntimeError):
    """A config file was found but is not a valid config."""


class ConfigKeyError(ConfigError, KeyError):
    """A key, variable or list index is unknown, reserved or given twice."""


class ConfigTypeError(ConfigError, TypeError):
    """A value has a type that does not fit."""


class ConfigFileNotFoundError(ConfigError, FileNotFoundError):
    """There is no config file at this path."""


class ConfigFormatError(ConfigError, OSError):
    """The suffix of the file is not one of a config format."""


class ConfigImportError(ConfigError, ImportError):
    """A module that the config names cannot be imported."""


class ConfigSyntaxError(ConfigError, SyntaxError):
    """A config file has a syntax error; see ``filename``, ``lineno`` and ``text``."""

    def __init__(
        self, reason: str, filename: str = '', lineno: int | None = None, text: str | None = None
    ) -> None:
        place = f'{filename}:{lineno}' if lineno else filename
        shown = f': {text.strip()}' if text and text.strip() else ''
        super().__init__(f'{place}: {reason}{shown}')
        self.msg, self.filename, self.lineno, self.text = reason, filename, lineno, text
        self._given = (reason, filename, lineno, text)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), self._given


class _Missing:
    """Formats its message only when it is read, because ``hasattr(cfg, name)`` often raises it."""

    args: tuple[Any, ...]

    def __str__(self) -> str:
        name, known = self.args
        hint = did_you_mean(name, filter(_is_text, known)) if isinstance(name, str) else ''
        return f'this config has no {name!r}.{hint or _listing(known)}'


class MissingAttributeError(_Missing, AttributeError):
    """``cfg.name`` was read, and ``name`` is not a key of it."""


class MissingKeyError(_Missing, KeyError):
    """``cfg['name']`` was read, and ``name`` is not a key of it."""


def short_repr(value: object) -> str:
    """The repr of a value, cut for messages of one line."""
    text = repr(value)
    return text if len(text) <= 60 else f'{text[:57]}...'


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _listing(known: Iterable[object], limit: int = 12) -> str:
    names = [repr(name) for name in known]
    if not names:
        return ' It is empty.'
    more = f' and {len(names) - limit} more' if len(names) > limit else ''
    return f' It has {", ".join(names[:limit])}{more}.'


_RAISED_BY_CODE = (
    NameError,
    AttributeError,
    KeyError,
    IndexError,
    ZeroDivisionError,
    TypeError,
    ImportError,
    OSError,
    RuntimeError,
)


def execution_error(error: Exception) -> type[ConfigError]:
    """The ConfigError class for an error raised by the code of a config file; also of its type."""
    for kind in _RAISED_BY_CODE:
        if isinstance(error, kind):
            return _EXECUTION_ERRORS[kind]
    return ConfigError


_EXECUTION_ERRORS: dict[type[Exception], type[ConfigError]] = {
    kind: type(f'Config{kind.__name__}', (ConfigError, kind), {'__module__': __name__})
    for kind in _RAISED_BY_CODE
}
