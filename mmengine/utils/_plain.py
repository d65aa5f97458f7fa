"""Values in plain Python types, for files and services that take nothing else."""

from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

_EXACT = frozenset((bool, int, float, str, type(None)))
_BASES: tuple[Any, ...] = (bool, int, float, str)
_CONTAINERS = frozenset((dict, OrderedDict, list, tuple, set))


def plain(
    value: Any,
    convert: Callable[[Any], Any],
    unknown: Callable[[Any], Any],
    *,
    share: bool = False,
    as_json: bool = False,
) -> Any:
    """``value`` in numbers, text, None and plain containers, and what ``convert`` returns.

    Subclasses of a plain type become that type. ``value`` is not changed.

    Args:
        value: Any value; its dicts, lists, tuples and sets are walked.
        convert: Called with every object that is not exactly a bool, int, float, str or None.
            Returns what replaces the object, or ``NotImplemented`` to have it treated as above.
        unknown: Called with an object that is not plain and not a container. Returns what replaces
            it, or raises.
        share: Return a plain container itself when nothing in it changes, instead of a copy.
        as_json: Containers are dicts and lists only: sequences become lists, sets are not walked,
            and keys stay as they are.
    """
    if type(value) in _EXACT:
        return value
    replaced = convert(value)
    if replaced is not NotImplemented:
        return replaced
    for base in _BASES:
        if isinstance(value, base):
            return base(value)

    def walk(item: Any) -> Any:
        return plain(item, convert, unknown, share=share, as_json=as_json)

    if isinstance(value, Mapping):
        if as_json:
            return {key: walk(item) for key, item in value.items()}
        return _plain_mapping(value, walk, share)
    if as_json and isinstance(value, Sequence) and not isinstance(value, (bytes, bytearray)):
        return [walk(item) for item in value]
    if not as_json and isinstance(value, (list, tuple, set, frozenset)):
        return _plain_items(value, walk, share)
    return unknown(value)


def _plain_mapping(value: Mapping[Any, Any], walk: Callable[[Any], Any], share: bool) -> Any:
    entries = [(walk(key), walk(item)) for key, item in value.items()]
    if share and type(value) in _CONTAINERS:
        pairs = zip(entries, value.items(), strict=True)
        if all(key is old_key and item is old for (key, item), (old_key, old) in pairs):
            return value
    if not isinstance(value, OrderedDict):
        return dict(entries)
    copied = OrderedDict(entries)
    copied.__dict__.update(value.__dict__)  # a state dict has the versions of its modules there
    return copied


def _plain_items(value: Any, walk: Callable[[Any], Any], share: bool) -> Any:
    items = [walk(item) for item in value]
    is_same = all(new is old for new, old in zip(items, value, strict=True))
    if is_same and share and type(value) in _CONTAINERS:
        return value
    kind: Any = next((kind for kind in (list, tuple) if isinstance(value, kind)), set)
    return kind(items)
