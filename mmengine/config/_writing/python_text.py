"""Write a config as readable Python that loads to an equal config.

A value that fits on a line is written on one. Otherwise each entry gets a line, with a comma after
the last. Keys keep their order.
"""

from __future__ import annotations

import builtins
import enum
import keyword
import math
import sys
from collections.abc import Iterable
from pathlib import PurePath
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

from mmengine.config.lazy import LazyAttr, LazyObject
from mmengine.utils._public_name import public_module

LINE_LENGTH = 79
INDENT = 4
_FILL_FROM = 8
"""Lists of at least this many short values are wrapped like words, not one per line."""


def python_text(entries: dict[Any, Any]) -> str:
    """``entries`` as the text of a Python config file that loads to an equal config.

    Lazy names, classes and functions are written as imports. Values without a Python expression (a
    function defined in the config itself, an open file) are written as a string that names them.
    """
    writer = _Writer(taken={key for key in entries if isinstance(key, str)})
    lines = [writer.assignment(key, value) for key, value in dict.items(entries)]
    imports = writer.imports()
    return ''.join(f'{line}\n' for line in (*imports, *([''] if imports else []), *lines))


class _Block:
    """A container: its brackets, its entries, and its text on one line."""

    __slots__ = ('close', 'entries', 'flat', 'open')

    def __init__(
        self, opening: str, entries: list[tuple[str, Any]], closing: str, tail: str = ''
    ) -> None:
        self.open = opening
        self.entries = entries
        self.close = closing
        inside = ', '.join([prefix + _flat(entry) for prefix, entry in entries])
        self.flat = f'{opening}{inside}{tail}{closing}'


def _flat(node: str | _Block) -> str:
    return node if isinstance(node, str) else node.flat


class _Writer:
    def __init__(self, taken: set[str]) -> None:
        self._taken = taken
        self._dict_is_builtin = 'dict' not in taken
        self._float_is_builtin = 'float' not in taken
        self._imports: dict[tuple[str, str | None], str] = {}
        self._plain_imports: dict[str, None] = {}

    def assignment(self, key: Any, value: Any) -> str:
        if _is_argument_name(key):
            prefix = f'{key} = '
        else:
            prefix = f'globals()[{_text(key) if isinstance(key, str) else repr(key)}] = '
        out: list[str] = [prefix]
        _lay_out(self.render(value), 0, len(prefix), out)
        return ''.join(out)

    def imports(self) -> list[str]:
        lines = [f'import {module}' for module in self._plain_imports]
        for (module, name), bound in self._imports.items():
            if name is None:
                lines.append(f'import {module} as {bound}')
            else:
                lines.append(
                    f'from {module} import {name}' + (f' as {bound}' if bound != name else '')
                )
        return sorted(lines)

    def render(self, value: Any) -> str | _Block:
        kind = value.__class__
        if kind is str:
            return _text(value)
        if kind is int or kind is bool or value is None:
            return repr(value)
        if kind is float:
            return self._float(value)
        if isinstance(value, dict):
            return self._dict(value)
        if kind is list:
            return _Block('[', self._items(value), ']')
        if kind is tuple:
            return _Block('(', self._items(value), ')', ',' if len(value) == 1 else '')
        if kind is LazyObject or kind is LazyAttr:
            return self._lazy(value)
        return self._other(value)

    def _items(self, values: Iterable[Any]) -> list[tuple[str, Any]]:
        return [('', self.render(item)) for item in values]

    def _dict(self, value: dict[Any, Any]) -> str | _Block:
        pairs = dict.items(value)
        if self._dict_is_builtin and all(_is_argument_name(key) for key in value):
            return _Block('dict(', [(f'{key}=', self.render(item)) for key, item in pairs], ')')
        entries = [(f'{_flat(self.render(key))}: ', self.render(item)) for key, item in pairs]
        return _Block('{', entries, '}')

    def _float(self, value: float) -> str:
        if math.isfinite(value):
            return repr(value)
        if self._float_is_builtin:
            return f'float({str(value)!r})'
        return '1e999 - 1e999' if math.isnan(value) else '1e999' if value > 0 else '-1e999'

    def _lazy(self, value: LazyObject | LazyAttr) -> str:
        if isinstance(value, LazyAttr):
            return f'{self._lazy(value.source)}.{value.name}'
        if value._imported is not None:
            return self._import(value.module, value._imported)
        return self._module(value.module)

    def _other(self, value: Any) -> str | _Block:
        if isinstance(value, (type, FunctionType, BuiltinFunctionType)):
            return self._named(value)
        if isinstance(value, ModuleType):
            return (
                self._module(value.__name__)
                if sys.modules.get(value.__name__) is value
                else _text(str(value))
            )
        if isinstance(value, enum.Enum):
            owner = self._named(type(value))
            return (
                f'{owner}.{value.name}' if not owner.startswith(("'", '"')) else _text(str(value))
            )
        if isinstance(value, (set, frozenset)) and value:
            ordered = sorted(value, key=repr)
            is_set = isinstance(value, set)
            return _Block(
                '{' if is_set else 'frozenset({', self._items(ordered), '}' if is_set else '})'
            )
        if isinstance(value, _SELF_DESCRIBING):
            return repr(value)
        if isinstance(value, (list, tuple)):
            return self.render(list(value) if isinstance(value, list) else tuple(value))
        if isinstance(value, (str, PurePath)):
            return _text(str(value))
        if isinstance(value, (int, float)):
            return self.render(int(value) if isinstance(value, int) else float(value))
        if (
            type(value).__module__ == 'numpy'
            and hasattr(value, 'item')
            and not getattr(value, 'shape', ())
        ):
            return self.render(value.item())
        return self._by_own_name(value) or _text(repr(value))

    def _named(self, value: Any) -> str:
        """A class or function by its import path; a string when it has none."""
        module, path = public_module(value), value.__qualname__
        first, *rest = path.split('.')
        found = getattr(sys.modules.get(module), first, None)
        for part in rest:
            found = getattr(found, part, None)
        if not module or found is not value or module == '__main__':
            return _text(path)
        if module == 'builtins':
            return path if first not in self._taken else f'{self._module("builtins")}.{path}'
        return '.'.join([self._import(module, first), *rest])

    def _by_own_name(self, value: Any) -> str | None:
        """Objects such as ``torch.float16``, whose repr is the path at which they are found."""
        root, *rest = repr(value).split('.')
        found: Any = sys.modules.get(root)
        if not rest or found is None:
            return None
        for part in rest:
            found = getattr(found, part, None)
        return '.'.join([self._module(root), *rest]) if found is value else None

    def _import(self, module: str, name: str) -> str:
        return self._imports.setdefault((module, name), self._free_name(name, (module, name)))

    def _module(self, module: str) -> str:
        if '.' not in module and module not in self._taken:
            self._plain_imports[module] = None
            self._taken.add(module)
            return module
        if module in self._plain_imports:
            return module
        return self._imports.setdefault(
            (module, None), self._free_name(module.rpartition('.')[2], (module, None))
        )

    def _free_name(self, name: str, key: tuple[str, str | None]) -> str:
        if key in self._imports:
            return self._imports[key]
        candidate, number = name, 1
        while candidate in self._taken or hasattr(builtins, candidate):
            number += 1
            candidate = f'{name}_{number}'
        self._taken.add(candidate)
        return candidate


