"""The settings of a run as text: its config, and arguments that the config does not have."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from types import BuiltinFunctionType, FunctionType
from typing import Any

from mmengine.config import Config
from mmengine.config._static import read_static
from mmengine.config._writing.python_text import python_text
from mmengine.config.lazy import LazyAttr, LazyObject
from mmengine.utils._plain import plain
from mmengine.utils._public_name import public_name

_MAX_CHARACTERS = 100_000
_NAMED = (LazyObject, LazyAttr, type, FunctionType, BuiltinFunctionType)


def arguments_text(constructor: Any, cfg: Config, arguments: Mapping[str, Any]) -> str:
    """The arguments of a run that differ from their defaults and are not in ``cfg``.

    Objects are named by their class.

    Args:
        constructor: The function that took the arguments.
        cfg: The config of the run.
        arguments: Arguments by name; other names are left out.
    """
    given: dict[Any, Any] = {}
    for name, parameter in inspect.signature(constructor).parameters.items():
        value = arguments.get(name)
        if name in ('self', 'cfg') or value is None or _is_same(value, parameter.default):
            continue
        if not (name in cfg and _is_same(cfg[name], value)):
            given[name] = _limited(plain(value, _kept, _class_name))
    return python_text(given)


def _limited(value: Any) -> Any:
    """``value``, or its length and a digest: annotations may be passed as a list in a config."""
    text = python_text({'value': value})
    if len(text) <= _MAX_CHARACTERS:
        return value
    return f'<{len(text)} characters, sha1 {hashlib.sha1(text.encode()).hexdigest()}>'


def read_settings(cfg_text: str, arguments: str) -> dict[str, Any]:
    """Config and arguments from their texts; nothing in the texts is executed.

    Raises:
        ValueError: If a text is not Python.
    """
    return {**read_static(cfg_text), **read_static(arguments)}


def _is_same(one: Any, other: Any) -> bool:
    if one is other:
        return True
    plain_kinds = (Mapping, list, tuple, str, int, float, type(None))
    if not isinstance(one, plain_kinds) or not isinstance(other, plain_kinds):
        return False
    try:
        return bool(one == other)
    except (ValueError, RuntimeError):  # arrays and tensors have no single answer
        return False


def _kept(value: Any) -> Any:
    return value if isinstance(value, _NAMED) else NotImplemented


def _class_name(value: Any) -> str:
    return f'<{public_name(type(value))}>'
