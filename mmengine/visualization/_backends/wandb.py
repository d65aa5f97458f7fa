"""The tracker for Weights & Biases."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from torch.nn import Module

from mmengine.config import Config
from mmengine.registry import VISBACKENDS
from mmengine.utils.errors import ArgumentError

from ._service import ServiceVisBackend, plain_config
from .base import ENGINE_STEP, force_init_env


@VISBACKENDS.register_module()
class WandbVisBackend(ServiceVisBackend):
    """Tracks a run in Weights & Biases; with ``init_kwargs=dict(mode='offline')`` in local files.

    A record is one row of the run's history, with its ``step``, ``iter`` and ``epoch``: each of
    them can be the horizontal axis of a chart.

    Args:
        save_dir: Folder of the local files.
        init_kwargs: What ``wandb.init`` is given, such as ``project``, ``name`` and ``mode``.
        define_metric_cfg: How metrics are summed up: ``{'loss': 'min'}``, or a list of the
            arguments of ``define_metric``, such as ``dict(name='acc', step_metric='epoch')``.
        commit: Whether a record ends its row; with False, W&B waits for one that does.
        log_code_name: Name under which the source files in the current folder are kept.
        watch_kwargs: What ``watch`` is given beside the model, in :meth:`add_graph`.

    Raises:
        ArgumentError: If ``define_metric_cfg`` has another type.
        ImportError: At the first use, if ``wandb`` is not installed.
    """

    _package = 'wandb'

    def __init__(
        self,
        save_dir: str,
        init_kwargs: dict[str, Any] | None = None,
        define_metric_cfg: dict[str, str] | Sequence[dict[str, Any]] | None = None,
        commit: bool | None = True,
        log_code_name: str | None = None,
        watch_kwargs: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(save_dir, init_kwargs)
        self._define_metric_cfg = _metric_definitions(define_metric_cfg)
        self._commit = commit
        self._log_code_name = log_code_name
        self._watch_kwargs = dict(watch_kwargs or {})
        self._run_id: str | None = None

    def _init_env(self) -> None:
        self._wandb = self._import()
        settings = {'dir': self._make_folder(), **self._init_kwargs}
        if self._run_id is not None:
            settings.update(id=self._run_id, resume='allow')
        self._run = self._wandb.init(**settings)
        self._run_id = self._run.id
        for definition in self._define_metric_cfg:
            self._run.define_metric(**definition)

    @property
    @force_init_env
    def experiment(self) -> Any:
        """The module ``wandb``, with the run as ``wandb.run``."""
        return self._wandb

    @force_init_env
    def add_config(self, config: Config, **kwargs: Any) -> None:
        """Log the config, and the source files in the current folder."""
        # A resumed run may have another config.
        self._run.config.update(plain_config(config), allow_val_change=True)
        self._run.log_code(name=self._log_code_name)

    @force_init_env
    def add_graph(self, model: Module, data_batch: Sequence[Any], **kwargs: Any) -> None:
        """Watch the gradients of ``model``, and what else ``watch_kwargs`` selects."""
        self._run.watch(model, **self._watch_kwargs)

    @force_init_env
    def add_image(self, name: str, image: np.ndarray, step: int = 0, **kwargs: Any) -> None:
        """Log an RGB image of shape (H, W, 3), or a grey one of shape (H, W)."""
        self._run.log({name: self._wandb.Image(image), 'step': step}, commit=self._commit)

    def _log_numbers(self, numbers: dict[str, int | float], step: int) -> None:
        if numbers:
            name = ENGINE_STEP if 'step' in numbers else 'step'
            self._run.log({**numbers, name: step}, commit=self._commit)

    def _finish(self) -> None:
        self._run.finish(exit_code=1 if self._has_failed else 0)


def _metric_definitions(given: Any) -> list[dict[str, Any]]:
    if given is None:
        return []
    if isinstance(given, Mapping):
        return [{'name': name, 'summary': summary} for name, summary in given.items()]
    if isinstance(given, str) or not all(isinstance(item, Mapping) for item in given):
        raise ArgumentError(
            'define_metric_cfg is a dict such as {"loss": "min"}, or a list of dicts such as '
            f'{{"name": "acc", "step_metric": "epoch"}}; got {given!r}.'
        )
    return [dict(item) for item in given]
