"""Runner: puts the parts of a run together and sets its loops going."""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn
from torch.utils.data import DataLoader

from mmengine._checkpoint.unwrap import is_model_wrapper, unwrap_model
from mmengine._strategy import BaseStrategy, DDPStrategy, SingleDeviceStrategy
from mmengine._strategy._env import check_launcher
from mmengine._strategy._failure import stop_together
from mmengine.config import Config, ConfigDict
from mmengine.dist import is_distributed, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.fileio import join_path
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.model.build import init_model_weights
from mmengine.optim import BaseOptimWrapper
from mmengine.registry import LOG_PROCESSORS, RUNNERS, VISUALIZERS, DefaultScope
from mmengine.runner import _build, _resume
from mmengine.runner._build import _SlicedDataset
from mmengine.runner._checks import check_given_together, check_scheduler
from mmengine.runner._hooks import HookConfig, HookList, default_hooks
from mmengine.runner.base_loop import BaseLoop
from mmengine.runner.log_processor import LogProcessor
from mmengine.runner.loops import EpochBasedTrainLoop, TestLoop, ValLoop
from mmengine.runner.priority import Priority
from mmengine.runner.utils import _get_batch_size
from mmengine.visualization import Visualizer

__all__ = ['EpochBasedTrainLoop', 'Runner', 'TestLoop', 'ValLoop', '_SlicedDataset']

ConfigLike = dict[str, Any] | Config | ConfigDict
Loader = DataLoader[Any] | dict[str, Any]


