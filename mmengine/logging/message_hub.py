"""Scalar histories and information of a run, by name."""

from __future__ import annotations

import copy
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from operator import attrgetter
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmengine.logging._engine_names import engine_name
from mmengine.logging._pending import read_pending
from mmengine.logging.history_buffer import NUM_KEPT, HistoryBuffer
from mmengine.logging.logger import print_log
from mmengine.utils._plain import plain
from mmengine.utils.errors import ArgumentError, did_you_mean
from mmengine.utils.manager import ManagerMixin

_STATE_KEYS = ('log_scalars', 'runtime_info', 'resumed_keys')
# An array in the state dict is a tensor under this key, so that it comes back as an array.
_ARRAY_TAG = '__ndarray__'
_ENGINE_KEYS = 'engine_keys'


class MessageHub(ManagerMixin):
    """Scalars and information that the parts of a run share with each other and with the logs.

    A *scalar* is a number over time (``train/loss``) and gets a :class:`HistoryBuffer`; an *info*
    is one current value (``iter``). The first update of a key decides whether checkpoints save it
    (``resumed``).

    Other threads may update and read scalars and infos during a training. A thread that iterates
    over ``log_scalars`` or ``runtime_info`` iterates over a copy, such as ``log_scalars.copy()``.

    Args:
        name: Name of the instance; see ``get_instance``.
        log_scalars: Histories to begin with.
        runtime_info: Information to begin with.
        resumed_keys: For keys of those two, whether a checkpoint saves them.

    Raises:
        ArgumentError: If a value of ``log_scalars`` is not a ``HistoryBuffer``, or ``resumed_keys``
            names a key that is in neither of the other two.

    Example:
        >>> hub = MessageHub.get_instance('doc')
        >>> hub.update_scalar('train/loss', 0.5)
        >>> hub.update_info('iter', 1)
        >>> float(hub.get_scalar('train/loss').current()), hub.get_info('iter')
        (0.5, 1)
    """

    _is_of_run = True

    def __init__(
        self,
        name: str,
        log_scalars: Mapping[str, HistoryBuffer] | None = None,
        runtime_info: Mapping[str, Any] | None = None,
        resumed_keys: Mapping[str, bool] | None = None,
    ) -> None:
        super().__init__(name)
        self._log_scalars: OrderedDict[str, HistoryBuffer] = OrderedDict(log_scalars or {})
        self._runtime_info: OrderedDict[str, Any] = OrderedDict(runtime_info or {})
        self._resumed_keys: OrderedDict[str, bool] = OrderedDict(resumed_keys or {})
        self._keys_of_this_start: set[str] = set()
        #: Where scalars of the engine are, if the user has a scalar of their usual name.
        self.engine_keys: dict[str, str] = {}
        self._of_engine: set[str] = set()
        #: Scalars that training steps returned, by which a loss differs from a value of a hook.
        self.step_keys: set[str] = set()
        #: Whether each value of the engine goes through ``update_scalar``; see `follow_override`.
        self.is_overridden = False
        # Values to keep, by key; None is for all keys.
        self._num_kept: dict[str | None, int] = {None: NUM_KEPT}
        for key, buffer in self._log_scalars.items():
            if not isinstance(buffer, HistoryBuffer):
                raise ArgumentError(
                    f'log_scalars[{key!r}] must be a HistoryBuffer, got {type(buffer).__name__}.'
                )
        for key in self._resumed_keys:
            if key not in self._log_scalars and key not in self._runtime_info:
                raise ArgumentError(
                    f'resumed_keys names {key!r}, '
                    'which is neither in log_scalars nor in runtime_info.'
                )

    @classmethod
    def get_current_instance(cls) -> MessageHub:
        """The hub created last; one named ``mmengine`` if there is none yet."""
        if not cls._instance_dict:
            cls.get_instance('mmengine')
        return super().get_current_instance()

    def update_scalar(
        self, key: str, value: float | Tensor, count: int = 1, resumed: bool = True
    ) -> None:
        """Append a value to the history of ``key``.

        Args:
            key: Name of the scalar, as in ``train/loss``.
            value: A number, or a tensor or array of one element. A tensor is detached and left
                unread on its device.
            count: The number of samples of the value.
            resumed: Whether checkpoints save this scalar; the same in every update of the key.

        Raises:
            TypeError: If the value is not a number.
            ArgumentError: If a tensor does not have exactly one element, or ``resumed`` differs
                from earlier updates.
        """
        if key in self._of_engine:
            self.claim(key)
        buffer = self._log_scalars.get(key)
        if buffer is None or self._resumed_keys.get(key) is not resumed:
            self._check_resumed(key, resumed)
            if buffer is None:
                # The key appears only when its first value is accepted.
                new = HistoryBuffer().bound(self._num_kept_of(key))
                new.update(value, count)
                buffer = self._log_scalars.setdefault(key, new)
                if buffer is new:
                    return  # otherwise another thread was faster
        buffer.update(value, count)

    def append_number(self, key: str, value: float) -> None:
        """:meth:`record` of a Python number, at the price of a list append.

        Nothing is checked, and pending values are bounded only by reads. For updates in every step.
        """
        key = self.engine_keys.get(key, key)
        buffer = self._log_scalars.get(key)
        if buffer is None or key not in self._of_engine or self.is_overridden:
            self.record(key, value)
        else:
            buffer.append(value)

    def follow_override(self) -> None:
        """Look whether :meth:`update_scalar` was overridden or replaced, also in this instance.

        The engine appends to known histories directly, unless it was. Called when a run begins.
        """
        own = getattr(self.update_scalar, '__func__', None)
        self.is_overridden = own is not _UPDATE_SCALAR

    def keep_values(self, num_kept: int, key: str | None = None) -> None:
        """Keep at least the latest ``num_kept`` values of ``key``, or of all scalars."""
        self._num_kept[key] = max(num_kept, self._num_kept.get(key, 0))
        for name, buffer in self._log_scalars.copy().items():
            if key in (None, name) and buffer._num_kept is not None:
                buffer.bound(self._num_kept_of(name))

    def record(self, key: str, value: float | Tensor) -> None:
        """:meth:`update_scalar` for a value of the engine.

        If the user has a scalar of this name, the value is in another one; see :meth:`claim`.
        """
        key = self.engine_keys.get(key, key)
        self._of_engine.discard(key)
        self.update_scalar(key, value)
        if '/' in key:  # Values of the engine belong to a mode, as in `train/time`.
            self._of_engine.add(key)

    def claim(self, key: str) -> None:
        """Let ``key`` be the name of a scalar of the user, and rename the scalar of the engine.

        The values so far belong to the engine: they move to the new name, ``train/engine_time`` for
        ``train/time``. A warning names both.
        """
        if key in self.engine_keys:
            return
        self._of_engine.discard(key)
        new = self.engine_keys[key] = engine_name(key)
        self.update_info(_ENGINE_KEYS, dict(self.engine_keys))
        if key in self._log_scalars:
            self._log_scalars[new] = self._log_scalars.pop(key)
            self._resumed_keys[new] = self._resumed_keys.pop(key)
        _warn(
            f'A log value of the engine and one of yours have the name {key!r}. Your value '
            f'keeps the name; the value of the engine is logged as {new!r}.'
        )

    def update_scalars(self, log_dict: Mapping[str, Any], resumed: bool = True) -> None:
        """Append to several histories: ``{key: value}``, or ``{key: dict(value=..., count=...)}``.

        Raises:
            ArgumentError: If ``log_dict`` is not a dict, or a dict in it has no ``value``.
        """
        _check_mapping(log_dict, 'log_dict')
        for key, entry in log_dict.items():
            if isinstance(entry, Mapping):
                if 'value' not in entry:
                    raise ArgumentError(
                        f"The entry of {key!r} needs a 'value', "
                        f'got only the keys {sorted(map(str, entry))}.'
                    )
                self.update_scalar(key, entry['value'], entry.get('count', 1), resumed)
            else:
                self.update_scalar(key, entry, 1, resumed)

    def update_info(self, key: str, value: Any, resumed: bool = True) -> None:
        """Set the information ``key``, replacing what it was.

        Raises:
            ArgumentError: If ``resumed`` differs from earlier updates of the key.
        """
        if self._resumed_keys.get(key) is not resumed:
            self._check_resumed(key, resumed)
        self._runtime_info[key] = value

    def pop_info(self, key: str, default: Any = None) -> Any:
        """Remove the information ``key`` and return it; ``default`` when there is none."""
        return self._runtime_info.pop(key, default)

    def update_info_dict(self, info_dict: Mapping[str, Any], resumed: bool = True) -> None:
        """Set several pieces of information.

        Raises:
            ArgumentError: If ``info_dict`` is not a dict.
        """
        _check_mapping(info_dict, 'info_dict')
        for key, value in info_dict.items():
            self.update_info(key, value, resumed)

    def keep_on_load(self, *keys: str) -> None:
        """Declare information that describes this start of the run, not the run as a whole.

        Checkpoints hold it like any other, but :meth:`load_state_dict` does not restore it: after
        a resume it still describes the process that resumed.
        """
        self._keys_of_this_start.update(keys)

    # Read in every step: `attrgetter` needs no Python frame.
    log_scalars: OrderedDict[str, HistoryBuffer] = property(  # type: ignore[assignment]
        attrgetter('_log_scalars'), doc='All histories by name.'
    )
    runtime_info: OrderedDict[str, Any] = property(  # type: ignore[assignment]
        attrgetter('_runtime_info'), doc='All information by name.'
    )

    def get_scalar(self, key: str) -> HistoryBuffer:
        """The history of ``key``.

        Raises:
            KeyError: If nothing was logged under that name.
        """
        try:
            return self._log_scalars[key]
        except KeyError:
            raise KeyError(
                f'MessageHub {self.instance_name!r} has no scalar {key!r}.'
                f'{did_you_mean(str(key), map(str, self._log_scalars))}'
            ) from None

    def get_info(self, key: str, default: Any = None) -> Any:
        """The information ``key`` itself, not a copy; ``default`` when there is none."""
        return self._runtime_info.get(key, default)

    def read_scalars(self, keys: Iterable[str] | None = None) -> None:
        """Read the pending tensors of all scalars, or of ``keys``, in one transfer.

        Statistics read afterwards need no further transfer.
        """
        # A copy, in one step of the interpreter: other threads may add keys.
        scalars = self._log_scalars.copy()
        read_pending(scalars.values() if keys is None else [self.get_scalar(key) for key in keys])

    def state_dict(self) -> dict[str, Any]:
        """The state for checkpoints: keys with ``resumed=True``, as tensors and plain values.

        Information without such a form is left out, with a warning.
        """
        kept = [key for key, resumed in self._resumed_keys.copy().items() if resumed]
        buffers = {key: self._log_scalars[key] for key in kept if key in self._log_scalars}
        read_pending(buffers.values())
        infos: OrderedDict[str, Any] = OrderedDict()
        for key in kept:
            if key in self._runtime_info:
                try:
                    infos[key] = _saved(self._runtime_info[key])
                except TypeError as error:
                    print_log(
                        f'The information {key!r} is not saved in the checkpoint: {error} '
                        'Pass resumed=False to update_info to keep it out silently.',
                        logger='current',
                        level=30,
                    )
        return {
            'log_scalars': OrderedDict(
                (key, buffer.state_dict()) for key, buffer in buffers.items()
            ),
            'runtime_info': infos,
            'resumed_keys': OrderedDict(
                (key, True) for key in kept if key in buffers or key in infos
            ),
        }

    def load_state_dict(self, state_dict: MessageHub | Mapping[str, Any]) -> None:
        """Take over the histories and information of a state dict, or of another hub.

        Keys that are not in the state dict, and those declared by :meth:`keep_on_load`, do not
        change. Histories may be
        ``HistoryBuffer`` objects, as in checkpoints written by MMEngine 0.x.

        Raises:
            TypeError: If ``state_dict`` is neither a dict nor a hub.
            ArgumentError: If one of its three parts is missing.
        """
        if isinstance(state_dict, MessageHub):
            state_dict = {
                'log_scalars': state_dict._log_scalars,
                'runtime_info': state_dict._runtime_info,
                'resumed_keys': state_dict._resumed_keys,
            }
        if not isinstance(state_dict, Mapping):
            raise TypeError(
                f'state_dict must be a dict or a MessageHub, got {type(state_dict).__name__}.'
            )
        missing = [key for key in _STATE_KEYS if key not in state_dict]
        if missing:
            raise ArgumentError(
                f'The state of a MessageHub needs {", ".join(_STATE_KEYS)}; '
                f'missing: {", ".join(missing)}.'
            )
        loaded = set()
        for key, saved in state_dict['log_scalars'].items():
            if isinstance(saved, HistoryBuffer):
                self._log_scalars[key] = copy.deepcopy(saved).bound(self._num_kept_of(key))
            elif isinstance(saved, Mapping) and 'log_history' in saved:
                self._log_scalars[key] = HistoryBuffer.from_state_dict(saved).bound(
                    self._num_kept_of(key)
                )
            else:
                _warn(
                    f'The saved scalar {key!r} is skipped: '
                    f'it is a {type(saved).__name__}, not a history.'
                )
                continue
            loaded.add(key)
        for key, value in state_dict['runtime_info'].items():
            if key in self._keys_of_this_start:
                continue
            self._runtime_info[key] = _restored(value)
            loaded.add(key)
        for key, resumed in state_dict['resumed_keys'].items():
            if key in loaded:
                self._resumed_keys[key] = bool(resumed)
        self.engine_keys.update(state_dict['runtime_info'].get(_ENGINE_KEYS, {}))

    def _num_kept_of(self, key: str) -> int:
        return max(self._num_kept[None], self._num_kept.get(key, 0))

    def _check_resumed(self, key: str, resumed: bool) -> None:
        settled = self._resumed_keys.setdefault(key, bool(resumed))
        if settled != resumed:
            raise ArgumentError(
                f'{key!r} was first updated with resumed={settled}, now with resumed={resumed}. '
                'Whether checkpoints save a key cannot change during a run.'
            )


