"""The visualizer: passes what a run logs to its trackers, and shows images."""

import inspect
import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch.nn import Module

from mmengine.config import Config
from mmengine.dist import master_only
from mmengine.logging import print_log
from mmengine.registry import VISBACKENDS, VISUALIZERS
from mmengine.utils.errors import ArgumentTypeError
from mmengine.utils.manager import ManagerMeta, ManagerMixin

from ._backends import BaseVisBackend
from ._backends.base import tracker_value
from ._draw import Drawing

_CALLS = ('add_config', 'add_graph', 'add_image', 'add_scalar', 'add_scalars', 'close')
_FRAMELESS: dict[str, Any] = {'frameon': False}


class _OneFamily(ManagerMeta):
    """Keeps the instances of a class together with the instances of its base.

    A project's own visualizer is then what ``Visualizer.get_current_instance()`` finds.
    """

    def __init__(cls, *args: Any) -> None:
        super().__init__(*args)
        for base in cls.__mro__[1:]:
            if isinstance(base, _OneFamily):
                cls._instance_dict = base._instance_dict
                return


@VISUALIZERS.register_module()
class Visualizer(ManagerMixin, Drawing, metaclass=_OneFamily):
    """Passes configs, scalars and images of a run to all of its trackers, on rank 0 only.

    A tracker that fails (no network, a full disk, a missing package) never ends a run: the first
    failure of each kind is one warning, and :meth:`close` says how many there were.

    Projects subclass it and override :meth:`add_datasample` to show their samples.

    Args:
        name: Name of the instance, for :meth:`get_instance`.
        image: The image to start with, uint8 of shape (H, W, 3) in RGB, or (H, W).
        vis_backends: The trackers, as configs or objects. A config may have a ``name`` beside its
            ``type``, to distinguish two trackers of one type.
        save_dir: The run's folder; trackers keep their files in ``vis_data`` under it unless their
            config has its own ``save_dir``.
        fig_save_cfg: Options of the figure that is drawn on.
        fig_show_cfg: Options of the figure that is shown in a window.

    Raises:
        TypeError: If a tracker is neither a config nor a tracker.
        RuntimeError: If two trackers have one name.

    Example:
        >>> import tempfile
        >>> visualizer = Visualizer(
        ...     vis_backends=[dict(type='LocalVisBackend')], save_dir=tempfile.mkdtemp())
        >>> visualizer.add_scalar('loss', 0.5, step=1)
        >>> visualizer.close()
    """

    _is_of_run = True

    def __init__(
        self,
        name: str = 'visualizer',
        image: np.ndarray | None = None,
        vis_backends: Sequence[dict[str, Any] | BaseVisBackend] | dict[str, Any] | None = None,
        save_dir: str | None = None,
        fig_save_cfg: dict[str, Any] = _FRAMELESS,
        fig_show_cfg: dict[str, Any] = _FRAMELESS,
    ) -> None:
        super().__init__(name)
        self._dataset_meta: dict[str, Any] | None = None
        self._failures: dict[tuple[str, str], int] = {}
        # The position of the run at the next record, for trackers that plot against it. The caller
        # that sends the record sets it; it is valid for that record only.
        self.axes: dict[str, int] = {}
        self._vis_backends = _build_backends(vis_backends, save_dir)
        Drawing.__init__(self, image, fig_save_cfg, fig_show_cfg)

    @property
    def dataset_meta(self) -> dict[str, Any] | None:
        """Metainfo of the dataset, such as its class names, for showing samples."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict[str, Any]) -> None:
        self._dataset_meta = dataset_meta

    def get_backend(self, name: str) -> BaseVisBackend | None:
        """The tracker called ``name``; None if there is none.

        A tracker is called as its class is, unless its config has a ``name``.
        """
        return self._vis_backends.get(name)

    @master_only
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Log the config of the run with every tracker."""
        self._hand_on('add_config', config, **kwargs)

    @master_only
    def add_graph(self, model: Module, data_batch: Sequence[Any], **kwargs: Any) -> None:
        """Log the graph of ``model``, traced with ``data_batch``, with every tracker."""
        self._hand_on('add_graph', model, data_batch, **kwargs)

    @master_only
    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Log one scalar with every tracker.

        Args:
            name: Its name, such as ``'train/loss'``.
            value: A number; also a tensor or array of one element, which is read here.
            step: Where on the horizontal axis it belongs.
        """
        record = self._plain({name: value})
        if record:
            self._hand_on('add_scalar', name, record[name], step, **kwargs)

    @master_only
    def add_scalars(
        self,
        scalar_dict: dict[str, Any],
        step: int = 0,
        file_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Log several scalars with every tracker.

        Args:
            scalar_dict: Values by name, as for :meth:`add_scalar`; a ``'step'`` among them stands
                for ``step``.
            step: Where on the horizontal axis they belong.
            file_path: For trackers that write files: the name of a second file for the record.

        Raises:
            TypeError: If ``scalar_dict`` is not a dict.
        """
        if not isinstance(scalar_dict, Mapping):
            raise ArgumentTypeError(f'add_scalars takes a dict, got {type(scalar_dict).__name__}.')
        record = self._plain(scalar_dict)
        axes, self.axes = self.axes, {}
        for name, backend in self._vis_backends.items():
            takes_axes = getattr(backend, 'takes_axes', False)  # it may have the methods alone
            shown = {**axes, **record} if takes_axes else record
            if getattr(backend, 'has_one_axis', False):
                backend.position = axes
            self._try(name, backend, 'add_scalars', shown, step, file_path, **kwargs)

    @master_only
    def add_image(self, name: str, image: np.ndarray, step: int = 0) -> None:
        """Log an image, uint8 of shape (H, W, 3) in RGB or (H, W), with every tracker."""
        self._hand_on('add_image', name, image, step)

    @master_only
    def add_datasample(
        self,
        name: str,
        image: np.ndarray,
        data_sample: Any = None,
        draw_gt: bool = True,
        draw_pred: bool = True,
        show: bool = False,
        wait_time: float = 0,
        step: int = 0,
    ) -> None:
        """Show a sample with its annotations and predictions.

        What a sample looks like is known to a project, which overrides this; here the image
        goes to the trackers as it is.

        Args:
            name: Name of the sample.
            image: The sample's image.
            data_sample: Its annotations and predictions.
            draw_gt: Whether to draw the annotations.
            draw_pred: Whether to draw the predictions.
            show: Whether to open a window.
            wait_time: Seconds the window stays; 0 waits for a key.
            step: Where in the run it belongs.
        """
        self.add_image(name, image, step)

    @master_only
    def mark_failed(self, error: BaseException) -> None:
        """Tell every tracker that can say so that the run failed; :meth:`close` ends it as such."""
        for name, backend in self._vis_backends.items():
            if hasattr(backend, 'mark_failed'):
                self._try(name, backend, 'mark_failed', error)

    @master_only
    def close(self) -> None:
        """Close every tracker and the window, and say how often a tracker failed."""
        self._close_window()
        self._hand_on('close')
        for (name, kind), count in self._failures.items():
            if count > 1:
                _warn(f'{name} failed {count} times in this run with {kind}.')
        self._failures.clear()

    def _plain(self, scalars: Mapping[str, Any]) -> dict[str, Any]:
        # Convert once for all trackers. An unsupported value is dropped; the rest of the record is
        # kept.
        record = {}
        for name, value in scalars.items():
            try:
                record[name] = tracker_value(value)
            except TypeError as error:
                self._note_failure(f'the value of {name!r}', 'add_scalars', error)
        return record

    def _hand_on(self, call: str, *args: Any, **kwargs: Any) -> None:
        for name, backend in self._vis_backends.items():
            self._try(name, backend, call, *args, **kwargs)

    def _try(
        self, name: str, backend: BaseVisBackend, call: str, *args: Any, **kwargs: Any
    ) -> None:
        try:
            getattr(backend, call)(*args, **kwargs)
        except Exception as error:
            self._note_failure(name, call, error)

    def _note_failure(self, name: str, call: str, error: Exception) -> None:
        kind = type(error).__name__
        count = self._failures[name, kind] = self._failures.get((name, kind), 0) + 1
        if count == 1:
            _warn(
                f'{name} failed in {call}, and the run goes on without it: {kind}: {error} '
                'Further failures of this kind are counted, not shown.'
            )


