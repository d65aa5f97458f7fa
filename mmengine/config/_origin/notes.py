"""What the code of a config file calls while it runs, to note where each key was written.

:mod:`mmengine.config._origin.recorder` adds the calls. None of them changes a value.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from mmengine.config._origin.places import PLAIN_DICT_ORIGINS, Origin, Place, origin_of


class Notes:
    """Origins of the dicts that one file makes, and of the keys that it changes afterwards.

    Args:
        filename: The file, as places name it.
    """

    def __init__(self, filename: str) -> None:
        self._filename = filename
        self._places: dict[int, Place] = {}
        self._made: list[dict[Any, Any]] = []
        # Sites in the code, by index: its line, and the lines of the keys that are written there.
        self._sites: list[tuple[int, dict[Any, int]]] = []
        # Dicts whose entries the expression at a site takes over.
        self._sources: dict[int, list[Any]] = {}
        self._before: dict[int, tuple[Any, dict[Any, Any]]] = {}

    def place(self, line: int) -> Place:
        """The place of a line. One tuple per line is shared, which saves memory and pickle size."""
        return self._places.setdefault(line, (self._filename, line))

    def forget(self) -> None:
        """Release the dicts that were made."""
        PLAIN_DICT_ORIGINS.forget(self._made)
        self._made.clear()
        self._sources.clear()
        self._before.clear()

    def add_site(self, line: int, lines: dict[Any, int]) -> int:
        """A new site; returns its index.

        Args:
            line: Where it begins.
            lines: The lines of the keys that are written there.
        """
        self._sites.append((line, lines))
        return len(self._sites) - 1

    def made(self, index: int, value: Any) -> Any:
        """Note that ``value`` was written at a site, if it is a plain dict."""
        sources = self._sources.pop(index, ())
        if type(value) is not dict:
            return value
        line, lines = self._sites[index]
        keys = {key: self.place(at) for key, at in lines.items() if at != line}
        for source in sources:
            keys |= _taken_over(value, source, lines)
        self._made.append(value)
        return PLAIN_DICT_ORIGINS.record(value, Origin(self.place(line), keys))

    def taken(self, index: int, source: Any) -> Any:
        """Note that the dict of a site takes the entries of ``source`` over."""
        self._sources.setdefault(index, []).append(source)
        return source

    def before(self, index: int, owner: Any) -> None:
        """Note the entries of ``owner`` before the statement of a site that may change them."""
        if origin_of(owner) is not None:
            self._before[index] = owner, dict(dict.items(owner))

    def after(self, index: int) -> None:
        """Note the keys that the statement of a site has changed."""
        sources = self._sources.pop(index, ())
        owner, old = self._before.pop(index, (None, {}))
        origin = origin_of(owner)
        if origin is None:
            return
        line, lines = self._sites[index]
        for key, value in dict.items(owner):
            if key in lines or key not in old or old[key] is not value:
                origin.keys[key] = self.place(lines.get(key, line))
        for source in sources:
            origin.keys |= _taken_over(owner, source, lines)


def _taken_over(value: dict[Any, Any], source: Any, written: Iterable[Any]) -> dict[Any, Place]:
    """The places of the entries that ``value`` has from ``source``."""
    origin = origin_of(source)
    if origin is None:
        return {}
    return {
        key: origin.place_of(key)
        for key, item in dict.items(source)
        if key not in written and dict.get(value, key, source) is item
    }
