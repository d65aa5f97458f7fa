"""PrepareTTAHook: adds test-time augmentation without changing the model's config or weights."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from mmengine.config import Config, ConfigDict
from mmengine.hooks.hook import Hook
from mmengine.registry import HOOKS, MODELS, RUNNERS
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from mmengine.hooks.run import Run
    from mmengine.runner import Runner


@HOOKS.register_module()
class PrepareTTAHook(Hook):
    """Wraps the model of the run in a test-time augmentation model during the test.

    The test-time augmentation model merges the predictions of several views. After the test the
    run has its original model again.

    Args:
        tta_cfg: Config of a :class:`~mmengine.model.BaseTTAModel`. The model of the run is passed
            to it as ``module``.
    """

    priority = 'NORMAL'

    def __init__(self, tta_cfg: dict[str, Any]) -> None:
        self.tta_cfg = tta_cfg
        self._models: tuple[nn.Module, nn.Module] | None = None

    def before_test(self, runner: Run) -> None:
        """Wrap the model."""
        merging = MODELS.build({**self.tta_cfg, 'module': runner.model})
        self._models = (runner.model, merging)
        runner.model = merging

    def after_test(self, runner: Run) -> None:
        """Unwrap it."""
        self._unwrap(runner)

    def on_evaluation_cut(self, runner: Run) -> None:
        """Unwrap it: the training around the test goes on."""
        self._unwrap(runner)

    def on_exception(self, runner: Run, error: BaseException) -> None:
        """Unwrap it."""
        self._unwrap(runner)

    def _unwrap(self, runner: Run) -> None:
        if self._models is not None:
            runner.model, self._models = self._models[0], None


def build_runner_with_tta(cfg: dict[str, Any] | Config | ConfigDict) -> Runner:
    """Build a runner whose test uses test-time augmentation.

    Args:
        cfg: Config of a run with ``tta_model``, the config of the merging model, and
            ``tta_pipeline``, the transforms that create the views. ``tta_pipeline`` replaces the
            ``pipeline`` of the test dataset. The config itself does not change.

    Raises:
        ArgumentError: If ``tta_model`` or ``tta_pipeline`` is missing.
        KeyError: If ``test_dataloader`` is missing.
    """
    for key, meaning in (
        ('tta_model', 'the model that merges the views'),
        ('tta_pipeline', 'the transforms that create the views'),
    ):
        if cfg.get(key) is None:
            raise ArgumentError(f'Test-time augmentation needs {key} in the config: {meaning}.')
    if cfg.get('test_dataloader') is None:
        raise KeyError('Test-time augmentation needs a test_dataloader in the config.')
    cfg = copy.deepcopy(cfg)
    _innermost_dataset(cfg['test_dataloader'])['pipeline'] = cfg['tta_pipeline']
    hook = {'type': 'PrepareTTAHook', 'tta_cfg': cfg['tta_model']}
    cfg['custom_hooks'] = [*(cfg.get('custom_hooks') or []), hook]
    return RUNNERS.build(cfg)


def _innermost_dataset(dataloader: Any) -> Any:
    """The innermost dataset, inside wrappers that repeat or filter its samples."""
    dataset = dataloader['dataset']
    while 'pipeline' not in dataset and isinstance(dataset.get('dataset'), Mapping):
        dataset = dataset['dataset']
    return dataset
