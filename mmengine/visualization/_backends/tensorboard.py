"""The tracker that writes event files for TensorBoard."""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.nn import Module

from mmengine.config import Config
from mmengine.registry import VISBACKENDS

from ._service import ServiceVisBackend
from .base import force_init_env


@VISBACKENDS.register_module()
class TensorboardVisBackend(ServiceVisBackend):
    """Tracks a run as event files, through ``torch.utils.tensorboard`` or else ``tensorboardX``.

    Args:
        save_dir: Folder of the event files: what ``tensorboard --logdir`` is given.

    Raises:
        ImportError: At the first use, if neither package is installed.
    """

    _package = 'tensorboard'
    # A curve has one horizontal axis here, so other axes would need separate curves.
    takes_axes = False
    has_one_axis = True

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir)
        self._by_iter: set[str] = set()

    def _init_env(self) -> None:
        self._tensorboard = _summary_writer()(self._save_dir)

    @property
    @force_init_env
    def experiment(self) -> Any:
        """The ``SummaryWriter``."""
        return self._tensorboard

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Log the config as the text ``config``."""
        self._tensorboard.add_text('config', config.pretty_text)

    @force_init_env
    def add_graph(self, model: Module, data_batch: Sequence[Any], **kwargs: Any) -> None:
        """Log the graph of ``model``, traced with ``data_batch``."""
        self._tensorboard.add_graph(model, data_batch, **kwargs)

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Log an RGB image of shape (H, W, 3), or a grey one of shape (H, W)."""
        layout = 'HW' if image.ndim == 2 else 'HWC'
        self._tensorboard.add_image(name, image, step, dataformats=layout)

    def _log_numbers(self, numbers: dict[str, int | float], step: int) -> None:
        # The training logs by iteration, a validation may log by epoch. The points of one curve
        # have one axis: the iteration, if the training has logged the name.
        iteration = self.position.get('iter', step)
        self.position = {}
        if iteration == step:
            self._by_iter.update(numbers)
        for name, number in numbers.items():
            self._tensorboard.add_scalar(name, number, iteration if name in self._by_iter else step)

    def _finish(self) -> None:
        self._tensorboard.close()


def _summary_writer() -> Any:
    missing = []
    for module in ('torch.utils.tensorboard', 'tensorboardX'):
        try:
            return importlib.import_module(module).SummaryWriter
        except ImportError as error:
            missing.append(f'{module}: {error}')
    raise ImportError(
        'TensorboardVisBackend needs TensorBoard. Install it with: pip install tensorboard '
        f'({"; ".join(missing)})'
    )
