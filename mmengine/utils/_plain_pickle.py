"""Read a pickle without running code from it, and without giving it more memory than it has bytes.

:func:`read_plain_pickle` builds plain containers, and an inert :class:`Opaque` record for any other
object. Then the few types in ``REBUILDERS``, numpy's among them, are rebuilt from these records
alone. The unpickler is the one of the standard library that is written in Python: the one in C
reserves memory for any size or index that the file states, so that 60 bytes ask for gigabytes.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import PurePath, PurePosixPath, PureWindowsPath
from typing import IO, Any

import numpy as np

# Immutable types, so that a file cannot change them.
_CONTAINERS: dict[str, Any] = {
    **{
        f'{module}.{kind.__name__}': kind
        for module in ('builtins', '__builtin__')
        for kind in (set, frozenset, slice, list, dict, tuple, complex, int, float, bool, str)
    },
    'collections.OrderedDict': OrderedDict,
    'collections.defaultdict': defaultdict,
    'collections.deque': deque,
}
_ARRAY_KINDS = 'biufcSU'
Rebuild = Callable[[Any], Any]
# Errors that reading a broken or hostile file can raise.
READ_ERRORS = (
    pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, TypeError, LookupError,
    AttributeError, ArithmeticError, AssertionError, MemoryError, struct.error,
)  # fmt: skip


class Opaque:
    """A record of an object in a file that is not rebuilt; it has no behaviour.

    Pickle can set attributes of any object or class in a file, unless there is a
    ``__setstate__``. This ``__setstate__`` works for objects, and fails if called with the class.

    Attributes:
        qualified_name: Module and name of the object's class, or of the function that made it.
        args: Positional arguments of that call.
        state: The argument of the object's ``__setstate__``, or the content of its ``__dict__``.
        items: Appended items, for a type of list.
        entries: Items set by key, for a type of dict.
    """

    qualified_name = 'object'
    args: tuple[Any, ...]
    state: Any
    items: list[Any]
    entries: dict[Any, Any]

    def __new__(cls, *args: Any, **kwargs: Any) -> Opaque:
        self = super().__new__(cls)
        self.args, self.state, self.items, self.entries = args, None, [], {}
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, item: Any) -> None:
        """Called by pickle to fill a list."""
        self.items.append(item)

    def extend(self, items: Any) -> None:
        """Called by pickle to fill a list."""
        self.items.extend(items)

    def __setitem__(self, key: Any, value: Any) -> None:
        self.entries[key] = value

    def __repr__(self) -> str:
        return f'<not rebuilt: {self.qualified_name}>'


def read_plain_pickle(file: IO[bytes]) -> tuple[Any, set[str]]:
    """Read a pickle of plain values.

    Args:
        file: Seekable, at the start of the pickle.

    Returns:
        The saved object, and the names of the objects in it that are still an :class:`Opaque`.

    Raises:
        READ_ERRORS: If the file is broken, or asks for more than it has.
    """
    rebuilder = Rebuilder(REBUILDERS)
    return rebuilder.rebuild(RecordingUnpickler(file).load()), rebuilder.left_out


class _Bounded:
    """A file that refuses to read more than it has, before anybody reserves memory for it."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        here = file.tell()
        self.size = file.seek(0, io.SEEK_END)
        file.seek(here)
        self.readline = file.readline

    def read(self, size: int) -> bytes:
        _check_size(size, self.size - self._file.tell())
        return self._file.read(size)


def _check_size(stated: int, present: int) -> None:
    if stated > present:
        raise pickle.UnpicklingError(f'The pickle states {stated:,} bytes, which it lacks.')


class RecordingUnpickler(pickle._Unpickler):
    """Resolves a name to a plain container or a record."""

    dispatch = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: IO[bytes], **kwargs: Any) -> None:
        self._bounded = _Bounded(file)
        super().__init__(self._bounded, **kwargs)
        self._records: dict[str, type[Opaque]] = {}

    def find_class(self, module: str, name: str) -> Any:
        known = _CONTAINERS.get(f'{module}.{name}')
        if known is not None:
            return known
        # A new partial for each name, because pickle can set its attributes.
        if module in ('builtins', '__builtin__') and name in ('bytes', 'bytearray'):
            return partial(_bytes_of, bytes if name == 'bytes' else bytearray)
        if (module, name) == ('_codecs', 'encode'):  # how old protocols write bytes
            return partial(_encoded)
        return self.record(f'{module}.{name}')

    def record(self, qualified_name: str) -> type[Opaque]:
        """The class of the records of one class or function."""
        if qualified_name not in self._records:
            body = {'qualified_name': qualified_name}
            self._records[qualified_name] = type('Opaque', (Opaque,), body)
        return self._records[qualified_name]

    def load_bytearray8(self) -> None:
        """Check the stated size first; the base class makes an array of it first."""
        (size,) = struct.unpack('<Q', self.read(8))  # type: ignore[attr-defined]  # set by load
        _check_size(size, self._bounded.size)
        self.append(bytearray(self.read(size)))  # type: ignore[attr-defined]  # set by load

    dispatch[pickle.BYTEARRAY8[0]] = load_bytearray8  # type: ignore[assignment]  # for this class


def _bytes_of(kind: type, *args: Any) -> Any:
    """Bytes of a text or a list of numbers; a number would be a length, of any size."""
    if args and isinstance(args[0], int):
        raise pickle.UnpicklingError('Bytes made from a length are not rebuilt.')
    return kind(*args)


def _encoded(text: Any, encoding: Any = 'latin1') -> bytes:
    if not isinstance(text, str) or encoding not in ('latin1', 'latin-1', 'utf-8', 'ascii'):
        raise pickle.UnpicklingError(f'Bytes in the encoding {encoding!r} are not rebuilt.')
    return text.encode(encoding)


