"""The tracker for Neptune."""

from typing import Any

import numpy as np

from mmengine.config import Config
from mmengine.registry import VISBACKENDS

from ._service import ServiceVisBackend
from .base import force_init_env, require_image


@VISBACKENDS.register_module()
class NeptuneVisBackend(ServiceVisBackend):
    """Tracks a run in Neptune.

    The steps of a series may only rise there. Of two records that share a name but count their
    steps differently, the one that is behind loses that value; its name is reported once.

    Args:
        save_dir: Not used by Neptune, which keeps its files in ``.neptune``.
        init_kwargs: What ``neptune.init_run`` is given, such as ``project``; without it, the run
            is kept on this machine (``mode='offline'``).

    Raises:
        ImportError: At the first use, if ``neptune`` is not installed.
    """

    _package = 'neptune'

    def __init__(
        self, save_dir: str | None = None, init_kwargs: dict[str, Any] | None = None
    ) -> None:
        super().__init__(save_dir, init_kwargs or {'mode': 'offline'})
        self._last_steps: dict[str, int] = {}
        self._run_id: str | None = None

    def _init_env(self) -> None:
        neptune = self._import()
        self._file_type = self._import('neptune.types').File
        settings = dict(self._init_kwargs)
        if self._run_id is not None:
            settings['with_id'] = self._run_id
        self._run = neptune.init_run(**settings)

    @property
    @force_init_env
    def experiment(self) -> Any:
        """The ``neptune.Run``."""
        return self._run

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Log the config as the file ``config``."""
        self._run['config'].upload(self._file_type.from_content(config.pretty_text))

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Log an image in the series ``images``."""
        require_image(image)
        if self._takes_step('images', step):
            # Neptune expects pixels from 0 to 1.
            shown = self._file_type.as_image(image.astype(np.float32) / 255)
            self._run['images'].append(shown, name=name, step=step)

    def _log_numbers(self, numbers: dict[str, int | float], step: int) -> None:
        for name, number in numbers.items():
            if self._takes_step(name, step):
                self._run[name].append(number, step=step)

    def _takes_step(self, name: str, step: int) -> bool:
        last = self._last_steps.get(name)
        if last is not None and step <= last:
            self._leave_out(name, f'steps may only rise in Neptune, and {step} follows {last}')
            return False
        self._last_steps[name] = step
        return True

    def _finish(self) -> None:
        if self._init_kwargs.get('mode', 'async') in ('async', 'sync'):
            self._run_id = self._run['sys/id'].fetch()
        self._run.stop()
