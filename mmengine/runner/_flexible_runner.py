"""FlexibleRunner: a Runner with the strategy as an argument."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import nn

from mmengine.evaluator import Evaluator
from mmengine.optim import BaseOptimWrapper
from mmengine.process.env import check_launcher
from mmengine.registry import RUNNERS
from mmengine.runner._api import Loader
from mmengine.runner._arguments import ConfigLike
from mmengine.runner._hook_list import HookConfig
from mmengine.runner._preparing import build_strategy, strategy_arguments
from mmengine.runner.log_processor import LogProcessor
from mmengine.runner.runner import Loaders, Runner
from mmengine.strategy import BaseStrategy
from mmengine.visualization import Visualizer


@RUNNERS.register_module()
class FlexibleRunner(Runner):
    """A :class:`Runner` whose ``strategy`` is given, by object or config; see there for the other
    arguments.

    Args:
        strategy: A strategy, its config for ``STRATEGIES``, or a name such as 'fsdp'; None and
            'auto' pick one by the launcher.
        compile: True, or arguments of ``torch.compile``.
    """

    def __init__(
        self,
        model: nn.Module | dict[str, Any],
        *,
        work_dir: str = 'work_dirs',
        experiment_name: str | None = None,
        train_dataloader: Loader | None = None,
        optim_wrapper: BaseOptimWrapper | dict[str, Any] | None = None,
        param_scheduler: Any = None,
        train_cfg: dict[str, Any] | None = None,
        val_dataloader: Loaders | None = None,
        val_evaluator: Evaluator | dict[str, Any] | list[Any] | None = None,
        val_cfg: dict[str, Any] | None = None,
        test_dataloader: Loaders | None = None,
        test_evaluator: Evaluator | dict[str, Any] | list[Any] | None = None,
        test_cfg: dict[str, Any] | None = None,
        strategy: BaseStrategy | dict[str, Any] | str | None = None,
        auto_scale_lr: dict[str, Any] | None = None,
        default_hooks: dict[str, Any] | None = None,
        custom_hooks: list[HookConfig] | None = None,
        data_preprocessor: nn.Module | dict[str, Any] | None = None,
        load_from: str | None = None,
        resume: bool | str | dict[str, Any] = False,
        launcher: str | None = None,
        env_cfg: dict[str, Any] = dict(dist_cfg=dict(backend='nccl')),  # noqa: B006  # the API's
        log_processor: LogProcessor | dict[str, Any] | None = None,
        log_level: str = 'INFO',
        visualizer: Visualizer | dict[str, Any] | None = None,
        default_scope: str = 'mmengine',
        randomness: dict[str, Any] = dict(seed=None),  # noqa: B006  # the API's
        compile: bool | dict[str, Any] = False,
        cfg: ConfigLike | None = None,
        preempt: dict[str, Any] | None = None,
        watchdog: dict[str, Any] | None = None,
        checkpoint: dict[str, Any] | None = None,
    ) -> None:
        self._given_strategy = strategy
        self._given_compile = compile
        self._given_work_dir = work_dir
        super().__init__(
            model=model,
            work_dir=work_dir,
            train_dataloader=train_dataloader,
            val_dataloader=val_dataloader,
            test_dataloader=test_dataloader,
            train_cfg=train_cfg,
            val_cfg=val_cfg,
            test_cfg=test_cfg,
            auto_scale_lr=auto_scale_lr,
            optim_wrapper=optim_wrapper,
            param_scheduler=param_scheduler,
            val_evaluator=val_evaluator,
            test_evaluator=test_evaluator,
            default_hooks=default_hooks,
            custom_hooks=custom_hooks,
            data_preprocessor=data_preprocessor,
            load_from=load_from,
            resume=resume,
            launcher=check_launcher(launcher),
            env_cfg=env_cfg,
            log_processor=log_processor,
            log_level=log_level,
            visualizer=visualizer,
            default_scope=default_scope,
            randomness=randomness,
            experiment_name=experiment_name,
            cfg=cfg,
            preempt=preempt,
            watchdog=watchdog,
            checkpoint=checkpoint,
        )

    def build_strategy(
        self,
        strategy: BaseStrategy | dict[str, Any] | str | None = None,
        launcher: str | None = 'none',
        randomness: dict[str, Any] | None = None,
        env_cfg: Mapping[str, Any] = dict(dist_cfg=dict(backend='nccl')),  # the API's
        experiment_name: str | None = None,
        log_level: str | None = None,
    ) -> BaseStrategy:
        """A strategy of this run from its config; None picks one by the launcher."""
        if isinstance(strategy, BaseStrategy):
            return strategy
        return build_strategy(
            strategy,
            self.cfg,
            strategy_arguments(
                self.cfg,
                work_dir=self._given_work_dir,
                experiment_name=experiment_name,
                launcher=check_launcher(launcher),
                randomness=randomness or {},
                env_cfg=env_cfg,
                log_level=log_level or 'INFO',
                auto_scale_lr=None,
            ),
        )

    def _build_strategy(self, arguments: dict[str, Any]) -> BaseStrategy:
        return build_strategy(self._given_strategy, self.cfg, arguments)

    def _place_model(self, model: nn.Module) -> nn.Module:
        """Leave placing to the strategy: it prepares the model when a stage begins."""
        return model

    @property
    def _compile_settings(self) -> Any:
        return self._given_compile or super()._compile_settings