class Rebuilder:
    """Replaces the records in the loaded objects by rebuilt objects; containers stay the same."""

    def __init__(self, rebuilders: Mapping[str, Callable[[Opaque, Rebuild], Any]]) -> None:
        self._rebuilders = rebuilders
        self.left_out: set[str] = set()
        self._walked: dict[int, Any] = {}
        self._kept: list[Any] = []  # Python reuses the id of a deleted object

    def rebuild(self, value: Any) -> Any:
        if isinstance(value, type) and issubclass(value, Opaque):
            self.left_out.add(value.qualified_name)
            return value
        if not isinstance(value, (dict, list, tuple, set, frozenset, deque, Opaque)):
            return value
        if id(value) in self._walked:
            return self._walked[id(value)]
        self._kept.append(value)
        # An object that contains itself finds its entry here.
        self._walked[id(value)] = value
        result = self._walked[id(value)] = self._rebuild_parts(value)
        return result

    def _rebuild_parts(self, value: Any) -> Any:
        if isinstance(value, dict):
            for key, entry in list(value.items()):
                new_key, new_entry = self.rebuild(key), self.rebuild(entry)
                if new_key is not key:
                    del value[key]
                if new_key is not key or new_entry is not entry:
                    value[new_key] = new_entry
            return value
        if isinstance(value, (list, deque)):
            for index, item in enumerate(value):
                value[index] = self.rebuild(item)
            return value
        if isinstance(value, Opaque):
            return self._rebuild_record(value)
        parts = [self.rebuild(item) for item in value]
        if all(new is old for new, old in zip(parts, value, strict=True)):
            return value
        return type(value)(parts)

    def _rebuild_record(self, record: Opaque) -> Any:
        make = self._rebuilders.get(record.qualified_name) or self._rebuilders.get(
            record.qualified_name.rpartition('.')[2]
        )
        if make is not None:
            return make(record, self.rebuild)
        # Keep the content of lists and dicts of unknown types.
        if record.entries and not record.items:
            return self.rebuild(record.entries)
        if record.items and not record.entries:
            return self.rebuild(record.items)
        self.left_out.add(record.qualified_name)
        return record


def _as_dtype(record: Opaque, rebuild: Rebuild) -> np.dtype[Any]:
    order: Any = record.state[1] if isinstance(record.state, tuple) else '='
    dtype: np.dtype[Any] = np.dtype(str(record.args[0])).newbyteorder(order)
    # A structured dtype could contain pointers, whose values would be read from the file.
    if dtype.kind not in _ARRAY_KINDS + 'O':
        raise pickle.UnpicklingError(f'Arrays of {dtype} are not rebuilt.')
    return dtype


def _as_array(record: Opaque, rebuild: Rebuild) -> Any:
    _, shape, dtype, is_fortran, data = (rebuild(part) for part in record.state)
    shape = tuple(int(length) for length in shape)
    order: Any = 'F' if is_fortran else 'C'
    if isinstance(data, list):
        items = np.empty(len(data), dtype=object)
        items[:] = data
        return items.reshape(shape, order=order)
    if dtype.hasobject or len(data) != math.prod(shape) * dtype.itemsize:
        raise pickle.UnpicklingError(f'The data of an array is not of {dtype} and shape {shape}.')
    flat = np.frombuffer(bytearray(data), dtype=dtype)
    return flat.reshape(shape, order=order)


def _as_scalar(record: Opaque, rebuild: Rebuild) -> Any:
    dtype, data = (rebuild(part) for part in record.args)
    if dtype.hasobject:
        raise pickle.UnpicklingError('A numpy scalar with a Python object is not rebuilt.')
    return np.frombuffer(data, dtype=dtype, count=1)[0]


def _as_array_of_buffer(record: Opaque, rebuild: Rebuild) -> Any:
    data, dtype, shape, order = (rebuild(part) for part in record.args)
    if dtype.hasobject:
        raise pickle.UnpicklingError('An array of Python objects is not rebuilt from bytes.')
    return np.frombuffer(bytearray(data), dtype=dtype).reshape(shape, order=order)


def _as_counter(record: Opaque, rebuild: Rebuild) -> Counter[Any]:
    return Counter(*(rebuild(part) for part in record.args))


def _as_path(pure: type[PurePath], record: Opaque, rebuild: Rebuild) -> str:
    """The text of a path; a pure path has no methods that reach the disk."""
    return str(pure(*(str(part) for part in record.args)))


# Python 3.13 pickles paths as classes of pathlib._local, and earlier and later ones of pathlib.
_PATHS: dict[str, Callable[[Opaque, Rebuild], Any]] = {
    f'{module}.{name}': partial(_as_path, pure)
    for module in ('pathlib', 'pathlib._local')
    for pure, names in (
        (PurePosixPath, ('Path', 'PurePath', 'PosixPath', 'PurePosixPath')),
        (PureWindowsPath, ('WindowsPath', 'PureWindowsPath')),
    )
    for name in names
}
# By full name, or by class name only for classes that were in several modules over the years.
REBUILDERS: dict[str, Callable[[Opaque, Rebuild], Any]] = {
    'numpy.dtype': _as_dtype,
    'numpy.core.multiarray._reconstruct': _as_array,
    'numpy._core.multiarray._reconstruct': _as_array,
    'numpy.core.multiarray.scalar': _as_scalar,
    'numpy._core.multiarray.scalar': _as_scalar,
    'numpy.core.numeric._frombuffer': _as_array_of_buffer,
    'numpy._core.numeric._frombuffer': _as_array_of_buffer,
    'collections.Counter': _as_counter,
    **_PATHS,
}
