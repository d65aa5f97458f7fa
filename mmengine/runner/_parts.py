"""The parts of a run, built from what its config says."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from torch import nn
from torch.utils.data import DataLoader

from mmengine._checkpoint.unwrap import is_model_wrapper
from mmengine._strategy._env import setup_process
from mmengine.config import placed
from mmengine.dataset._dataloader import num_batches
from mmengine.evaluator import Evaluator
from mmengine.logging import MessageHub, MMLogger, print_log
from mmengine.optim import BaseOptimWrapper
from mmengine.registry import LOG_PROCESSORS, VISUALIZERS
from mmengine.runner import _build
from mmengine.runner._facts import RunFacts
from mmengine.runner.base_loop import BaseLoop
from mmengine.runner.log_processor import LogProcessor
from mmengine.runner.utils import _get_batch_size
from mmengine.utils.errors import did_you_mean
from mmengine.visualization import Visualizer

Loader = DataLoader[Any] | dict[str, Any]


class RunParts(RunFacts):
    """The building side of a Runner: ``build_*`` for each part, and loops that are built on demand.

    A builder takes a config or the finished part, which it returns as it is.
    """

    model: Any
    optim_wrapper: Any
    param_schedulers: Any
    _train_dataloader: Any
    _val_dataloader: Any
    _val_loop: Any
    _val_evaluator: Any
    _test_dataloader: Any
    _test_loop: Any
    _test_evaluator: Any

    # The process and what watches the run

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Prepare the process as ``env_cfg`` says, which the constructor has done once."""
        setup_process(self._launcher, **known_environment(env_cfg))

    def set_randomness(
        self, seed: int | None, diff_rank_seed: bool = False, deterministic: bool = False
    ) -> None:
        """Seed everything anew."""
        self.strategy.set_randomness(seed, diff_rank_seed, deterministic)

    def build_logger(
        self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs: Any
    ) -> MMLogger:
        """A logger of this run; see :meth:`BaseStrategy.build_logger`."""
        return self.strategy.build_logger(log_level, log_file, **kwargs)

    def build_message_hub(self, message_hub: dict[str, Any] | None = None) -> MessageHub:
        """The message hub of this run, by its experiment name unless told otherwise."""
        if message_hub is not None and not isinstance(message_hub, Mapping):
            raise TypeError(f'message_hub is a dict or None, got {type(message_hub).__name__}.')
        settings = {'name': self.experiment_name, **(message_hub or {})}
        return MessageHub.get_instance(**settings)

    def build_visualizer(self, visualizer: Visualizer | dict[str, Any] | None = None) -> Visualizer:
        """A visualizer of this run; None writes scalars to local files."""
        if isinstance(visualizer, Visualizer):
            return visualizer
        if visualizer is not None and not isinstance(visualizer, Mapping):
            raise TypeError(
                f'A visualizer is a Visualizer, a dict or None, got {type(visualizer).__name__}.'
            )
        if visualizer is None:
            visualizer = {'vis_backends': [{'type': 'LocalVisBackend'}]}
        built: Visualizer = VISUALIZERS.build(
            placed(visualizer, type='Visualizer'),
            default_args={'name': self.experiment_name, 'save_dir': self.log_dir},
        )
        return built

    def build_log_processor(self, log_processor: LogProcessor | dict[str, Any]) -> LogProcessor:
        """A log processor from its config, or the given one."""
        if isinstance(log_processor, LogProcessor):
            return log_processor
        if not isinstance(log_processor, Mapping):
            raise TypeError(
                f'A log processor is a LogProcessor or a dict, got {type(log_processor).__name__}.'
            )
        return LOG_PROCESSORS.build(placed(log_processor, type='LogProcessor'))  # type: ignore[no-any-return]  # a registry builds anything

    # The model and its optimizers

    def build_model(self, model: nn.Module | dict[str, Any]) -> nn.Module:
        """``model`` itself, or the module that the config describes."""
        return self.strategy.build_model(model)

    def wrap_model(self, model_wrapper_cfg: Any, model: nn.Module) -> nn.Module:
        """The model on its device, inside the wrapper that several processes need."""
        if is_model_wrapper(model):
            return model
        converted = self.strategy.convert_model(model)
        return self.strategy.wrap_model(
            converted, model_wrapper_cfg, self.cfg.get('find_unused_parameters', False)
        )

    def build_optim_wrapper(
        self, optim_wrapper: BaseOptimWrapper | dict[str, Any]
    ) -> BaseOptimWrapper:
        """See :meth:`BaseStrategy.build_optim_wrapper`."""
        return self.strategy.build_optim_wrapper(optim_wrapper, self.model)

    def build_param_scheduler(self, scheduler: Any) -> list[Any] | dict[str, list[Any]]:
        """Schedulers of this run's optimizers; their ``end`` defaults to the end of training."""
        if not isinstance(self.optim_wrapper, BaseOptimWrapper):
            raise RuntimeError(
                'Schedulers change an optimizer that is built: call build_optim_wrapper first.'
            )
        loop = self.train_loop
        lengths = {
            'epoch_length': num_batches(self.train_dataloader),
            'max_epochs': getattr(loop, 'max_epochs', None),
            'max_iters': getattr(loop, 'max_iters', None),
        }
        return self.strategy.build_param_scheduler(scheduler, self.optim_wrapper, lengths)

    def scale_lr(
        self, optim_wrapper: BaseOptimWrapper, auto_scale_lr: dict[str, Any] | None = None
    ) -> None:
        """Scale rates to the real batch size; see :meth:`BaseStrategy.scale_lr`.

        Args:
            optim_wrapper: Changed in place.
            auto_scale_lr: ``base_batch_size`` and ``enable``; the strategy's own when None.

        Raises:
            RuntimeError: If schedulers are built already, which remember the rates.
        """
        if auto_scale_lr is not None:
            self.strategy.auto_scale_lr = auto_scale_lr
        settings = self.strategy.auto_scale_lr
        if not settings or not settings.get('enable', False):
            return
        if _has_built_scheduler(self.param_schedulers):
            raise RuntimeError(
                'The rates have to be scaled before schedulers are built, which go on from the '
                'rates they found. Give param_scheduler as configs, or scale the rates yourself.'
            )
        self.strategy.scale_lr(optim_wrapper, _get_batch_size(self.train_dataloader))

    # Data, metrics and loops

    @staticmethod
    def build_dataloader(
        dataloader: Loader, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader[Any]:
        """See :func:`mmengine.runner._build.build_dataloader`."""
        return _build.build_dataloader(dataloader, seed, diff_rank_seed)

    def build_evaluator(self, evaluator: Evaluator | dict[str, Any] | list[Any]) -> Evaluator:
        """See :func:`mmengine.runner._build.build_evaluator`."""
        return _build.build_evaluator(evaluator)

    def build_train_loop(self, loop: BaseLoop | dict[str, Any]) -> BaseLoop:
        """The train loop of ``train_cfg``."""
        if isinstance(loop, BaseLoop):
            return loop
        if not isinstance(loop, Mapping):
            raise TypeError(f'A loop is a loop object or a dict, got {type(loop).__name__}.')
        config, kind = _build.train_loop_type(loop)
        return _build.build_loop(config, kind, runner=self, dataloader=self._train_dataloader)

    def build_val_loop(self, loop: BaseLoop | dict[str, Any]) -> BaseLoop:
        """The val loop of ``val_cfg``."""
        return self._build_evaluation_loop(loop, 'val', self._val_dataloader, self._val_evaluator)

    def build_test_loop(self, loop: BaseLoop | dict[str, Any]) -> BaseLoop:
        """The test loop of ``test_cfg``."""
        return self._build_evaluation_loop(
            loop, 'test', self._test_dataloader, self._test_evaluator
        )

    def _build_evaluation_loop(
        self, loop: Any, stage: str, dataloader: Any, evaluator: Any
    ) -> BaseLoop:
        several = _build.named_parts(dataloader, evaluator, stage)
        kind = f'{stage.capitalize()}Loop'
        if several is not None:
            kind, (dataloader, evaluator) = f'Multi{kind}', several
        return _build.build_loop(
            loop, kind, runner=self, dataloader=dataloader, evaluator=evaluator
        )

    @property
    def train_loop(self) -> Any:
        """The train loop, built when first asked for; None without training."""
        if self._train_loop is not None and not isinstance(self._train_loop, BaseLoop):
            self._train_loop = self.build_train_loop(self._train_loop)
        return self._train_loop

    @property
    def val_loop(self) -> Any:
        """The val loop, built when first asked for; None without validation."""
        if self._val_loop is not None and not isinstance(self._val_loop, BaseLoop):
            self._val_loop = self.build_val_loop(self._val_loop)
        return self._val_loop

    @property
    def test_loop(self) -> Any:
        """The test loop, built when first asked for; None without a test."""
        if self._test_loop is not None and not isinstance(self._test_loop, BaseLoop):
            self._test_loop = self.build_test_loop(self._test_loop)
        return self._test_loop

    @property
    def train_dataloader(self) -> Any:
        """Of the train loop."""
        return getattr(self.train_loop, 'dataloader', None)

    @property
    def val_dataloader(self) -> Any:
        """Of the val loop."""
        return getattr(self.val_loop, 'dataloader', None)

    @property
    def test_dataloader(self) -> Any:
        """Of the test loop."""
        return getattr(self.test_loop, 'dataloader', None)

    @property
    def val_evaluator(self) -> Any:
        """Of the val loop."""
        return getattr(self.val_loop, 'evaluator', None)

    @property
    def test_evaluator(self) -> Any:
        """Of the test loop."""
        return getattr(self.test_loop, 'evaluator', None)


def known_environment(env_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of ``env_cfg`` that are set; warns of one that means nothing."""
    known = ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit')
    for name in env_cfg:
        if name not in known:
            print_log(
                f'env_cfg has {name!r}, which means nothing.{did_you_mean(str(name), known)}',
                logger='current',
                level=logging.WARNING,
            )
    return {name: env_cfg[name] for name in known if env_cfg.get(name) is not None}


def _has_built_scheduler(schedulers: Any) -> bool:
    if isinstance(schedulers, Mapping):
        return any(map(_has_built_scheduler, schedulers.values()))
    if isinstance(schedulers, (list, tuple)):
        return any(map(_has_built_scheduler, schedulers))
    return hasattr(schedulers, 'step')
