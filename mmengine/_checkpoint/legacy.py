"""Read a checkpoint of any age without running code from it.

``torch.load(weights_only=True)`` refuses a file as soon as it names one class that torch does not know, and
checkpoints of earlier training engines name many: history buffers, config dicts, numpy scalars, enums. Here such
a file is opened by an unpickler that may build tensors, numpy values and plain containers; whatever else the file
names becomes an inert :class:`Opaque` that holds the pickled arguments and calls nothing.
"""

import pickle
import warnings
from collections import OrderedDict, defaultdict, deque
from collections.abc import Callable
from types import SimpleNamespace
from typing import IO, Any

import numpy as np
import torch

from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer

_BUILTINS = {
    'set': set, 'frozenset': frozenset, 'complex': complex, 'bytearray': bytearray, 'slice': slice,
    'int': int, 'float': float, 'bool': bool, 'str': str, 'bytes': bytes, 'list': list, 'dict': dict, 'tuple': tuple,
}  # fmt: skip
_ALLOWED: dict[tuple[str, str], Any] = {
    **{
        (module, name): kind
        for module in ('builtins', '__builtin__')
        for name, kind in _BUILTINS.items()
    },
    ('collections', 'OrderedDict'): OrderedDict,
    ('collections', 'defaultdict'): defaultdict,
    ('collections', 'deque'): deque,
    ('_codecs', 'encode'): lambda text, encoding='latin1': text.encode(encoding),
    ('numpy', 'ndarray'): np.ndarray,
    ('numpy', 'dtype'): np.dtype,
    ('torch', 'Size'): torch.Size,
    ('torch', 'device'): torch.device,
    ('torch.nn.parameter', 'Parameter'): torch.nn.Parameter,
}
_REBUILDERS = (
    '_rebuild_tensor', '_rebuild_tensor_v2', '_rebuild_parameter', '_rebuild_parameter_with_state',
    '_rebuild_sparse_tensor', '_rebuild_qtensor', '_rebuild_wrapper_subclass',
)  # fmt: skip


class Opaque:
    """Stands for an object of a class that is not rebuilt: keeps what the file says of it, does nothing."""

    qualified_name = 'object'

    def __new__(cls, *args: Any, **kwargs: Any) -> 'Opaque':
        self = super().__new__(cls)
        self.args, self.kwargs, self.state = args, kwargs, None
        return self

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def append(self, item: Any) -> None:
        """Pickle fills list subclasses through this."""

    def extend(self, items: Any) -> None:
        """Pickle fills list subclasses through this."""

    def __setitem__(self, key: Any, value: Any) -> None:
        """Pickle fills dict subclasses through this."""

    def __repr__(self) -> str:
        return f'<not rebuilt: {self.qualified_name}>'


class _PlainUnpickler(pickle.Unpickler):
    """Resolves a name to something harmless, always."""

    def find_class(self, module: str, name: str) -> Any:
        known = _ALLOWED.get((module, name)) or _resolve_family(module, name)
        if known is not None:
            return known
        return _opaque_class(f'{module}.{name}')


def load_without_running_code(file: IO[bytes], map_location: Any) -> Any:
    """Open a checkpoint whose pickle names classes beyond tensors and plain containers.

    Args:
        file: Seekable, at the start of the checkpoint.
        map_location: As in :func:`torch.load`.

    Returns:
        What was saved, with an :class:`Opaque` in place of each object that is not rebuilt.
    """
    pickle_module = SimpleNamespace(
        Unpickler=_PlainUnpickler,
        load=_plain_load,
        loads=_refuse,
        UnpicklingError=pickle.UnpicklingError,
    )
    with warnings.catch_warnings():
        # Old files hold TypedStorage; reading them is our aim, so the advice to stop using it helps nobody.
        warnings.filterwarnings('ignore', message='TypedStorage is deprecated')
        return torch.load(
            file, map_location=map_location, weights_only=False, pickle_module=pickle_module
        )


def _plain_load(file: IO[bytes], **kwargs: Any) -> Any:
    return _PlainUnpickler(file, **kwargs).load()


def _refuse(*args: Any, **kwargs: Any) -> Any:
    raise pickle.UnpicklingError('A checkpoint is read from a file, not from nested pickles.')


def _resolve_family(module: str, name: str) -> Any:
    """Names that come in families: storages, dtypes, numpy scalars, our own value classes."""
    if module == 'torch._utils' and name in _REBUILDERS:
        return getattr(torch._utils, name, None)
    if module == 'torch._tensor' and name == '_rebuild_from_type_v2':
        return _rebuild_plain_tensor
    if module in ('torch', 'torch.cuda', 'torch.storage') and name.endswith('Storage'):
        return getattr(torch.storage if module == 'torch.storage' else torch, name, None)
    if module == 'torch' and isinstance(getattr(torch, name, None), torch.dtype):
        return getattr(torch, name)
    if module in ('numpy.core.multiarray', 'numpy._core.multiarray'):
        return {'_reconstruct': _empty_array, 'scalar': _numpy_scalar}.get(name)
    if module == 'numpy' and _is_scalar_type(getattr(np, name, None)):
        return getattr(np, name)
    if name == 'HistoryBuffer':
        return HistoryBuffer
    if name == 'ConfigDict':
        return ConfigDict
    return None


def _rebuild_plain_tensor(
    func: Callable[..., Any], kind: type, args: tuple[Any, ...], state: Any
) -> Any:
    return func(*args)


def _empty_array(kind: type, shape: tuple[int, ...], dtype: Any) -> Any:
    return np.ndarray.__new__(np.ndarray, shape, dtype)


def _numpy_scalar(dtype: 'np.dtype[Any]', data: bytes = b'') -> Any:
    if dtype.hasobject:
        raise pickle.UnpicklingError('A numpy scalar that holds Python objects is not rebuilt.')
    return np.frombuffer(data, dtype=dtype, count=1)[0]


def _is_scalar_type(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, np.generic) and kind is not np.object_


_opaque_classes: dict[str, type[Opaque]] = {}


def _opaque_class(qualified_name: str) -> type[Opaque]:
    if qualified_name not in _opaque_classes:
        _opaque_classes[qualified_name] = type(
            'Opaque', (Opaque,), {'qualified_name': qualified_name}
        )
    return _opaque_classes[qualified_name]