def _build_backends(vis_backends: Any, save_dir: str | None) -> dict[str, BaseVisBackend]:
    given = [] if vis_backends is None else vis_backends
    if isinstance(given, (dict, Config, BaseVisBackend)):
        given = [given]
    if isinstance(given, str) or not isinstance(given, Sequence):
        raise TypeError(f'vis_backends is a list of trackers, got {type(given).__name__}.')
    built: dict[str, BaseVisBackend] = {}
    for entry in given:
        item: Any = entry._cfg_dict if isinstance(entry, Config) else entry
        backend, name = item, None
        if isinstance(item, dict):
            config, name = _complete(item, save_dir)
            if config.get('save_dir') is None and _needs_folder(config):
                _warn(
                    f'{config.get("type")} has no folder to write to, so it is left out: '
                    'give the visualizer a save_dir.'
                )
                continue
            backend = VISBACKENDS.build(config)
        # A config names a class on purpose; what that class lacks is a warning when it is called.
        if not isinstance(item, dict) and not isinstance(backend, BaseVisBackend):
            _require_methods(backend)
        name = type(backend).__name__ if name is None else name
        if name in built:
            raise RuntimeError(
                f'Two trackers are called {name!r}. Give one of them a name: '
                f'dict(type=..., name="{name}_2").'
            )
        built[name] = backend
    return built


def _require_methods(tracker: Any) -> None:
    """Refuse an object without the methods of a tracker; its class does not matter."""
    missing = [call for call in _CALLS if not callable(getattr(tracker, call, None))]
    if isinstance(tracker, type) or missing:
        lacks = f' It lacks {", ".join(missing)}.' if missing and len(missing) < len(_CALLS) else ''
        raise TypeError(
            'A tracker is given as a config such as dict(type="LocalVisBackend") or as an '
            f'object, got {tracker!r}.{lacks}'
        )


def _complete(given: dict[str, Any], save_dir: str | None) -> tuple[dict[str, Any], str | None]:
    """The config of a tracker with its save folder filled in, and without its name; the name."""
    config = given.copy()
    name = config.pop('name', None)
    if config.get('save_dir') is None and save_dir is not None:
        config['save_dir'] = os.path.join(save_dir, 'vis_data')
    return config, name


def _needs_folder(config: dict[str, Any]) -> bool:
    kind = config.get('type')
    tracker = VISBACKENDS.get(kind) if isinstance(kind, str) else kind
    if tracker is None:
        return True
    save_dir = inspect.signature(tracker).parameters.get('save_dir')
    return save_dir is not None and save_dir.default is save_dir.empty


def _warn(message: str) -> None:
    print_log(message, logger='current', level='WARNING')
