"""The tracker that writes event files for TensorBoard."""

import importlib
from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.nn import Module

from mmengine.config import Config
from mmengine.logging import print_log
from mmengine.registry import VISBACKENDS

from .base import BaseVisBackend, force_init_env, plain, take_step


@VISBACKENDS.register_module()
class TensorboardVisBackend(BaseVisBackend):
    """Keeps a run as event files, through ``torch.utils.tensorboard`` or else ``tensorboardX``.

    A value that is no number cannot be drawn; its name is reported once and it is left out.

    Args:
        save_dir: Folder of the event files: what ``tensorboard --logdir`` is given.

    Raises:
        ImportError: At the first use, if neither package is installed.
    """

    def __init__(self, save_dir: str) -> None:
        super().__init__(save_dir)
        self._left_out: set[str] = set()

    def _init_env(self) -> None:
        self._writer = _summary_writer()(self._save_dir)

    @property
    @force_init_env
    def experiment(self) -> Any:
        """The ``SummaryWriter``."""
        return self._writer

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Keep the config as the text ``config``."""
        self._writer.add_text('config', config.pretty_text)

    @force_init_env
    def add_graph(self, model: Module, data_batch: Sequence[Any], **kwargs: Any) -> None:
        """Keep the graph of ``model``, traced with ``data_batch``."""
        self._writer.add_graph(model, data_batch, **kwargs)

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Keep an RGB image of shape (H, W, 3), or a grey one of shape (H, W)."""
        layout = 'HW' if image.ndim == 2 else 'HWC'
        self._writer.add_image(name, image, step, dataformats=layout)

    @force_init_env
    def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
        """Keep one number; what is none is reported once and left out."""
        number = plain(value)
        if isinstance(number, (int, float)):
            self._writer.add_scalar(name, number, step)
        elif name not in self._left_out:
            self._left_out.add(name)
            print_log(
                f'TensorBoard draws numbers only, so {name!r} is left out: {value!r}.',
                logger='current',
                level='WARNING',
            )

    def add_scalars(
        self,
        scalar_dict: dict[str, Any],
        step: int = 0,
        file_path: str | None = None,
        **kwargs: Any,
    ) -> None:
        """Keep the numbers of a log record, each under its own name."""
        scalars, step = take_step(scalar_dict, step)
        for name, value in scalars.items():
            self.add_scalar(name, value, step)

    def close(self) -> None:
        """Flush and close the event file, if one was opened."""
        if self._env_initialized:
            self._writer.close()


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
