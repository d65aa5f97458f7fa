"""Which words the code of a dataset mentions, also code that it calls: does it ask for its rank?"""

from __future__ import annotations

import functools
import sys
import types
from collections.abc import Iterator
from typing import Any

from torch.utils.data import IterableDataset

# Code of these packages divides nothing by itself.
_LIBRARIES = frozenset({'torch', 'numpy', 'mmengine', *sys.stdlib_module_names}) - {'__main__'}
_MAX_CODES = 2000


def words_of(stream: Any, *functions: Any) -> set[str] | None:
    """Names and strings in the code of ``stream``, of its parts and of ``functions``.

    Follows what that code names: functions and classes of its modules, except classes and functions
    of libraries, and the attributes of the objects.

    Returns:
        None if the code of its ``__iter__`` cannot be read.
    """
    own = [cls for cls in type(stream).__mro__ if '__iter__' in vars(cls)]
    if not own or not isinstance(vars(own[0])['__iter__'], types.FunctionType):
        return None
    walk = _Walk()
    walk.pending += [stream, *functions]
    walk.run()
    return walk.words


class _Walk:
    def __init__(self) -> None:
        self.words: set[str] = set()
        self.pending: list[Any] = []
        self._seen: set[int] = set()
        self._kept: list[Any] = []  # so that no other object gets the id of one that was seen

    def run(self) -> None:
        while self.pending and len(self._seen) < _MAX_CODES:
            part = self.pending.pop()
            if id(part) in self._seen:
                continue
            self._seen.add(id(part))
            self._kept.append(part)
            self._visit(part)

    def _visit(self, part: Any) -> None:
        if isinstance(part, types.FunctionType):
            self._add_code(part.__code__, part)
            self.pending += [cell.cell_contents for cell in part.__closure__ or () if _is_set(cell)]
        elif isinstance(part, types.MethodType):
            self.pending += [part.__func__, part.__self__]
        elif isinstance(part, functools.partial):
            self.pending += [part.func, *part.args, *part.keywords.values()]
        elif isinstance(part, (staticmethod, classmethod)):
            self.pending.append(part.__func__)
        elif isinstance(part, property):
            self.pending += [part.fget]
        elif isinstance(part, type):
            for cls in _own_classes(part):
                self.pending += vars(cls).values()
        elif isinstance(part, (list, tuple)):
            self.pending += part[:100]
        elif not isinstance(part, types.ModuleType) and any(_own_classes(type(part))):
            self.pending += [type(part), *getattr(part, '__dict__', {}).values()]

    def _add_code(self, code: types.CodeType, function: types.FunctionType) -> None:
        # A default argument may be a rank too.
        self.words.update(code.co_names, code.co_varnames, code.co_freevars)
        for constant in code.co_consts:
            if isinstance(constant, str):
                self.words.add(constant)
            elif isinstance(constant, types.CodeType):
                self._add_code(constant, function)
        known = function.__globals__
        self.pending += [
            known[name] for name in code.co_names if name in known and _is_own(known[name])
        ]


def _own_classes(kind: type) -> Iterator[type]:
    """The classes of ``kind`` that are not of a library."""
    return (cls for cls in kind.__mro__ if cls is not IterableDataset and _is_own(cls))


def _is_own(part: Any) -> bool:
    is_code = isinstance(part, (types.FunctionType, type))
    return is_code and (part.__module__ or '').partition('.')[0] not in _LIBRARIES


def _is_set(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018  # raises while the variable has no value
    except ValueError:
        return False
    return True
