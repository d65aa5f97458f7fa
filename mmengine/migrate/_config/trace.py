"""Values of a config that remember how they were written.

A conversion moves, renames and drops entries of dicts. Those that it moves as they are should be
written as they were: with their comments, names and line breaks. So the values that it is given
carry the expression they came from, and stay ordinary dicts, lists, numbers and strings otherwise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

if TYPE_CHECKING:
    import libcst as cst

_T = TypeVar('_T')


class Origin(NamedTuple):
    """The expression a value came from, what it was then, and the indentation of the line it begins
    on."""

    node: cst.BaseExpression
    value: Any
    indent: str = ''


class TracedDict(dict[Any, Any]):
    origin: Origin | None = None


class TracedList(list[Any]):
    origin: Origin | None = None


class TracedTuple(tuple[Any, ...]):
    origin: Origin | None = None


class TracedInt(int):
    origin: Origin | None = None


class TracedFloat(float):
    origin: Origin | None = None


class TracedStr(str):
    origin: Origin | None = None


_KINDS: dict[type, type] = {
    dict: TracedDict,
    list: TracedList,
    tuple: TracedTuple,
    int: TracedInt,
    float: TracedFloat,
    str: TracedStr,
}
_PLAIN = {kind: plain for plain, kind in _KINDS.items()}


def traced(value: _T, origin: Origin) -> _T:
    """``value``, remembering ``origin``; None, booleans and rarer kinds cannot remember."""
    kind = _KINDS.get(_PLAIN.get(type(value), type(value)))
    if kind is None:
        return value
    marked: Any = kind(value)
    marked.origin = origin
    return marked  # type: ignore[no-any-return]  # a subclass of the value's own type


def untraced(message: str) -> str:
    """A message of Python's about a value, with the name of the kind that the value stands for."""
    for plain_kind, kind in _KINDS.items():
        message = message.replace(kind.__name__, plain_kind.__name__)
    return message


def origin_of(value: Any) -> Origin | None:
    """Where ``value`` came from, if it remembers."""
    return getattr(value, 'origin', None) if type(value) in _PLAIN else None


def edited(old: Any, new: _T) -> _T:
    """``new``, to be written as a change of what ``old`` was."""
    origin = origin_of(old)
    return new if origin is None else traced(new, origin)


def plain(value: Any) -> Any:
    """``value`` without any memory, all the way down."""
    kind = _PLAIN.get(type(value), type(value))
    if isinstance(value, dict):
        return {plain(key): plain(item) for key, item in dict.items(value)}
    if kind is list or isinstance(value, list):
        return [plain(item) for item in value]
    if kind is tuple:
        return tuple(plain(item) for item in value)
    return kind(value) if type(value) in _PLAIN else value
