"""Merge one config into another."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.config._origin.places import source_location
from mmengine.config.config_dict import DELETE_KEY, ConfigDict, as_config, copy_places, raw_items
from mmengine.config.errors import ConfigKeyError, ConfigTypeError, short_repr


def join_bases(bases: list[ConfigDict]) -> ConfigDict:
    """All entries of several base files, none of which may define a key of another.

    Raises:
        ConfigKeyError: If two define the same key; names it and both places.
    """
    joined = ConfigDict()
    for base in bases:
        for key in dict.keys(base):
            if key in joined:
                places = f'{source_location(joined, key)} and {source_location(base, key)}'
                raise ConfigKeyError(
                    f'two _base_ files define the key {key!r}: {places}. Define it in one of '
                    'them, or set it in the config that inherits from only one.'
                )
        dict.update(joined, dict.items(base))
        copy_places(joined, base, dict.keys(base))
    return joined


def overlay(base: ConfigDict, child: Mapping[Any, Any], path: str = '') -> ConfigDict:
    """A new ConfigDict: ``base`` with ``child`` merged in. Neither argument is changed.

    Raises:
        ConfigTypeError: If a dict would replace something else without ``_delete_=True``.
    """
    result = base.copy()
    for key, value in raw_items(child):
        if isinstance(value, dict):
            here = f'{path}.{key}' if path else str(key)
            value = _overlay_dict(dict.get(base, key), key in base, value, here)
        dict.__setitem__(result, key, as_config(value))
    if isinstance(child, dict):
        copy_places(result, child, dict.keys(child))
    return result


def _overlay_dict(
    old: Any, exists: bool, value: dict[Any, Any], path: str
) -> ConfigDict | dict[Any, Any]:
    if not exists:
        return as_config(value)  # type: ignore[no-any-return]  # a dict stays one
    # A dict of a custom class keeps it until something is merged with it.
    new = value if isinstance(value, ConfigDict) else ConfigDict(value)
    if isinstance(old, dict) and not isinstance(old, ConfigDict):
        old = ConfigDict(old)
    replaces = dict.get(new, DELETE_KEY, False)
    if DELETE_KEY in new:
        new = new.copy()
        dict.pop(new, DELETE_KEY)
    if replaces:
        _drop_delete_keys(new)
        return new
    if not isinstance(old, ConfigDict):
        raise ConfigTypeError(
            f'{_at(new)}{path!r} is a dict here but {type(old).__name__} {short_repr(old)} in the '
            'base config. To '
            f'replace it, write {path.rpartition(".")[2]}=dict(_delete_=True, ...).'
        )
    return overlay(old, new, path)


def _drop_delete_keys(cfg: ConfigDict) -> None:
    """Remove ``_delete_`` from the dicts inside a dict that replaces another one as a whole."""
    for _, node in _dicts(cfg, ''):
        dict.pop(node, DELETE_KEY, None)


def check_no_delete_left(cfg: ConfigDict) -> None:
    """Refuse ``_delete_`` where no base defines the dict. It would become an argument of a class.

    Raises:
        ConfigKeyError: If there is one; names the dict and where it was written.
    """
    for path, node in _dicts(cfg, ''):
        if DELETE_KEY in node:
            raise ConfigKeyError(
                f'{_at(node)}_delete_ in {path!r} has nothing to delete: no base file defines '
                'that dict. Remove _delete_, or check the name.'
            )


def nested_options(options: Mapping[str, Any]) -> ConfigDict:
    """``{'a.b': 1}`` as ``{'a': {'b': 1}}``."""
    root = ConfigDict()
    for dotted, value in options.items():
        *parents, last = str(dotted).split('.')
        node = root
        for name in parents:
            given = dict.get(node, name)
            inner = given.copy() if isinstance(given, ConfigDict) else ConfigDict()
            dict.__setitem__(node, name, inner)
            node = inner
        dict.__setitem__(node, last, as_config(value))
    return root


def overlay_options(base: Any, options: Any, *, allow_list_keys: bool, path: str = '') -> Any:
    """Like :func:`overlay`, for options of a command line: keys that are digits go into lists.

    Raises:
        ConfigKeyError: If a list has no such index.
        ConfigTypeError: If a dict would replace something that is neither a dict nor a list.
    """
    if not isinstance(options, dict):
        return as_config(options)
    if isinstance(base, (list, tuple)) and allow_list_keys and not dict.get(options, DELETE_KEY):
        return _overlay_items(base, options, path)
    options = ConfigDict(options)
    if dict.pop(options, DELETE_KEY, False):
        return options
    if isinstance(base, dict) and not isinstance(base, ConfigDict):
        base = ConfigDict(base)
    if not isinstance(base, ConfigDict):
        raise ConfigTypeError(
            f'cannot set {", ".join(f"{path}.{key}" for key in dict.keys(options))}: {path!r} is '
            f'{type(base).__name__} {short_repr(base)}, not a dict. To replace it, set '
            f'{path}._delete_=True too.'
        )
    result = base.copy()
    for key, value in dict.items(options):
        here = f'{path}.{key}' if path else str(key)
        old = dict.get(base, key)
        if key not in base and isinstance(value, dict):
            if not isinstance(value, ConfigDict):  # of a custom class, which it keeps
                dict.__setitem__(result, key, value)
                continue
            old = ConfigDict()
        value = overlay_options(old, value, allow_list_keys=allow_list_keys, path=here)
        dict.__setitem__(result, key, value)
    # A dict or list in which an option changes an entry was written where it was before.
    set_here = [key for key, value in dict.items(options) if not isinstance(value, dict)]
    copy_places(result, options, [*set_here, *(key for key in options if key not in base)])
    return result


def _overlay_items(base: Any, options: dict[Any, Any], path: str) -> Any:
    items = list(base)
    for key, value in dict.items(options):
        index = _index(key, items, path)
        items[index] = overlay_options(
            items[index], value, allow_list_keys=True, path=f'{path}.{key}'
        )
    return items if isinstance(base, list) else type(base)(items)


def _index(key: Any, items: list[Any], path: str) -> int:
    text = str(key)
    if not text.isdigit():
        raise ConfigTypeError(
            f'{path!r} is a list of {len(items)}, so what follows it is an index from 0, got '
            f'{text!r}'
        )
    if int(text) >= len(items):
        last = f'the last index is {len(items) - 1}' if items else 'it is empty'
        raise ConfigKeyError(
            f'{path!r} has {len(items)} items, so there is no {path}.{text}: {last}'
        )
    return int(text)


def unshare(cfg: ConfigDict) -> None:
    """Copy dicts that are shared, so that changing one part of a config changes no other part."""
    seen: set[int] = set()

    def own(value: Any) -> Any:
        if value.__class__ is ConfigDict:
            if id(value) in seen:
                value = value.copy()
            seen.add(id(value))
            for key, item in dict.items(value):
                if item.__class__ in _CONTAINERS:
                    dict.__setitem__(value, key, own(item))
            return value
        items = [own(item) if item.__class__ in _CONTAINERS else item for item in value]
        return items if value.__class__ is list else tuple(items)

    own(cfg)


def _dicts(value: Any, path: str) -> list[tuple[str, ConfigDict]]:
    """Every dict below ``value``, with its dotted path."""
    found: list[tuple[str, ConfigDict]] = []
    for key, item in dict.items(value) if isinstance(value, ConfigDict) else enumerate(value):
        if item.__class__ in _CONTAINERS:
            here = f'{path}.{key}' if path else str(key)
            if item.__class__ is ConfigDict:
                found.append((here, item))
            found.extend(_dicts(item, here))
    return found


def _at(node: ConfigDict) -> str:
    location = source_location(node)
    return f'{location}: ' if location else ''


_CONTAINERS = frozenset((ConfigDict, list, tuple))
