"""The tracker for ClearML."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from mmengine.config import Config
from mmengine.registry import VISBACKENDS

from ._service import ServiceVisBackend, plain_config
from .base import force_init_env


@VISBACKENDS.register_module()
class ClearMLVisBackend(ServiceVisBackend):
    """Tracks a run as a task of ClearML.

    Args:
        save_dir: Not used by ClearML; files are taken from there if the config has no work dir.
        init_kwargs: What ``Task.init`` is given, such as ``project_name`` and ``task_name``.
        artifact_suffix: Endings of the files that are kept from the work dir when the run ends.

    Raises:
        ImportError: At the first use, if ``clearml`` is not installed.
    """

    _package = 'clearml'

    def __init__(
        self,
        save_dir: str | None = None,
        init_kwargs: dict[str, Any] | None = None,
        artifact_suffix: str | Sequence[str] = ('.py', '.pth'),
    ) -> None:
        super().__init__(save_dir, init_kwargs)
        self._artifact_suffix = artifact_suffix
        self._task: Any = None

    def _init_env(self) -> None:
        self._clearml = self._import()
        settings = dict(self._init_kwargs)
        if self._task is not None:
            settings['continue_last_task'] = self._task.id
        self._task = self._clearml.Task.init(**settings)
        self._logger = self._task.get_logger()

    @property
    @force_init_env
    def experiment(self) -> Any:
        """The module ``clearml``."""
        return self._clearml

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Log the config as the task's configuration."""
        self._note_work_dir(config)
        self._task.connect_configuration(plain_config(config))

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Log an RGB image of shape (H, W, 3), or a grey one of shape (H, W)."""
        self._logger.report_image(title=name, series=name, iteration=step, image=image)

    def _log_numbers(self, numbers: dict[str, int | float], step: int) -> None:
        for name, number in numbers.items():
            self._logger.report_scalar(title=name, series=name, value=number, iteration=step)

    def _finish(self) -> None:
        for path, inner in self._artifacts(self._artifact_suffix):
            self._task.upload_artifact(inner.as_posix(), str(path))
        if self._has_failed:
            self._task.mark_failed()
        self._task.close()
