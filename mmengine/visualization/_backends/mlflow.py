"""The tracker for MLflow."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mmengine.config import Config
from mmengine.registry import VISBACKENDS
from mmengine.utils.errors import did_you_mean

from ._service import ServiceVisBackend, flat_config
from .base import force_init_env


@VISBACKENDS.register_module()
class MLflowVisBackend(ServiceVisBackend):
    """Tracks a run in MLflow.

    Without a ``tracking_uri``, given here or by ``MLFLOW_TRACKING_URI``, the store is the SQLite
    file ``mlflow.db`` in ``save_dir``, with artifacts beside it:
    ``mlflow ui --backend-store-uri sqlite:///<save_dir>/mlflow.db`` shows it.

    A run that is active already is used as it is, and left open.

    Args:
        save_dir: Folder of the local store.
        exp_name: Name of the experiment; by default 'Default', in the local store 'mmengine'.
        run_name: Name of the run.
        tags: Tags of the run.
        params: Parameters of the run, in addition to the config.
        tracking_uri: Where the store is: a server or a data base.
        artifact_suffix: Endings of the files that are kept from the work dir when the run ends.
        tracked_config_keys: Keys of the config that become parameters; all by default.
        artifact_location: Where artifacts of a new experiment go.

    Raises:
        ImportError: At the first use, if ``mlflow`` is not installed.
    """

    _package = 'mlflow'

    def __init__(
        self,
        save_dir: str,
        exp_name: str | None = None,
        run_name: str | None = None,
        tags: dict[str, Any] | None = None,
        params: dict[str, Any] | None = None,
        tracking_uri: str | None = None,
        artifact_suffix: str | Sequence[str] = ('.json', '.log', '.py', 'yaml'),
        tracked_config_keys: Sequence[str] | None = None,
        artifact_location: str | None = None,
    ) -> None:
        super().__init__(save_dir)
        self._exp_name = exp_name
        self._run_name = run_name
        self._tags = tags
        self._params = params
        self._tracking_uri = tracking_uri
        self._artifact_suffix = artifact_suffix
        self._tracked_config_keys = tracked_config_keys
        self._artifact_location = artifact_location
        self._run_id: str | None = None
        self._owns_run = False

    def _init_env(self) -> None:
        self._mlflow = self._import()
        self._owns_run = self._mlflow.active_run() is None
        if not self._owns_run:
            return
        self._choose_experiment()
        is_new = self._run_id is None
        run = self._mlflow.start_run(
            run_id=self._run_id, run_name=self._run_name, tags=self._tags if is_new else None
        )
        self._run_id = run.info.run_id
        if is_new and self._params:
            self._mlflow.log_params(self._params)

    def _choose_experiment(self) -> None:
        uri = self._tracking_uri or os.environ.get('MLFLOW_TRACKING_URI')
        name, artifacts = self._exp_name or 'Default', self._artifact_location
        if uri is None:
            folder = Path(self._make_folder()).absolute()
            uri = f'sqlite:///{folder}/mlflow.db'
            # The artifacts of 'Default' would go to the current folder.
            name = self._exp_name or 'mmengine'
            artifacts = artifacts or (folder / 'mlartifacts').as_uri()
        self._mlflow.set_tracking_uri(uri)
        if self._mlflow.get_experiment_by_name(name) is None:
            self._mlflow.create_experiment(name, artifact_location=artifacts)
        self._mlflow.set_experiment(name)

    @property
    @force_init_env
    def experiment(self) -> Any:
        """The module ``mlflow``, with the run active."""
        return self._mlflow

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Log the config as parameters with dotted names, and as the file ``config.py``.

        Raises:
            KeyError: If the config lacks one of ``tracked_config_keys``.
        """
        self._note_work_dir(config)
        self._mlflow.log_params(_chosen(flat_config(config), self._tracked_config_keys))
        self._mlflow.log_text(config.pretty_text, 'config.py')

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Log an image as the artifact ``<name>_<step>.png``."""
        self._mlflow.log_image(image, f'{name}_{step}.png')

    def _log_numbers(self, numbers: dict[str, int | float], step: int) -> None:
        self._mlflow.log_metrics(numbers, step=step)

    def _finish(self) -> None:
        for path, inner in self._artifacts(self._artifact_suffix):
            folder = None if inner.parent == Path() else inner.parent.as_posix()
            self._mlflow.log_artifact(str(path), folder)
        if self._owns_run:
            self._mlflow.end_run('FAILED' if self._has_failed else 'FINISHED')


def _chosen(params: Mapping[str, Any], keys: Sequence[str] | None) -> dict[str, Any]:
    """The parameters selected by the keys. A key may name one parameter or a group of them."""
    if keys is None:
        return dict(params)
    chosen = {}
    for key in keys:
        found = {
            name: value
            for name, value in params.items()
            if name == key or name.startswith(f'{key}.')
        }
        if not found:
            raise KeyError(
                f'tracked_config_keys names {key!r}, which the config lacks.'
                f'{did_you_mean(key, params)}'
            )
        chosen.update(found)
    return chosen
