"""Read a checkpoint of any age without running code from it.

``torch.load(weights_only=True)`` refuses a file that names a single class unknown to torch, and
checkpoints of earlier training engines name many: history buffers, config dicts, numpy
values, enums. This module has an unpickler that builds tensors and plain containers, and an inert
:class:`Opaque` record for any other object. Then the few types in ``_REBUILDERS`` are rebuilt from
these records alone.
"""

import math
import pickle
import warnings
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import IO, Any

import numpy as np
import torch

from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer

# Immutable types, so that a file cannot change them.
_CONTAINERS: dict[tuple[str, str], Any] = {
    **{
        (module, kind.__name__): kind
        for module in ('builtins', '__builtin__')
        for kind in (
            set, frozenset, bytearray, slice, list, dict, tuple,
            complex, int, float, bool, str, bytes,
        )
    },
    ('collections', 'OrderedDict'): OrderedDict,
    ('collections', 'defaultdict'): defaultdict,
    ('collections', 'deque'): deque,
    ('torch', 'Size'): torch.Size,
    ('torch', 'device'): torch.device,
}  # fmt: skip
_TENSOR_FUNCTIONS = (
    '_rebuild_tensor', '_rebuild_tensor_v2', '_rebuild_parameter', '_rebuild_parameter_with_state',
    '_rebuild_sparse_tensor', '_rebuild_qtensor',
)  # fmt: skip
_ARRAY_KINDS = 'biufcSU'
_Rebuild = Callable[[Any], Any]
# Errors that reading a broken or hostile file can raise.
READ_ERRORS = (
    pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError, TypeError, LookupError,
    AttributeError, ArithmeticError, AssertionError, MemoryError,
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

    def __new__(cls, *args: Any, **kwargs: Any) -> 'Opaque':
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


def load_without_running_code(file: IO[bytes], map_location: Any) -> tuple[Any, set[str]]:
    """Read a checkpoint that contains classes other than tensors and plain containers.

    Args:
        file: Seekable, at the start of the checkpoint.
        map_location: As in :func:`torch.load`.

    Returns:
        The saved object, and the names of the objects in it that are still an :class:`Opaque`.
    """
    pickle_module = SimpleNamespace(
        __name__='pickle',
        Unpickler=_RecordingUnpickler,
        load=lambda opened, **options: _RecordingUnpickler(opened, **options).load(),
        UnpicklingError=pickle.UnpicklingError,
    )
    with warnings.catch_warnings():
        # Old files contain TypedStorage and sources of layers, which the reader cannot change.
        warnings.simplefilter('ignore')
        recorded = torch.load(
            file, map_location=map_location, weights_only=False, pickle_module=pickle_module
        )
    rebuilder = _Rebuilder()
    return rebuilder.rebuild(recorded), rebuilder.left_out


class _RecordingUnpickler(pickle.Unpickler):
    """Resolves a name to a plain container, a function that builds tensors, or a record."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._records: dict[str, type[Opaque]] = {}

    def find_class(self, module: str, name: str) -> Any:
        known = _CONTAINERS.get((module, name))
        return known if known is not None else self._tensor_part(module, name)

    def _tensor_part(self, module: str, name: str) -> Any:
        # A new partial for each name, because pickle can set its attributes.
        if module == 'torch._utils' and name in _TENSOR_FUNCTIONS:
            return partial(getattr(torch._utils, name))
        if module == 'torch._tensor' and name == '_rebuild_from_type_v2':
            return partial(_rebuild_without_type)
        if module == 'torch.serialization' and name == '_get_layout':
            return partial(torch.serialization._get_layout)
        if module == 'torch':
            constant = getattr(torch, name, None)
            if isinstance(constant, (torch.dtype, torch.qscheme, torch.layout)):
                return constant
        return self._record(f'{module}.{name}')

    def _record(self, qualified_name: str) -> type[Opaque]:
        if qualified_name not in self._records:
            body = {'qualified_name': qualified_name}
            self._records[qualified_name] = type('Opaque', (Opaque,), body)
        return self._records[qualified_name]


class _Rebuilder:
    """Replaces the records in the loaded objects by rebuilt objects; containers stay the same."""

    def __init__(self) -> None:
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
        make = _REBUILDERS.get(record.qualified_name) or _REBUILDERS.get(
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


def _rebuild_without_type(
    function: Callable[..., Any], kind: Any, args: tuple[Any, ...], state: Any
) -> Any:
    """Rebuild a tensor of a subclass as a plain tensor."""
    return function(*args)


def _as_dtype(record: Opaque, rebuild: _Rebuild) -> 'np.dtype[Any]':
    order: Any = record.state[1] if isinstance(record.state, tuple) else '='
    dtype: np.dtype[Any] = np.dtype(str(record.args[0])).newbyteorder(order)
    # A structured dtype could contain pointers, whose values would be read from the file.
    if dtype.kind not in _ARRAY_KINDS + 'O':
        raise pickle.UnpicklingError(f'Arrays of {dtype} are not rebuilt.')
    return dtype


def _as_array(record: Opaque, rebuild: _Rebuild) -> Any:
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


def _as_scalar(record: Opaque, rebuild: _Rebuild) -> Any:
    dtype, data = (rebuild(part) for part in record.args)
    if dtype.hasobject:
        raise pickle.UnpicklingError('A numpy scalar with a Python object is not rebuilt.')
    return np.frombuffer(data, dtype=dtype, count=1)[0]


def _as_bytes(record: Opaque, rebuild: _Rebuild) -> bytes:
    return str(record.args[0]).encode('latin1')


def _as_counter(record: Opaque, rebuild: _Rebuild) -> 'Counter[Any]':
    return Counter(*(rebuild(part) for part in record.args))


def _as_history(record: Opaque, rebuild: _Rebuild) -> HistoryBuffer:
    buffer = HistoryBuffer.__new__(HistoryBuffer)
    keys = ('_log_history', '_count_history', 'max_length')
    # Old buffers also contain their methods, which are not read.
    buffer.__setstate__({key: rebuild(record.state[key]) for key in keys})
    return buffer


def _as_config(record: Opaque, rebuild: _Rebuild) -> ConfigDict:
    entries: dict[Any, Any] = {}
    for source in (*record.args, record.state, record.entries):
        if isinstance(source, Mapping):
            entries.update(rebuild(source))
    return ConfigDict(entries)


def _as_path(record: Opaque, rebuild: _Rebuild) -> str:
    return '/'.join(str(part) for part in record.args).replace('//', '/')


# By full name, or by class name only for classes that were in several modules over the years.
_REBUILDERS: dict[str, Callable[[Opaque, _Rebuild], Any]] = {
    'numpy.dtype': _as_dtype,
    'numpy.core.multiarray._reconstruct': _as_array,
    'numpy._core.multiarray._reconstruct': _as_array,
    'numpy.core.multiarray.scalar': _as_scalar,
    'numpy._core.multiarray.scalar': _as_scalar,
    '_codecs.encode': _as_bytes,
    'collections.Counter': _as_counter,
    'pathlib.PosixPath': _as_path,
    'pathlib.Path': _as_path,
    'HistoryBuffer': _as_history,
    'ConfigDict': _as_config,
    'mmengine.config.config_dict._restore': _as_config,
}
