"""Read a checkpoint of any age without running code from it.

``torch.load(weights_only=True)`` refuses a file that names a single class unknown to torch, and
checkpoints of earlier training engines name many: history buffers, config dicts, numpy
values, enums. The reader here adds tensors and these classes to the plain values of
:mod:`mmengine.utils._plain_pickle`.
"""

import pickle
import warnings
from collections.abc import Callable, Mapping
from functools import partial
from types import SimpleNamespace
from typing import IO, Any

import torch

from mmengine.config import ConfigDict
from mmengine.logging import HistoryBuffer
from mmengine.utils._plain_pickle import (
    READ_ERRORS,
    REBUILDERS,
    Opaque,
    Rebuild,
    Rebuilder,
    RecordingUnpickler,
)

__all__ = ['READ_ERRORS', 'Opaque', 'load_without_running_code']

_TENSOR_FUNCTIONS = (
    '_rebuild_tensor', '_rebuild_tensor_v2', '_rebuild_parameter', '_rebuild_parameter_with_state',
    '_rebuild_sparse_tensor', '_rebuild_qtensor',
)  # fmt: skip


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
        Unpickler=_TensorUnpickler,
        load=lambda opened, **options: _TensorUnpickler(opened, **options).load(),
        UnpicklingError=pickle.UnpicklingError,
    )
    with warnings.catch_warnings():
        # Old files contain TypedStorage and sources of layers, which the reader cannot change.
        warnings.simplefilter('ignore')
        recorded = torch.load(
            file, map_location=map_location, weights_only=False, pickle_module=pickle_module
        )
    rebuilder = Rebuilder(_REBUILDERS)
    return rebuilder.rebuild(recorded), rebuilder.left_out


class _TensorUnpickler(RecordingUnpickler):
    """Also resolves the names of functions that build tensors."""

    def find_class(self, module: str, name: str) -> Any:
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
            if name in ('Size', 'device'):
                return constant
        return super().find_class(module, name)


def _rebuild_without_type(
    function: Callable[..., Any], kind: Any, args: tuple[Any, ...], state: Any
) -> Any:
    """Rebuild a tensor of a subclass as a plain tensor."""
    return function(*args)


def _as_history(record: Opaque, rebuild: Rebuild) -> HistoryBuffer:
    buffer = HistoryBuffer.__new__(HistoryBuffer)
    keys = ('_log_history', '_count_history', 'max_length')
    # Old buffers also contain their methods, which are not read.
    buffer.__setstate__({key: rebuild(record.state[key]) for key in keys})
    return buffer


def _as_config(record: Opaque, rebuild: Rebuild) -> ConfigDict:
    entries: dict[Any, Any] = {}
    for source in (*record.args, record.state, record.entries):
        if isinstance(source, Mapping):
            entries.update(rebuild(source))
    return ConfigDict(entries)


_REBUILDERS: dict[str, Callable[[Opaque, Rebuild], Any]] = {
    **REBUILDERS,
    'HistoryBuffer': _as_history,
    'ConfigDict': _as_config,
    'mmengine.config.config_dict._restore': _as_config,
}
