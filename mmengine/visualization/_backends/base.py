"""The base class of trackers: five calls, and an environment set up by the first one."""

# ruff: noqa: B027  (a tracker omits the calls that its service does not have)

import functools
from abc import ABCMeta, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, ClassVar, TypeVar

import numpy as np
from torch import Tensor
from torch.nn import Module

from mmengine.config import Config
from mmengine.utils._plain import plain
from mmengine.utils.errors import ArgumentError

_F = TypeVar('_F', bound=Callable[..., Any])


def force_init_env(old_func: _F) -> _F:
    """Decorator of a tracker's methods: set the tracker up before its first use.

    Connecting and creating folders wait for the first real call, so a tracker that is configured
    but never used leaves no trace. A set-up that fails is tried again at the next call.
    """

    @functools.wraps(old_func)
    def with_environment(self: Any, *args: Any, **kwargs: Any) -> Any:
        if not getattr(self, '_env_initialized', False):
            _set_up(self)
        return old_func(self, *args, **kwargs)

    return with_environment  # type: ignore[return-value]  # same call, wrapped


def _set_up(tracker: Any) -> None:
    if not hasattr(tracker, '_init_env'):
        raise AttributeError(
            f'{type(tracker).__name__} uses force_init_env, so it must define _init_env(self).'
        )
    # Set first: _init_env may use a decorated member of the tracker itself.
    tracker._env_initialized = True
    try:
        tracker._init_env()
    except BaseException:
        tracker._env_initialized = False
        raise


def tracker_value(value: Any) -> Any:
    """``value`` as plain Python: a tensor or array of one element is a number, of more a list.

    Reading a tensor makes the host wait for its device.

    Raises:
        TypeError: If ``value`` is not a tensor, an array or plain Python.
    """
    return plain(value, _read_elements, _refuse, as_json=True)


def _read_elements(value: Any) -> Any:
    if isinstance(value, (Tensor, np.ndarray)):
        elements = value.detach() if isinstance(value, Tensor) else value
        num_elements = elements.numel() if isinstance(elements, Tensor) else elements.size
        return elements.item() if num_elements == 1 else elements.tolist()
    return value.item() if isinstance(value, np.generic) else NotImplemented


def _refuse(value: Any) -> Any:
    raise TypeError(
        f'A tracker takes numbers, text, and lists or dicts of them, got {type(value).__name__}.'
    )


ENGINE_STEP = 'engine_step'


def take_step(scalar_dict: Mapping[str, Any], step: int) -> tuple[dict[str, Any], int]:
    """The scalars without ``'step'``, and the step: the one among them, or else ``step``.

    If there is an ``'engine_step'``, ``'step'`` is a scalar of the user and stays.
    """
    scalars = dict(scalar_dict)
    if ENGINE_STEP in scalars:
        return scalars, scalars.pop(ENGINE_STEP)
    return scalars, scalars.pop('step', step)


def require_image(image: Any) -> None:
    """Refuse what is not an image: uint8 of shape (H, W) or (H, W, channels), channels 1, 3 or 4.

    Raises:
        TypeError: If ``image`` is not a uint8 array.
        ArgumentError: If it has another shape.
    """
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        kind = image.dtype if isinstance(image, np.ndarray) else type(image).__name__
        raise TypeError(f'An image is a numpy array of dtype uint8 (0 to 255), got {kind}.')
    if image.ndim != 2 and (image.ndim != 3 or image.shape[2] not in (1, 3, 4)):
        raise ArgumentError(f'An image has shape (H, W) or (H, W, 3), got {image.shape}.')


class BaseVisBackend(metaclass=ABCMeta):
    """A tracker: logs the config, scalars, images and graph of a run to files or a service.

    A new one defines :meth:`_init_env`, which sets up what it needs (imports included: a missing
    package is reported when the tracker is used), :attr:`experiment`, and those among the five
    ``add_*`` calls that its service supports, each with :func:`force_init_env`. The others do
    nothing. Only rank 0 calls it.

    Args:
        save_dir: Folder for the tracker's files; made at the first use.

    Attributes:
        takes_axes: Whether log records come with the ``iter`` and ``epoch`` of the run, for
            services that can plot one number against another.
    """

    takes_axes: ClassVar[bool] = False
    # Whether the visualizer sets `position`, the iteration and epoch of the next record.
    has_one_axis: ClassVar[bool] = False
    position: Mapping[str, int] = MappingProxyType({})

    def __init__(self, save_dir: str) -> None:
        self._save_dir = save_dir
        self._env_initialized = False

    @property
    @abstractmethod
    def experiment(self) -> Any:
        """The object of the service's package, for uses that the five calls do not cover."""

    @abstractmethod
    def _init_env(self) -> Any:
        """Set the tracker up; called once, before the first use."""

    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Log the config of the run."""

    def add_graph(self, model: Module, data_batch: Sequence[Any], **kwargs: Any) -> None:
        """Log the graph of ``model``, traced with ``data_batch``."""

    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Log an RGB image, uint8 of shape (H, W, 3), or a grey one of shape (H, W)."""

    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Log one scalar."""

    def add_scalars(
        self,
        scalar_dict: dict[str, Any],
        step: int = 0,
        file_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Log the scalars of one record; a ``'step'`` among them stands for ``step``.

        Args:
            scalar_dict: Values by name.
            step: Where on the horizontal axis they belong.
            file_path: For trackers that write files: a second file for the record.
        """
        scalars, step = take_step(scalar_dict, step)
        for name, value in scalars.items():
            self.add_scalar(name, value, step, **kwargs)

    def mark_failed(self, error: BaseException) -> None:  # files have no such mark
        """Note that the run failed; called before :meth:`close`."""

    def close(self) -> None:
        """Finish writing; called at the end of a run."""
