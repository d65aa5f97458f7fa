"""The tracker for Aim."""

from pathlib import PurePath
from typing import Any

import numpy as np

from mmengine.config import Config
from mmengine.registry import VISBACKENDS

from ._service import ServiceVisBackend, plain_config
from .base import force_init_env


@VISBACKENDS.register_module()
class AimVisBackend(ServiceVisBackend):
    """Tracks a run in Aim, in the repository ``.aim`` of the current folder by default.

    Args:
        save_dir: Its last two parts name the experiment.
        init_kwargs: What ``aim.Run`` is given, such as ``repo`` and ``experiment``.

    Raises:
        ImportError: At the first use, if ``aim`` is not installed.
    """

    _package = 'aim'

    def __init__(
        self, save_dir: str | None = None, init_kwargs: dict[str, Any] | None = None
    ) -> None:
        super().__init__(save_dir, init_kwargs)
        self._run: Any = None

    def _init_env(self) -> None:
        self._aim = self._import()
        settings = dict(self._init_kwargs)
        if 'experiment' not in settings and self._save_dir:
            settings['experiment'] = _experiment_name(self._save_dir)
        if self._run is not None:
            settings['run_hash'] = self._run.hash
        self._run = self._aim.Run(**settings)

    @property
    @force_init_env
    def experiment(self) -> Any:
        """The ``aim.Run``."""
        return self._run

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Log the config as ``hparams``."""
        self._run['hparams'] = plain_config(config)

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Log an RGB image of shape (H, W, 3), or a grey one of shape (H, W)."""
        self._run.track(name=name, value=self._aim.Image(image), step=step)

    def _log_numbers(self, numbers: dict[str, int | float], step: int) -> None:
        # Aim has a separate axis for the epoch.
        axis = {'epoch': numbers['epoch']} if 'epoch' in numbers else {}
        for name, number in numbers.items():
            self._run.track(name=name, value=number, step=step, **axis)

    def _finish(self) -> None:
        self._run.close()


def _experiment_name(save_dir: str) -> str:
    """``'resnet_20260101_120000'`` for ``'work_dirs/resnet/20260101_120000/vis_data'``."""
    parts = [part for part in PurePath(save_dir).parts if part not in ('/', 'vis_data')]
    return '_'.join(parts[-2:])