def _lay_out(node: str | _Block, indent: int, used: int, out: list[str]) -> None:
    """Append ``node`` to ``out``; ``used`` columns of its line are taken, a comma may follow."""
    if isinstance(node, str):
        out.append(node)
        return
    if used + len(node.flat) < LINE_LENGTH or not node.entries:
        out.append(node.flat)
        return
    inner = indent + INDENT
    margin = ' ' * inner
    out.append(f'{node.open}\n')
    if len(node.entries) >= _FILL_FROM and all(
        not p and e.__class__ is str for p, e in node.entries
    ):
        _fill([entry for _, entry in node.entries], margin, out)
    else:
        for prefix, entry in node.entries:
            out.append(f'{margin}{prefix}')
            _lay_out(entry, inner, inner + len(prefix), out)
            out.append(',\n')
    out.append(f'{" " * indent}{node.close}')


def _fill(words: list[str], margin: str, out: list[str]) -> None:
    line = margin
    for word in words:
        if line != margin and len(line) + len(word) + 2 > LINE_LENGTH:
            out.append(f'{line}\n')
            line = margin
        line += f'{word},' if line == margin else f' {word},'
    out.append(f'{line}\n')


def _text(value: str) -> str:
    written = repr(value)
    if '{{' not in written:
        return written
    # Split into two adjacent literals, which Python joins, so that loading does not fill in a
    # variable in braces.
    quote = written[0]
    while '{{' in written:
        written = written.replace('{{', f'{{{quote} {quote}{{')
    return written


def _is_argument_name(key: Any) -> bool:
    # Python normalises identifiers that are not ASCII (NFKC), so such a key could change.
    return (
        key.__class__ is str and key.isascii() and key.isidentifier() and not keyword.iskeyword(key)
    )


_SELF_DESCRIBING = (bytes, bytearray, complex, range, slice, set, frozenset, type(Ellipsis))