# What the engine may bypass: `MessageHub.update_scalar` may be another function later.
_UPDATE_SCALAR = MessageHub.update_scalar


def _check_mapping(value: Any, name: str) -> None:
    if not isinstance(value, Mapping):
        raise ArgumentError(f'{name} must be a dict, got {type(value).__name__}.')


def _warn(message: str) -> None:
    print_log(message, logger='current', level=30)


def _saved(value: Any) -> Any:
    """A copy of ``value`` that ``torch.load(weights_only=True)`` can read, or a TypeError."""

    def convert(item: Any) -> Any:
        if isinstance(item, Tensor):
            return item.detach().clone()
        if isinstance(item, np.ndarray) and item.dtype.kind in 'biufc':
            return {_ARRAY_TAG: torch.from_numpy(item.copy())}
        if isinstance(item, np.generic):
            return _saved(item.item())
        return item if type(item) in (complex, bytes) else NotImplemented

    def refuse(item: Any) -> Any:
        raise TypeError(f'a {type(item).__name__} is not a tensor or plain python value.')

    return plain(value, convert, refuse)


def _restored(value: Any) -> Any:
    if isinstance(value, Mapping):
        if value.keys() == {_ARRAY_TAG}:
            return value[_ARRAY_TAG].numpy().copy()
        kind: Any = type(value)
        return kind((key, _restored(item)) for key, item in value.items())
    if type(value) in (list, tuple, set):
        return type(value)(_restored(item) for item in value)
    return value
