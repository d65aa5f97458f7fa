"""ConfigDict: a dict whose keys are attributes, and so are the keys of the dicts inside it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from copy import copy as shallow_copy
from typing import Any, ClassVar

from mmengine.config._origin.places import PLAIN_DICT_ORIGINS, Origin, origin_of
from mmengine.config.errors import MissingAttributeError, MissingKeyError
from mmengine.config.lazy import LazyAttr, LazyObject, built, dotted_name

DELETE_KEY = '_delete_'


class ConfigDict(dict[Any, Any]):
    """A dict read by key or by attribute; dicts inside, also in lists and tuples, are ConfigDicts.

    A plain dict that is set as a value becomes a ConfigDict; a Counter, a defaultdict or a dict of
    a custom class stays as it is, with its content. Reading a lazily imported value imports it.
    Where the keys were written (:func:`mmengine.config.source_location`) has no effect on equality,
    iteration and printing.

    Example:
        >>> cfg = ConfigDict(model=dict(type='ResNet', stages=[dict(depth=3)]))
        >>> cfg.model.stages[0].depth
        3
    """

    __slots__ = ('__weakref__', '_origin')

    _origin: Origin | None

    lazy: ClassVar[bool] = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        object.__setattr__(self, '_origin', None)
        for arg in args:
            if arg is not None:
                self._adopt_origin(arg)
                self._assign(arg)
        if kwargs:
            self._assign(kwargs)

    def _adopt_origin(self, source: Any) -> None:
        known = PLAIN_DICT_ORIGINS.find(source) if PLAIN_DICT_ORIGINS else None
        if isinstance(source, ConfigDict):
            known = source._origin
        if known is not None and self._origin is None:
            object.__setattr__(self, '_origin', known.copy())

    def _assign(self, entries: Mapping[Any, Any] | Iterable[tuple[Any, Any]]) -> None:
        """Set all entries, replacing what is there, without importing anything."""
        for key, value in raw_items(entries):
            dict.__setitem__(self, key, as_config(value))
        if self._origin is not None and isinstance(entries, dict):
            copy_places(self, entries, dict.keys(entries))

    # Reading

    def __getitem__(self, key: Any) -> Any:
        value = dict.get(self, key, _ABSENT)
        if value.__class__ in _LAZY_TYPES:
            return value.build()
        if value is _ABSENT:
            return self.__missing__(key)
        return value

    def __missing__(self, key: Any) -> Any:
        raise MissingKeyError(key, tuple(dict.keys(self)))

    def __getattr__(self, name: str) -> Any:
        value = dict.get(self, name, _ABSENT)
        if value.__class__ in _LAZY_TYPES:
            return value.build()
        if value is _ABSENT:
            raise MissingAttributeError(name, tuple(dict.keys(self)))
        return value

    # Defined in Python so that dict(cfg) and **cfg use __getitem__ and get imported values.
    def __iter__(self) -> Any:
        return dict.__iter__(self)

    def get(self, key: Any, default: Any = None) -> Any:
        return built(dict.get(self, key, default))

    # Lists, not views: loops over them may change the dict.
    def items(self) -> list[tuple[Any, Any]]:  # type: ignore[override]  # see above
        return [(key, built(value)) for key, value in dict.items(self)]

    def values(self) -> list[Any]:  # type: ignore[override]  # see above
        return [built(value) for value in dict.values(self)]

    def build_lazy(self, value: Any) -> Any:
        """``value``, imported if it is a lazy name."""
        return built(value)

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *(key for key in self if isinstance(key, str))]

    # Writing

    def __setitem__(self, key: Any, value: Any) -> None:
        dict.__setitem__(self, key, as_config(value))

    def __setattr__(self, name: str, value: Any) -> None:
        if hasattr(type(self), name):
            raise AttributeError(
                f'{name!r} is a method of dict; write it as an item: cfg[{name!r}] = ...'
            )
        dict.__setitem__(self, name, as_config(value))

    def __delattr__(self, name: str) -> None:
        if name not in self:
            raise MissingAttributeError(name, tuple(dict.keys(self)))
        del self[name]

    def setdefault(self, key: Any, default: Any = None) -> Any:
        if key not in self:
            self[key] = default
        return self[key]

    def pop(self, key: Any, default: Any = None) -> Any:
        """Remove ``key`` and return its value, or ``default`` (never an error) if it is missing."""
        return built(dict.pop(self, key, default))

    def popitem(self) -> tuple[Any, Any]:
        key, value = dict.popitem(self)
        return key, built(value)

    def update(self, *args: Any, **kwargs: Any) -> None:
        """Set entries; a dict is merged into the existing dict, level by level."""
        if len(args) > 1:
            raise TypeError(f'update takes one positional argument, got {len(args)}')
        for entries in (*args, kwargs):
            merge_into(self, entries, honour_delete=False)

    def merge(self, other: Mapping[Any, Any]) -> None:
        """Like :meth:`update`, but a dict with ``_delete_=True`` replaces the existing one."""
        entries = ConfigDict(other)
        if dict.pop(entries, DELETE_KEY, False):
            self.clear()
        merge_into(self, entries, honour_delete=True)

    def __or__(self, other: Any) -> ConfigDict:
        if not isinstance(other, dict):
            return NotImplemented
        return ConfigDict(self, other)

    def __ror__(self, other: Any) -> ConfigDict:
        if not isinstance(other, dict):
            return NotImplemented
        return ConfigDict(other, self)

    def __ior__(self, other: Any) -> ConfigDict:
        self._assign(other)
        return self

    # Copying

    def copy(self) -> ConfigDict:
        """A shallow copy: nested dicts are shared."""
        twin = type(self).__new__(type(self))
        dict.update(twin, dict.items(self))
        object.__setattr__(twin, '_origin', None if self._origin is None else self._origin.copy())
        return twin

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> ConfigDict:
        from copy import deepcopy

        twin = type(self).__new__(type(self))
        memo[id(self)] = twin
        for key, value in dict.items(self):
            dict.__setitem__(twin, deepcopy(key, memo), deepcopy(value, memo))
        object.__setattr__(twin, '_origin', None if self._origin is None else self._origin.copy())
        return twin

    def deepcopy(self) -> ConfigDict:
        return self.__deepcopy__({})

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        # Entries are pickled as dict items, which also works for lazy names and for a dict that
        # contains itself.
        return _restore, (type(self), self._origin), None, None, iter(list(dict.items(self)))

    def to_dict(self) -> dict[Any, Any]:
        """Plain dicts, lists and tuples; lazy names as import paths: ``'torch.optim.SGD'``."""
        plain: dict[Any, Any] = as_plain(self)
        return plain


def as_config(value: Any) -> Any:
    """``value`` with every plain dict in it, through lists and tuples, a ConfigDict."""
    kind = value.__class__
    if kind in _ATOMS or kind is ConfigDict:
        return value
    if kind is dict or kind is OrderedDict:
        return _from_plain(value)
    if isinstance(value, list):
        items = [item if item.__class__ in _ATOMS else as_config(item) for item in value]
        return items if kind is list else kind(items)
    if isinstance(value, tuple):
        items = [item if item.__class__ in _ATOMS else as_config(item) for item in value]
        return kind._make(items) if hasattr(kind, '_make') else kind(items)
    return value


def _from_plain(plain: dict[Any, Any]) -> ConfigDict:
    """What ``ConfigDict(plain)`` gives, for the many dicts of a config file, in half the time."""
    known = PLAIN_DICT_ORIGINS.find(plain)
    fresh = ConfigDict.__new__(ConfigDict)
    object.__setattr__(fresh, '_origin', None if known is None else known.copy())
    for key, item in plain.items():
        dict.__setitem__(fresh, key, item if item.__class__ in _ATOMS else as_config(item))
    return fresh


def as_plain(value: Any) -> Any:
    """``value`` with every dict in it a plain dict, and every lazy name its import path."""
    if value.__class__ in _LAZY_TYPES:
        return dotted_name(value)
    if isinstance(value, dict):
        return {key: as_plain(item) for key, item in dict.items(value)}
    if isinstance(value, list):
        return [as_plain(item) for item in value]
    if isinstance(value, tuple):
        parts = [as_plain(item) for item in value]
        return value._make(parts) if hasattr(value, '_make') else tuple(parts)
    return value


def merge_into(target: dict[Any, Any], entries: Any, *, honour_delete: bool) -> None:
    """Merge ``entries`` into ``target``: dicts level by level, anything else replaces."""
    pairs = list(raw_items(entries))
    for key, value in pairs:
        mine: Any = dict.get(target, key)
        replaces = not isinstance(value, dict) or not isinstance(mine, dict)
        if honour_delete and isinstance(value, dict) and DELETE_KEY in value:
            value = ConfigDict(value)
            replaces = bool(value.pop(DELETE_KEY)) or replaces
        if replaces:
            target[key] = as_config(value)
            continue
        if not isinstance(mine, ConfigDict):
            # A dict of another class is the caller's own object, so a copy of it is changed.
            mine = target[key] = shallow_copy(mine)
        merge_into(mine, value, honour_delete=honour_delete)
    if isinstance(entries, dict) and isinstance(target, ConfigDict):
        copy_places(target, entries, [key for key, _ in pairs])


def copy_places(target: ConfigDict, source: dict[Any, Any], keys: Iterable[Any]) -> None:
    """Record in ``target`` where ``keys`` of ``source`` were written."""
    theirs = origin_of(source)
    mine = target._origin
    if theirs is None:
        if mine is not None:
            # Set by code: the line that wrote the previous value would be wrong.
            for key in keys:
                mine.keys.pop(key, None)
        return
    if mine is None:
        mine = Origin(theirs.place)
        object.__setattr__(target, '_origin', mine)
    for key in keys:
        mine.keys[key] = theirs.place_of(key)


def raw_items(entries: Any) -> Any:
    """The entries of a mapping or of pairs, without importing lazy values."""
    if isinstance(entries, dict):
        return dict.items(entries)
    return entries.items() if hasattr(entries, 'keys') else entries


def _restore(kind: type[ConfigDict], origin: Origin | None) -> ConfigDict:
    fresh = kind()
    object.__setattr__(fresh, '_origin', origin)
    return fresh


_ABSENT: Any = object()
_LAZY_TYPES: frozenset[Any] = frozenset((LazyObject, LazyAttr))
_ATOMS = frozenset((str, int, float, bool, type(None), LazyObject, LazyAttr))
