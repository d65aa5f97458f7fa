"""Where each dict of a config, and each of its keys, was written."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

Place = tuple[str, int]
"""File and line; line 0 where only the file is known."""


class Origin:
    """Where a dict was written, and where those keys were that were written in another place."""

    __slots__ = ('keys', 'place')

    def __init__(self, place: Place, keys: dict[Any, Place] | None = None) -> None:
        self.place = place
        self.keys = {} if keys is None else keys

    def __reduce__(self) -> tuple[Any, ...]:
        return Origin, (self.place, self.keys)

    def place_of(self, key: object) -> Place:
        return self.keys.get(key, self.place)

    def copy(self) -> Origin:
        return Origin(self.place, self.keys.copy())


class PlainDictOrigins:
    """Origins of the plain dicts created by config files that are being executed.

    A plain dict has no room for an attribute, so it is found by its ``id``. It is kept alive until
    it has become a ConfigDict, which takes over the origin, because Python reuses ids.
    """

    def __init__(self) -> None:
        self._known: dict[int, tuple[dict[Any, Any], Origin]] = {}

    def __bool__(self) -> bool:
        return bool(self._known)

    def record(self, made: dict[Any, Any], origin: Origin) -> dict[Any, Any]:
        self._known[id(made)] = (made, origin)
        return made

    def find(self, value: object) -> Origin | None:
        entry = self._known.get(id(value))
        return entry[1] if entry is not None and entry[0] is value else None

    def forget(self, made: Iterable[dict[Any, Any]]) -> None:
        for value in made:
            self._known.pop(id(value), None)


PLAIN_DICT_ORIGINS = PlainDictOrigins()


def origin_of(value: object) -> Origin | None:
    """The origin of a dict; None when it is unknown, or for anything but a dict."""
    if not isinstance(value, dict):
        return None
    own = (
        getattr(value, '_origin', None)
        if type(value) is not dict
        else PLAIN_DICT_ORIGINS.find(value)
    )
    return own if isinstance(own, Origin) else None


def source_location(cfg: Any, key: str | None = None) -> str | None:
    """Where ``cfg``, or its entry ``key``, was written: ``'configs/a.py:12'``.

    Args:
        cfg: A ConfigDict or a Config.
        key: A key of ``cfg``. Dots lead into dicts (``'model.backbone.depth'``), digits into lists.

    Returns:
        File and line, or the file alone where lines are unknown (JSON, YAML). None when the entry
        does not exist or was not written in a file.
    """
    node = getattr(cfg, '_cfg_dict', cfg)
    if key is None:
        origin = origin_of(node)
        return None if origin is None else _written(origin.place)
    place: Place | None = None
    while not _holds(node, key) and '.' in key:
        head, _, key = key.partition('.')
        node, place = _step(node, head, place)
    _, place = _step(node, key, place)
    return None if place is None else _written(place)


def _written(place: Place) -> str:
    file, line = place
    return f'{file}:{line}' if line else file


def _step(node: Any, key: str, place: Place | None) -> tuple[Any, Place | None]:
    """The value of ``node`` at ``key``, and where it was written (of a list item: its list)."""
    if _holds(node, key):
        origin = origin_of(node)
        return dict.get(node, key), None if origin is None else origin.place_of(key)
    if isinstance(node, (list, tuple)) and key.isdigit() and int(key) < len(node):
        item = node[int(key)]
        origin = origin_of(item)
        return item, place if origin is None else origin.place
    return None, None


class PlacedDict(dict[Any, Any]):
    """A dict that keeps where its entries were written; :func:`placed` makes it."""

    __slots__ = ('_origin',)

    _origin: Origin | None


def placed(cfg: Mapping[str, Any], /, **defaults: Any) -> dict[str, Any]:
    """``{**defaults, **cfg}`` for code that completes a config before building it.

    Values keep their type, which a ConfigDict would change. Messages can still name the line, which
    a plain dict would lose.
    """
    whole = PlacedDict({**defaults, **cfg})
    whole._origin = origin_of(cfg)
    return whole


def _holds(node: Any, key: str) -> bool:
    return isinstance(node, dict) and key in node
