"""Legacy config files: what they say, what they inherit, and which expression wrote what."""

from __future__ import annotations

import ast
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmengine.config import source_location
from mmengine.config._merge import overlay
from mmengine.config._reading.source import Source, read_source
from mmengine.config._reading.text_style import Loaded, TextLoader
from mmengine.config.config_dict import ConfigDict, as_plain
from mmengine.migrate._config.trace import Origin, traced

if TYPE_CHECKING:
    import libcst as cst

SUFFIXES = ('.py', '.json', '.yaml', '.yml')

Config = dict[str, Any]


@dataclass(frozen=True)
class CachingLoader(TextLoader):
    """Loads each file once, however many inherit from it."""

    known: dict[Path, Loaded] = field(default_factory=dict, compare=False)

    def _load(self, source: Source) -> Loaded:
        if source.path not in self.known:
            self.known[source.path] = super()._load(source)
        return self.known[source.path]


@dataclass
class LegacyFile:
    """One config file.

    Args:
        path: Where it lies.
        text: What it holds.
        bases: The files it inherits from.
        own: What it defines itself.
        base: What its bases define together.
        resolved: Both, merged.
        entries: ``resolved`` as loaded, with the places of its keys.
    """

    path: Path
    text: str
    bases: list[Path]
    own: Config
    base: Config
    resolved: Config
    entries: ConfigDict

    @property
    def is_python(self) -> bool:
        return self.path.suffix == '.py'

    def locate(self, key: str) -> str | None:
        """'file:line' of a dotted key, or of the nearest one above it that is known."""
        while key:
            place = source_location(self.entries, key)
            if place is not None:
                return place
            key = key.rpartition('.')[0]
        return str(self.path)


def load_file(path: Path, loader: CachingLoader, label: str | None = None) -> LegacyFile:
    """Load a config file.

    Raises:
        ConfigError: Whatever is wrong with it or with a file it inherits from.
    """
    source = read_source(path, label=label or str(path))
    with warnings.catch_warnings():
        warnings.simplefilter('ignore', DeprecationWarning)
        loaded = loader.load(source)
    return LegacyFile(
        path,
        source.text,
        list(loaded.base_paths),
        as_plain(loaded.own or {}),
        as_plain(loaded.base or {}),
        as_plain(loaded.entries),
        loaded.entries,
    )


def merged(base: Mapping[str, Any], own: Mapping[str, Any]) -> Config:
    """What a file that defines ``own`` resolves to on ``base``."""
    result: Config = as_plain(overlay(ConfigDict(base), ConfigDict(own)))
    return result


def merge_traced(base: Any, own: Any) -> Any:
    """Like :func:`merged`, keeping what the values of ``own`` remember."""
    if not isinstance(base, dict) or not isinstance(own, dict):
        return own
    if own.get('_delete_'):
        return {key: value for key, value in own.items() if key != '_delete_'}
    result = dict(base)
    for key, value in own.items():
        inner = isinstance(value, dict)
        if inner and not isinstance(base.get(key), dict):
            value = _without_delete(value)
        result[key] = merge_traced(base[key], value) if inner and key in base else value
    return result


def _without_delete(value: Any) -> Any:
    if '_delete_' not in value:
        return value
    return {key: item for key, item in value.items() if key != '_delete_'}


def trace(value: Any, node: cst.BaseExpression, indent: str = '') -> Any:
    """``value``, and as far as ``node`` shows them its parts, remembering the expressions they came
    from.

    Args:
        value: What ``node`` stands for.
        node: An expression.
        indent: Of the line on which it begins.
    """
    import libcst as cst

    origin = Origin(node, value, indent)
    if isinstance(value, dict):
        parts = dict_parts(node)
        if parts is not None and parts.keys() == value.keys():
            inner = dict(zip(parts, part_indents(node, indent), strict=True))
            inside = {key: trace(item, parts[key], inner[key]) for key, item in value.items()}
            return traced(inside, origin)
    if isinstance(value, (list, tuple)) and isinstance(node, (cst.List, cst.Tuple)):
        nodes = [element.value for element in node.elements]
        plain = not any(isinstance(element, cst.StarredElement) for element in node.elements)
        if plain and len(nodes) == len(value):
            depths = part_indents(node, indent)
            items = [trace(v, n, i) for v, n, i in zip(value, nodes, depths, strict=True)]
            return traced(items if isinstance(value, list) else tuple(items), origin)
    return traced(value, origin)


def part_indents(node: cst.BaseExpression, indent: str) -> list[str]:
    """The indentation of the line on which each entry of a call or a container begins."""
    import libcst as cst

    before: Any
    entries: Any
    if isinstance(node, cst.Call):
        before = node.whitespace_before_args
        entries = node.args
    elif isinstance(node, cst.Dict):
        before, entries = node.lbrace.whitespace_after, node.elements
    elif isinstance(node, cst.List):
        before, entries = node.lbracket.whitespace_after, node.elements
    else:
        assert isinstance(node, cst.Tuple)
        before = node.lpar[0].whitespace_after if node.lpar else None
        entries = node.elements
    indents = []
    current = indent
    for entry in entries:
        if isinstance(before, cst.ParenthesizedWhitespace):
            current = before.last_line.value
        indents.append(current)
        before = getattr(entry.comma, 'whitespace_after', None)
    return indents


def dict_parts(node: cst.BaseExpression) -> dict[str, cst.BaseExpression] | None:
    """The expressions of ``dict(a=1)`` or ``{'a': 1}`` by key; None for any other expression."""
    import libcst as cst

    if isinstance(node, cst.Call):
        is_dict = isinstance(node.func, cst.Name) and node.func.value == 'dict'
        if not is_dict or any(arg.keyword is None or arg.star for arg in node.args):
            return None
        return {arg.keyword.value: arg.value for arg in node.args if arg.keyword is not None}
    if isinstance(node, cst.Dict):
        parts: dict[str, cst.BaseExpression] = {}
        for element in node.elements:
            if not isinstance(element, cst.DictElement):
                return None
            if not isinstance(element.key, cst.SimpleString):
                return None
            parts[ast.literal_eval(element.key.value)] = element.value
        return parts
    return None