@RUNNERS.register_module()
class Runner:
    """Trains, validates and tests a model that a config or objects describe.

    The constructor sets up the process, the logger and the model; everything that only training needs is built by
    :meth:`train`. Each of the three stages needs its parts together: (``train_dataloader``, ``train_cfg``, ``optim_wrapper``),
    (``val_dataloader``, ``val_cfg``, ``val_evaluator``), (``test_dataloader``, ``test_cfg``, ``test_evaluator``).

    Args:
        model: A module, or its config for ``MODELS``.
        work_dir: Folder for logs and checkpoints; made when missing.
        train_dataloader: A dataloader or its config.
        val_dataloader: The same; also a list, or a dict by name, of several.
        test_dataloader: The same.
        train_cfg: ``by_epoch`` with ``max_epochs`` or ``max_iters``, or the ``type`` of a loop, and its arguments.
        val_cfg: Arguments of the val loop, often none: ``dict()``.
        test_cfg: Arguments of the test loop.
        auto_scale_lr: ``base_batch_size`` and ``enable``: scale rates linearly to the real batch size.
        optim_wrapper: An optimizer wrapper, its config, or several by name.
        param_scheduler: A scheduler config, a list, or lists by optimizer name.
        val_evaluator: A metric's config, a list of them, or an evaluator; for several dataloaders one each.
        test_evaluator: The same.
        default_hooks: Changes to the default hooks by key; None drops one.
        custom_hooks: More hooks.
        data_preprocessor: Config put into the model's config.
        load_from: Checkpoint whose weights are loaded, or, with ``resume``, whose run is continued.
        resume: Continue from ``load_from``, or from the newest checkpoint in ``work_dir``.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        env_cfg: ``cudnn_benchmark``, ``mp_cfg``, ``dist_cfg``, ``resource_limit``.
        log_processor: A log processor or its config.
        log_level: Of the logger.
        visualizer: A visualizer or its config; by default scalars go to files.
        default_scope: Registry scope in which types are looked for.
        randomness: ``seed``, ``diff_rank_seed``, ``deterministic``.
        experiment_name: Name of the run; the config's file name by default.
        cfg: The whole config, kept with the run; also read for ``model_wrapper_cfg``, ``sync_bn``,
            ``find_unused_parameters``, ``compile`` and ``activation_checkpointing``.

    Raises:
        ArgumentError: If a stage is half given, or a value is wrong.
    """

    cfg: Config

    def __init__(
        self,
        model: nn.Module | dict[str, Any],
        work_dir: str,
        train_dataloader: Loader | None = None,
        val_dataloader: Loader | None = None,
        test_dataloader: Loader | None = None,
        train_cfg: dict[str, Any] | None = None,
        val_cfg: dict[str, Any] | None = None,
        test_cfg: dict[str, Any] | None = None,
        auto_scale_lr: dict[str, Any] | None = None,
        optim_wrapper: BaseOptimWrapper | dict[str, Any] | None = None,
        param_scheduler: Any = None,
        val_evaluator: Evaluator | dict[str, Any] | list[Any] | None = None,
        test_evaluator: Evaluator | dict[str, Any] | list[Any] | None = None,
        default_hooks: dict[str, Any] | None = None,
        custom_hooks: list[HookConfig] | None = None,
        data_preprocessor: nn.Module | dict[str, Any] | None = None,
        load_from: str | None = None,
        resume: bool = False,
        launcher: str = 'none',
        env_cfg: dict[str, Any] = dict(dist_cfg=dict(backend='nccl')),  # noqa: B006  # the API's default, never changed
        log_processor: LogProcessor | dict[str, Any] | None = None,
        log_level: str = 'INFO',
        visualizer: Visualizer | dict[str, Any] | None = None,
        default_scope: str = 'mmengine',
        randomness: dict[str, Any] = dict(seed=None),  # noqa: B006  # the API's default, never changed
        experiment_name: str | None = None,
        cfg: ConfigLike | None = None,
    ) -> None:
        self.cfg = _own_config(cfg)
        check_given_together(
            'training',
            {
                'train_dataloader': train_dataloader,
                'train_cfg': train_cfg,
                'optim_wrapper': optim_wrapper,
            },
        )
        check_given_together(
            'validation',
            {'val_dataloader': val_dataloader, 'val_cfg': val_cfg, 'val_evaluator': val_evaluator},
        )
        check_given_together(
            'testing',
            {
                'test_dataloader': test_dataloader,
                'test_cfg': test_cfg,
                'test_evaluator': test_evaluator,
            },
        )
        check_scheduler(param_scheduler, optim_wrapper)

        # A loop is its config, a dict, until it is first asked for.
        self._train_dataloader: Any = train_dataloader
        self._train_loop: Any = train_cfg
        self._val_dataloader, self._val_loop, self._val_evaluator = (
            val_dataloader,
            val_cfg,
            val_evaluator,
        )
        self._test_dataloader, self._test_loop, self._test_evaluator = (
            test_dataloader, test_cfg, test_evaluator,
        )  # fmt: skip
        self.optim_wrapper: Any = optim_wrapper
        self.param_schedulers: Any = param_scheduler
        self.auto_scale_lr = auto_scale_lr
        self._load_from, self._resume = load_from, resume
        self._has_loaded = False

        self._launcher = check_launcher(launcher)
        self._randomness_cfg = dict(randomness or {})
        self._log_level = log_level
        self.strategy = self._build_strategy(work_dir, experiment_name, dict(env_cfg or {}))
        self.logger: MMLogger = self.strategy.logger
        self.default_scope = DefaultScope.get_instance(
            self.experiment_name, scope_name=default_scope
        )
        self.message_hub = self.build_message_hub()
        self.log_processor = self.build_log_processor(log_processor or {})
        self.visualizer = self.build_visualizer(visualizer)
        if self.cfg:
            self.visualizer.add_config(self.cfg)
        self.logger.info(self.strategy.collect_env())
        self.logger.info(f'Config:\n{self.config_text}')

        self.model: Any = self._prepare_model(model, data_preprocessor)
        self._hooks = HookList()
        self.register_hooks(default_hooks, custom_hooks)
        self.logger.info(f'Hooks will be executed in the following order:\n{self.get_hooks_info()}')
        self.dump_config()

    @classmethod
    def from_cfg(cls, cfg: ConfigLike) -> Runner:
        """A runner from a config whose keys are the constructor's arguments.

        Raises:
            KeyError: If ``model`` or ``work_dir`` is missing.
        """
        cfg = copy.deepcopy(cfg)
        for key in ('model', 'work_dir'):
            if cfg.get(key) is None:
                raise KeyError(f'The config has no {key}, which a run cannot do without.')
        arguments = {
            name: cfg.get(name)
            for name in (
                'model', 'work_dir', 'train_dataloader', 'val_dataloader', 'test_dataloader', 'train_cfg', 'val_cfg',
                'test_cfg', 'auto_scale_lr', 'optim_wrapper', 'param_scheduler', 'val_evaluator', 'test_evaluator',
                'default_hooks', 'custom_hooks', 'data_preprocessor', 'load_from', 'log_processor', 'visualizer',
                'experiment_name',
            )
        }  # fmt: skip
        return cls(
            **arguments,
            resume=cfg.get('resume', False),
            launcher=cfg.get('launcher', 'none'),
            env_cfg=cfg.get('env_cfg', {'dist_cfg': {'backend': 'nccl'}}),
            log_level=cfg.get('log_level', 'INFO'),
            default_scope=cfg.get('default_scope', 'mmengine'),
            randomness=cfg.get('randomness', {'seed': None}),
            cfg=cfg,
        )

    # -- the three stages -------------------------------------------------------------------------

    def train(self) -> nn.Module:
        """Train to the end of the train loop, from the start or from where a resumed run had stopped.

        Returns:
            The model, inside its distributed wrapper if it has one.

        Raises:
            RuntimeError: If the runner was given nothing to train.
        """
        if self._train_loop is None:
            raise RuntimeError(
                'train() needs train_dataloader, train_cfg and optim_wrapper; this Runner was made without.'
            )
        with stop_together():
            self._build_for_training()
            self._init_model_weights()
            self.call_hook('before_run')
            self.load_or_resume()
            self.optim_wrapper.initialize_count_status(
                self.model, self.train_loop.iter, self.train_loop.max_iters
            )
            self._compile('train_step')
            model: nn.Module = self.train_loop.run()
            self.call_hook('after_run')
        return model

    def val(self) -> dict[str, float]:
        """Validate once; returns the metrics.

        Raises:
            RuntimeError: If the runner was given nothing to validate.
        """
        if self._val_loop is None:
            raise RuntimeError(
                'val() needs val_dataloader, val_cfg and val_evaluator; this Runner was made without.'
            )
        return self._evaluate(lambda: self.val_loop)

    def test(self) -> dict[str, float]:
        """Test once; returns the metrics.

        Raises:
            RuntimeError: If the runner was given nothing to test.
        """
        if self._test_loop is None:
            raise RuntimeError(
                'test() needs test_dataloader, test_cfg and test_evaluator; this Runner was made without.'
            )
        return self._evaluate(lambda: self.test_loop)

    def _build_for_training(self) -> None:
        loop = self.train_loop
        self.optim_wrapper = self.build_optim_wrapper(self.optim_wrapper)
        self.strategy.optim_wrapper = self.optim_wrapper
        self.scale_lr(self.optim_wrapper, self.auto_scale_lr)
        if self.param_schedulers is not None:
            self.param_schedulers = self.build_param_scheduler(self.param_schedulers)
            self.strategy.param_schedulers = self.param_schedulers
        if self._val_loop is not None:
            self._val_loop = self.build_val_loop(self._val_loop)
        assert loop is self.train_loop

    def _evaluate(self, loop: Callable[[], Any]) -> dict[str, float]:
        with stop_together():
            built = loop()
            self.call_hook('before_run')
            self.load_or_resume()
            metrics: dict[str, float] = built.run()
            self.call_hook('after_run')
        return metrics

    def _init_model_weights(self) -> None:
        init_model_weights(self.model)

    def _compile(self, default_target: str) -> None:
        settings = self._compile_settings
        if settings:
            options = {
                'target': default_target,
                **(settings if isinstance(settings, Mapping) else {}),
            }
            self.model = self.strategy.compile_model(self.model, options)

    @property
    def _compile_settings(self) -> Any:
        return self.cfg.get('compile', False)

    # -- builders: each a delegate ----------------------------------------------------------------

    def _build_strategy(
        self, work_dir: str, experiment_name: str | None, env_cfg: dict[str, Any]
    ) -> BaseStrategy:
        arguments = self._strategy_arguments(
            work_dir,
            experiment_name,
            env_cfg,
            self._launcher,
            self._randomness_cfg,
            self._log_level,
        )
        return self._pick_strategy(arguments)

    def _strategy_arguments(
        self,
        work_dir: str,
        experiment_name: str | None,
        env_cfg: Mapping[str, Any],
        launcher: str,
        randomness: dict[str, Any],
        log_level: str,
    ) -> dict[str, Any]:
        name = experiment_name or (Path(self.cfg.filename).stem if self.cfg.filename else None)
        environment = _known_environment(env_cfg)
        return {
            'work_dir': work_dir,
            'experiment_name': name,
            'env_kwargs': {'launcher': launcher, 'randomness': randomness, **environment},
            'log_kwargs': {'log_level': log_level},
            'auto_scale_lr': self.auto_scale_lr,
        }

    def _pick_strategy(self, arguments: dict[str, Any]) -> BaseStrategy:
        if self._launcher == 'none' and not is_distributed():
            return SingleDeviceStrategy(**arguments)
        return DDPStrategy(
            model_wrapper=self.cfg.get('model_wrapper_cfg'),
            sync_bn=self.cfg.get('sync_bn'),
            **arguments,
        )

    def _prepare_model(self, model: Any, data_preprocessor: Any) -> nn.Module:
        if isinstance(model, Mapping) and data_preprocessor is not None:
            model = type(model)(model)
            model.setdefault('data_preprocessor', data_preprocessor)
        built = self.build_model(model)
        self._model_name = type(unwrap_model(built)).__name__
        self._checkpoint_activations(built)
        placed = self.wrap_model(self.cfg.get('model_wrapper_cfg'), built)
        self.strategy.model = placed
        return placed

    def _checkpoint_activations(self, model: nn.Module) -> None:
        modules = self.cfg.get('activation_checkpointing')
        if modules:
            from mmengine.runner.activation_checkpointing import turn_on_activation_checkpointing

            turn_on_activation_checkpointing(model, modules)

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Prepare the process as ``env_cfg`` says; the constructor has done it for the run's own."""
        from mmengine._strategy._env import setup_process

        setup_process(self._launcher, **_known_environment(env_cfg))

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
        defaults = {'type': 'Visualizer', 'name': self.experiment_name, 'save_dir': self.log_dir}
        if visualizer is None:
            defaults['vis_backends'] = [{'type': 'LocalVisBackend'}]  # type: ignore[assignment]  # mixed values
        return VISUALIZERS.build({**defaults, **(visualizer or {})})  # type: ignore[no-any-return]  # the registry's word

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
        loop = self.train_loop
        lengths = {
            'epoch_length': _length_of(self.train_dataloader),
            'max_epochs': loop.max_epochs,
            'max_iters': loop.max_iters,
        }
        return self.strategy.build_param_scheduler(scheduler, self.optim_wrapper, lengths)

    def scale_lr(
        self, optim_wrapper: BaseOptimWrapper, auto_scale_lr: dict[str, Any] | None = None
    ) -> None:
        """Scale rates to the real batch size; see :meth:`BaseStrategy.scale_lr`."""
        self.strategy.auto_scale_lr = auto_scale_lr
        if auto_scale_lr and auto_scale_lr.get('enable', False):
            self.strategy.scale_lr(optim_wrapper, _get_batch_size(self.train_dataloader))

    @staticmethod
    def build_dataloader(
        dataloader: Loader, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader[Any]:
        """See :func:`mmengine.runner._build.build_dataloader`."""
        return _build.build_dataloader(dataloader, seed, diff_rank_seed)

    def build_evaluator(self, evaluator: Evaluator | dict[str, Any] | list[Any]) -> Evaluator:
        """See :func:`mmengine.runner._build.build_evaluator`."""
        return _build.build_evaluator(evaluator)

    def build_log_processor(self, log_processor: LogProcessor | dict[str, Any]) -> LogProcessor:
        """A log processor from its config, or the given one."""
        if isinstance(log_processor, Mapping):
            return LOG_PROCESSORS.build({'type': 'LogProcessor', **log_processor})  # type: ignore[no-any-return]  # the registry's word
        if not isinstance(log_processor, LogProcessor):
            raise TypeError(
                f'A log processor is a LogProcessor or a dict, got {type(log_processor).__name__}.'
            )
        return log_processor

    def build_train_loop(self, loop: BaseLoop | dict[str, Any]) -> BaseLoop:
        """The train loop of ``train_cfg``."""
        if isinstance(loop, BaseLoop):
            return loop
        if not isinstance(loop, Mapping):
            raise TypeError(f'A loop is a BaseLoop or a dict, got {type(loop).__name__}.')
        config, kind = _build.train_loop_type(loop)
        arguments = {'runner': self, 'dataloader': self._train_dataloader}
        return _build.build_loop(config, kind, BaseLoop, arguments)  # type: ignore[no-any-return]  # the registry's word

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
        arguments = {'runner': self, 'dataloader': dataloader, 'evaluator': evaluator}
        return _build.build_loop(loop, kind, BaseLoop, arguments)  # type: ignore[no-any-return]  # the registry's word

    # -- hooks ------------------------------------------------------------------------------------

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call every hook that acts at the point ``fn_name``, in the order of priorities."""
        for method in self._hooks.acting[fn_name]:
            method(self, **kwargs)

    def register_hook(self, hook: HookConfig, priority: int | str | Priority | None = None) -> None:
        """Add a hook; see :meth:`HookList.register`."""
        self._hooks.register(hook, priority)

    def register_default_hooks(self, hooks: dict[str, Any] | None = None) -> None:
        """Add the default hooks, changed by ``hooks``; see :func:`default_hooks`."""
        for hook in default_hooks(hooks):
            self.register_hook(hook)

    def register_custom_hooks(self, hooks: Sequence[HookConfig]) -> None:
        """Add the user's hooks."""
        for hook in hooks:
            self.register_hook(hook)

    def register_hooks(
        self,
        default_hooks: dict[str, Any] | None = None,
        custom_hooks: Sequence[HookConfig] | None = None,
    ) -> None:
        """Add default and custom hooks."""
        self.register_default_hooks(default_hooks)
        if custom_hooks is not None:
            self.register_custom_hooks(custom_hooks)

    def get_hooks_info(self) -> str:
        """Which hooks act at which point."""
        return self._hooks.describe()

    @property
    def hooks(self) -> list[Hook]:
        """The hooks in calling order."""
        return self._hooks.hooks

    # -- checkpoints ------------------------------------------------------------------------------

    def load_or_resume(self) -> None:
        """Continue a run or load weights, as the constructor was told. Does so once."""
        if self._has_loaded:
            return
        self._has_loaded = True
        source = self.strategy.find_resume_source(self._load_from, self._resume)
        if source is not None:
            self.resume(source)
        elif self._load_from is not None:
            self.load_checkpoint(self._load_from)

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | Callable[..., Any] = 'cpu',
        strict: bool = False,
        revise_keys: list[tuple[str, str]] = [(r'^module.', '')],  # noqa: B006  # the API's default, never changed
    ) -> dict[str, Any]:
        """Load weights into the model; returns the whole checkpoint."""
        checkpoint = self.strategy.load_checkpoint(
            filename,
            map_location=map_location,
            strict=strict,
            revise_keys=revise_keys,
            callback=self._show_loaded,
        )
        self._has_loaded = True
        return checkpoint

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: str | Callable[..., Any] = 'default',
    ) -> None:
        """Continue the run that wrote ``filename``: weights, optimizers, schedulers, position, messages, random numbers."""
        if self._train_loop is None:
            self.load_checkpoint(filename, map_location=map_location)
            return
        if not isinstance(self.optim_wrapper, BaseOptimWrapper):
            self._build_for_training()
        checkpoint = self.strategy.resume(
            filename,
            resume_optimizer=resume_optimizer,
            resume_param_scheduler=resume_param_scheduler,
            map_location=map_location,
            callback=self._show_loaded,
        )
        _resume.unpack(self, checkpoint)
        self._has_loaded = True

    def save_checkpoint(
        self,
        out_dir: str,
        filename: str,
        file_client_args: dict[str, Any] | None = None,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        meta: dict[str, Any] | None = None,
        by_epoch: bool = True,
        backend_args: dict[str, Any] | None = None,
    ) -> None:
        """Write the state of the run to ``out_dir/filename``. All ranks call it; rank 0 writes.

        Args:
            out_dir: A folder or a URL.
            filename: Of the checkpoint.
            file_client_args: The old name of ``backend_args``.
            save_optimizer: Include the optimizers' state.
            save_param_scheduler: Include the schedulers' state.
            meta: Entries that override or add to the checkpoint's ``meta``.
            by_epoch: Whether the save comes at the end of an epoch or after an iteration that is not counted yet.
            backend_args: Which file backend to use.
        """
        extra = _resume.pack(self, meta, by_epoch)
        extra['backend_args'] = backend_args or file_client_args
        self.strategy.save_checkpoint(
            join_path(out_dir, filename),
            save_optimizer=save_optimizer,
            save_param_scheduler=save_param_scheduler,
            extra_ckpt=extra,
            callback=lambda checkpoint: self.call_hook(
                'before_save_checkpoint', checkpoint=checkpoint
            ),
        )

    def dump_config(self) -> None:
        """Write the config to the work dir, under its own file name if it has one."""
        if not is_main_process():
            return
        name = Path(self.cfg.filename).name if self.cfg.filename else f'{self.timestamp}.py'
        self.cfg.dump(os.path.join(self.work_dir, name))

    def _show_loaded(self, checkpoint: dict[str, Any]) -> None:
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)

    # -- facts ------------------------------------------------------------------------------------

    @property
    def config_text(self) -> str:
        """The config as text."""
        return self.cfg.pretty_text

    @property
    def randomness_cfg(self) -> dict[str, Any]:
        """Arguments of the seeding."""
        return self._randomness_cfg

    @property
    def experiment_name(self) -> str:
        """Name of the run, with its timestamp."""
        return self.strategy.experiment_name

    @property
    def model_name(self) -> str:
        """Class name of the model inside its wrapper."""
        return self._model_name

    @property
    def work_dir(self) -> str:
        """Folder of the run, absolute."""
        return self.strategy.work_dir

    @property
    def log_dir(self) -> str:
        """Folder of this start's log and scalars."""
        return self.strategy.log_dir

    @property
    def timestamp(self) -> str:
        """When the run began."""
        return self.strategy.timestamp

    @property
    def launcher(self) -> str:
        """none, pytorch, slurm or mpi."""
        return self._launcher

    @property
    def distributed(self) -> bool:
        """Whether several processes train together."""
        return self.strategy.distributed

    @property
    def rank(self) -> int:
        """Of this process."""
        return self.strategy.rank

    @property
    def world_size(self) -> int:
        """How many processes train together."""
        return self.strategy.world_size

    @property
    def seed(self) -> int:
        """Of the run, the same on all ranks."""
        return self.strategy.seed

    @property
    def deterministic(self) -> bool:
        """Whether deterministic kernels were asked for."""
        return bool(self.strategy.randomness['deterministic'])

    @property
    def max_epochs(self) -> int:
        """Epochs to train; 1 without a train loop."""
        loop = self._train_loop
        return 1 if loop is None or isinstance(loop, dict) else loop.max_epochs

    @property
    def max_iters(self) -> int:
        """Iterations to train; 1 without a train loop."""
        loop = self._train_loop
        return 1 if loop is None or isinstance(loop, dict) else loop.max_iters

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        loop = self._train_loop
        return 0 if loop is None or isinstance(loop, dict) else loop.epoch

    @property
    def iter(self) -> int:
        """Finished iterations."""
        loop = self._train_loop
        return 0 if loop is None or isinstance(loop, dict) else loop.iter

    @property
    def val_begin(self) -> int:
        """The first epoch or iteration to validate after."""
        loop = self._train_loop
        return 1 if loop is None or isinstance(loop, dict) else loop.val_begin

    @property
    def val_interval(self) -> int:
        """Epochs or iterations from validation to validation."""
        loop = self._train_loop
        return 1 if loop is None or isinstance(loop, dict) else loop.val_interval

    @property
    def train_loop(self) -> Any:
        """The train loop, built when first asked for."""
        if isinstance(self._train_loop, dict):
            self._train_loop = self.build_train_loop(self._train_loop)  # type: ignore[assignment]  # config becomes loop
        return self._train_loop

    @property
    def val_loop(self) -> Any:
        """The val loop, built when first asked for."""
        if isinstance(self._val_loop, dict):
            self._val_loop = self.build_val_loop(self._val_loop)  # type: ignore[assignment]  # config becomes loop
        return self._val_loop

    @property
    def test_loop(self) -> Any:
        """The test loop, built when first asked for."""
        if isinstance(self._test_loop, dict):
            self._test_loop = self.build_test_loop(self._test_loop)  # type: ignore[assignment]  # config becomes loop
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


def _own_config(cfg: ConfigLike | None) -> Config:
    """A config of this run alone: what the caller does with theirs later changes nothing here."""
    if cfg is None:
        return Config({})
    if isinstance(cfg, Config):
        return copy.deepcopy(cfg)
    if isinstance(cfg, dict):
        return Config(copy.deepcopy(cfg))
    raise TypeError(f'cfg is a Config, a dict or None, got {type(cfg).__name__}.')


def _known_environment(env_cfg: Mapping[str, Any]) -> dict[str, Any]:
    known = ('cudnn_benchmark', 'mp_cfg', 'dist_cfg', 'resource_limit')
    return {key: env_cfg[key] for key in known if env_cfg.get(key) is not None}


def _length_of(dataloader: Any) -> int | None:
    try:
        return len(dataloader)
    except TypeError:
        return None
