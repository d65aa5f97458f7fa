"""The tracker for DVCLive."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmengine.config import Config
from mmengine.registry import VISBACKENDS

from ._service import ServiceVisBackend, flat_config
from .base import force_init_env


@VISBACKENDS.register_module()
class DVCLiveVisBackend(ServiceVisBackend):
    """Tracks a run as files of DVCLive, and as a DVC experiment where there is a DVC repository.

    Args:
        save_dir: Folder of DVCLive's files.
        artifact_suffix: Endings of the files that are kept from the work dir when the run ends.
        init_kwargs: What ``dvclive.Live`` is given beside the folder.

    Raises:
        ImportError: At the first use, if ``dvclive`` is not installed.
    """

    _package = 'dvclive'

    def __init__(
        self,
        save_dir: str,
        artifact_suffix: str | Sequence[str] = ('.json', '.py', 'yaml'),
        init_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(save_dir, init_kwargs)
        self._artifact_suffix = artifact_suffix
        self._live: Any = None

    def _init_env(self) -> None:
        defaults = {'dir': self._make_folder(), 'save_dvc_exp': True, 'cache_images': True}
        settings = {**defaults, **self._init_kwargs}
        if self._live is not None:
            settings['resume'] = True
        self._live = self._import().Live(**settings)

    @property
    @force_init_env
    def experiment(self) -> Any:
        """The ``dvclive.Live``."""
        return self._live

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Log the config as parameters with dotted names."""
        self._note_work_dir(config)
        self._live.log_params(flat_config(config))

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Log an image as ``<name>.png`` of this step."""
        self._live.step = step
        self._live.log_image(f'{name}.png', image)

    def _log_numbers(self, numbers: dict[str, int | float], step: int) -> None:
        self._live.step = step
        for name, number in numbers.items():
            self._live.log_metric(name, number)

    def _finish(self) -> None:
        # DVCLive keeps its own files by itself.
        own = Path(self._make_folder()).resolve()
        for path, _ in self._artifacts(self._artifact_suffix):
            if own not in path.resolve().parents:
                self._live.log_artifact(str(path))
        self._live.end()
