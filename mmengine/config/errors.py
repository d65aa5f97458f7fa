"""What can be wrong with a config: one family, so that a command line reports it in one line.

Each member is also the builtin error that code written for the MMEngine API catches in its place.
"""

from collections.abc import Iterable
from typing import Any

from mmengine.utils.errors import did_you_mean


class ConfigError(ValueError):
    """A config file, or an option given on top of one, is wrong. The message is one line."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ''


class ConfigParsingError(ConfigError, RuntimeError):
    """A config file was found but says something that no config can say."""


class ConfigKeyError(ConfigError, KeyError):
    """A key, variable or list index is unknown, reserved or given twice."""


class ConfigTypeError(ConfigError, TypeError):
    """A value has a kind that does not fit the place it is written to."""


class ConfigFileNotFoundError(ConfigError, FileNotFoundError):
    """No config file has this path."""


class ConfigFormatError(ConfigError, OSError):
    """The file's suffix is of no kind that configs are written in."""


class ConfigImportError(ConfigError, ImportError):
    """A module that the config asks for cannot be imported."""


class ConfigSyntaxError(ConfigError, SyntaxError):
    """A config file is no Python, JSON or YAML; ``filename``, ``lineno``, ``text`` say where."""

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
    """Writes its message only when read: ``hasattr(cfg, name)`` misses all the time."""

    args: tuple[Any, ...]

    def __str__(self) -> str:
        name, known = self.args
        hint = did_you_mean(name, filter(_is_text, known)) if isinstance(name, str) else ''
        return f'this config has no {name!r}.{hint or _listing(known)}'


class MissingAttributeError(_Missing, AttributeError):
    """``cfg.name`` was read, and ``name`` is no key of it."""


class MissingKeyError(_Missing, KeyError):
    """``cfg['name']`` was read, and ``name`` is no key of it."""


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
    """The class that reports an error raised by a config file's code: of its kind, and ours."""
    for kind in _RAISED_BY_CODE:
        if isinstance(error, kind):
            return _EXECUTION_ERRORS[kind]
    return ConfigError


_EXECUTION_ERRORS: dict[type[Exception], type[ConfigError]] = {
    kind: type(f'Config{kind.__name__}', (ConfigError, kind), {'__module__': __name__})
    for kind in _RAISED_BY_CODE
}
