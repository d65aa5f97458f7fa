"""Runner: puts the parts of a run together and sets its loops going."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import nn

from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.config import Config, ConfigDict
from mmengine.dist import is_distributed, is_main_process
from mmengine.evaluator import Evaluator
from mmengine.fileio import join_path
from mmengine.hooks import Hook
from mmengine.model.build import init_model_weights
from mmengine.optim import BaseOptimWrapper
from mmengine.process.env import check_launcher
from mmengine.process.failure import stop_together
from mmengine.registry import RUNNERS, DefaultScope
from mmengine.runner import _resume
from mmengine.runner._build import _SlicedDataset
from mmengine.runner._checks import check_given_together, check_scheduler
from mmengine.runner._hooks import HookConfig, HookList, default_hooks
from mmengine.runner._parts import Loader, RunParts, known_environment
from mmengine.runner.activation_checkpointing import turn_on_activation_checkpointing
from mmengine.runner.log_processor import LogProcessor
from mmengine.runner.loops import EpochBasedTrainLoop, TestLoop, ValLoop
from mmengine.runner.priority import Priority
from mmengine.strategy import BaseStrategy, DDPStrategy, SingleDeviceStrategy
from mmengine.visualization import Visualizer

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ['EpochBasedTrainLoop', 'Runner', 'TestLoop', 'ValLoop', '_SlicedDataset']

ConfigLike = dict[str, Any] | Config | ConfigDict
# A plain loader, or several as a list or by name.
Loaders = Loader | Sequence[Loader]


@RUNNERS.register_module()
class Runner(RunParts):
    """Trains, validates and tests a model that a config or objects describe.

    The constructor sets up the process, the logger and the model; what only training needs is built
    by :meth:`train`. Each of the three stages needs its parts together: a dataloader, the config of
    a loop, and an optimizer or an evaluator.

    Args:
        model: A module, or its config for ``MODELS``.
        work_dir: Folder for logs and checkpoints; made when missing.
        train_dataloader: A dataloader or its config.
        val_dataloader: The same; also a list, or a dict by name, of several.
        test_dataloader: The same.
        train_cfg: ``by_epoch`` with ``max_epochs`` or ``max_iters``, or the ``type`` of a loop, and
            its arguments.
        val_cfg: Arguments of the val loop, often none: ``dict()``.
        test_cfg: Arguments of the test loop.
        auto_scale_lr: ``base_batch_size`` and ``enable``: scale rates linearly to the real batch
            size.
        optim_wrapper: An optimizer wrapper, its config, or several by name.
        param_scheduler: A scheduler config, a list, or lists by optimizer name.
        val_evaluator: A metric's config, a list of them, or an evaluator; for several dataloaders
            one each.
        test_evaluator: The same.
        default_hooks: Changes to the default hooks by key; None drops one.
        custom_hooks: More hooks.
        data_preprocessor: Config put into the model's config.
        load_from: Checkpoint whose weights are loaded, or, with ``resume``, whose run is continued.
        resume: Continue the run of ``load_from``; without that, or with 'auto', of the newest
            checkpoint in ``work_dir``, and begin anew if there is none. A path says which.
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
        val_dataloader: Loaders | None = None,
        test_dataloader: Loaders | None = None,
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
        resume: bool | str = False,
        launcher: str = 'none',
        env_cfg: dict[str, Any] = dict(dist_cfg=dict(backend='nccl')),  # noqa: B006  # the API's
        log_processor: LogProcessor | dict[str, Any] | None = None,
        log_level: str = 'INFO',
        visualizer: Visualizer | dict[str, Any] | None = None,
        default_scope: str = 'mmengine',
        randomness: dict[str, Any] = dict(seed=None),  # noqa: B006  # the API's
        experiment_name: str | None = None,
        cfg: ConfigLike | None = None,
    ) -> None:
        self.cfg = _own_config(cfg)
        check_given_together(
            'training',
            train_dataloader=train_dataloader,
            train_cfg=train_cfg,
            optim_wrapper=optim_wrapper,
        )
        check_given_together(
            'validation',
            val_dataloader=val_dataloader,
            val_cfg=val_cfg,
            val_evaluator=val_evaluator,
        )
        check_given_together(
            'testing',
            test_dataloader=test_dataloader,
            test_cfg=test_cfg,
            test_evaluator=test_evaluator,
        )
        check_scheduler(param_scheduler, optim_wrapper)

        # A loop's config here becomes the loop when that is first asked for.
        self._train_dataloader, self._train_loop = train_dataloader, train_cfg
        self._val_dataloader, self._val_loop = val_dataloader, val_cfg
        self._val_evaluator = val_evaluator
        self._test_dataloader, self._test_loop = test_dataloader, test_cfg
        self._test_evaluator = test_evaluator
        self.optim_wrapper: Any = optim_wrapper
        self.param_schedulers: Any = param_scheduler
        self.auto_scale_lr = auto_scale_lr
        self._is_lr_scaled = False
        self._load_from, self._resume = load_from, resume
        self._has_loaded = False

        self._launcher = check_launcher(launcher)
        self._randomness_cfg = dict(randomness or {})
        self._log_level = log_level
        self.strategy = self._build_strategy(work_dir, experiment_name, dict(env_cfg or {}))
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
    def from_cfg(cls, cfg: ConfigLike) -> Self:
        """A runner from a config whose keys are the constructor's arguments.

        Entries of other names are kept in ``runner.cfg``; an entry of None counts as not given.

        Raises:
            KeyError: If ``model`` or ``work_dir`` is missing.
        """
        cfg = copy.deepcopy(cfg)
        for name in ('model', 'work_dir'):
            if cfg.get(name) is None:
                raise KeyError(f'The config has no {name}, which a run cannot do without.')
        given = {
            name: cfg[name] for name in _argument_names(cls) - {'cfg'} if cfg.get(name) is not None
        }
        return cls(**given, cfg=cfg)

    # The three stages

    def train(self) -> nn.Module:
        """Train to the end of the train loop, from the start or from where a resumed run stopped.

        Returns:
            The model, inside its distributed wrapper if it has one.

        Raises:
            RuntimeError: If the runner was given nothing to train.
        """
        if self._train_loop is None:
            raise RuntimeError(
                _nothing_to('train', 'train_dataloader, train_cfg and optim_wrapper')
            )
        with stop_together():
            self._build_for_training()
            init_model_weights(self.model)
            self.call_hook('before_run')
            self.load_or_resume()
            loop = self.train_loop
            self.optim_wrapper.initialize_count_status(self.model, loop.iter, loop.max_iters)
            self._compile('train_step')
            model: nn.Module = loop.run()
            self.call_hook('after_run')
        return model

    def val(self) -> dict[str, float]:
        """Validate once; returns the metrics.

        Raises:
            RuntimeError: If the runner was given nothing to validate.
        """
        if self._val_loop is None:
            raise RuntimeError(_nothing_to('val', 'val_dataloader, val_cfg and val_evaluator'))
        return self._evaluate('val_loop')

    def test(self) -> dict[str, float]:
        """Test once; returns the metrics.

        Raises:
            RuntimeError: If the runner was given nothing to test.
        """
        if self._test_loop is None:
            raise RuntimeError(_nothing_to('test', 'test_dataloader, test_cfg and test_evaluator'))
        return self._evaluate('test_loop')

    def _build_for_training(self) -> None:
        """The train loop first, whose length schedulers ask for; rates are scaled before these."""
        self._train_loop = self.train_loop
        self.optim_wrapper = self.build_optim_wrapper(self.optim_wrapper)
        self.strategy.optim_wrapper = self.optim_wrapper
        if not self._is_lr_scaled:
            self.scale_lr(self.optim_wrapper, self.auto_scale_lr)
            self._is_lr_scaled = True
        if self.param_schedulers is not None:
            self.param_schedulers = self.build_param_scheduler(self.param_schedulers)
            self.strategy.param_schedulers = self.param_schedulers
        self._val_loop = self.val_loop

    def _evaluate(self, loop_name: str) -> dict[str, float]:
        with stop_together():
            loop = getattr(self, loop_name)
            self.call_hook('before_run')
            self.load_or_resume()
            metrics: dict[str, float] = loop.run()
            self.call_hook('after_run')
        return metrics

    # The strategy and the model

    def _build_strategy(
        self, work_dir: str, experiment_name: str | None, env_cfg: Mapping[str, Any]
    ) -> BaseStrategy:
        return self._pick_strategy(
            self._strategy_arguments(
                work_dir,
                experiment_name,
                env_cfg,
                self._launcher,
                self._randomness_cfg,
                self._log_level,
            )
        )

    def _strategy_arguments(
        self,
        work_dir: str,
        experiment_name: str | None,
        env_cfg: Mapping[str, Any],
        launcher: str,
        randomness: Mapping[str, Any],
        log_level: str,
    ) -> dict[str, Any]:
        name = experiment_name or (Path(self.cfg.filename).stem if self.cfg.filename else None)
        environment = known_environment(env_cfg)
        return {
            'work_dir': work_dir,
            'experiment_name': name,
            'env_kwargs': {'launcher': launcher, 'randomness': dict(randomness), **environment},
            'log_kwargs': {'log_level': log_level},
            'auto_scale_lr': self.auto_scale_lr,
        }

    def _pick_strategy(self, arguments: dict[str, Any]) -> BaseStrategy:
        if arguments['env_kwargs']['launcher'] == 'none' and not is_distributed():
            return SingleDeviceStrategy(**arguments)
        return DDPStrategy(
            model_wrapper=self.cfg.get('model_wrapper_cfg'),
            sync_bn=self.cfg.get('sync_bn'),
            **arguments,
        )

    def _prepare_model(self, model: Any, data_preprocessor: Any) -> nn.Module:
        if data_preprocessor is not None:
            model = self._with_preprocessor(model, data_preprocessor)
        built = self.build_model(model)
        self._model_name = type(unwrap_model(built)).__name__
        modules = self.cfg.get('activation_checkpointing')
        if modules:
            turn_on_activation_checkpointing(built, modules)
        placed = self.wrap_model(self.cfg.get('model_wrapper_cfg'), built)
        self.strategy.model = placed
        return placed

    def _with_preprocessor(self, model: Any, data_preprocessor: Any) -> Any:
        if isinstance(model, Mapping):
            model = copy.copy(model)
            model.setdefault('data_preprocessor', data_preprocessor)
        else:
            self.logger.warning(
                f'data_preprocessor is left out: the model is a finished {type(model).__name__}, '
                'which has its own.'
            )
        return model

    def _compile(self, default_target: str) -> None:
        settings = self._compile_settings
        if settings:
            options = settings if isinstance(settings, Mapping) else {}
            options = {'target': default_target, **options}
            self.model = self.strategy.compile_model(self.model, options)

    @property
    def _compile_settings(self) -> Any:
        return self.cfg.get('compile', False)

    # Hooks

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

    # Checkpoints

    def load_or_resume(self) -> None:
        """Continue a run or load weights, as the constructor was told. Does so once."""
        if self._has_loaded:
            return
        source = self.strategy.find_resume_source(self._load_from, self._resume)
        if source is not None:
            self.resume(source)
        elif self._load_from is not None:
            self.load_checkpoint(self._load_from)
        self._has_loaded = True

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | Callable[..., Any] = 'cpu',
        strict: bool = False,
        revise_keys: list[tuple[str, str]] = [(r'^module.', '')],  # noqa: B006  # the API's
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
        """Continue the run that wrote ``filename``, in all its state.

        A runner that is not to train takes the weights alone.

        Args:
            filename: A path or a URL.
            resume_optimizer: Take up the optimizers' state.
            resume_param_scheduler: Take up the schedulers' state.
            map_location: As in :func:`torch.load`; 'default' is the device of this process.
        """
        if self._train_loop is None:
            self.load_checkpoint(filename, map_location=map_location)
            return
        if not isinstance(self.optim_wrapper, BaseOptimWrapper):
            self._build_for_training()
        # Hooks that keep a second set of weights restore both only when a run is resumed.
        self._resume = True
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
            by_epoch: Whether the save comes at the end of an epoch, or after an iteration, that is
                not counted yet.
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
        """Write the config to the work dir, under its own file name if it has one.

        A file that is the config's source stays as it is, with its comments and base files.
        """
        if not is_main_process():
            return
        source = self.cfg.filename
        target = Path(self.work_dir, Path(source).name if source else f'{self.timestamp}.py')
        if source and target.exists() and target.samefile(source):
            return
        self.cfg.dump(str(target))

    def _show_loaded(self, checkpoint: dict[str, Any]) -> None:
        self.call_hook('after_load_checkpoint', checkpoint=checkpoint)


def _own_config(cfg: ConfigLike | None) -> Config:
    """A config of this run alone: what the caller does with theirs later changes nothing here."""
    if cfg is None:
        return Config({})
    if isinstance(cfg, Config):
        return copy.deepcopy(cfg)
    if isinstance(cfg, dict):
        return Config(copy.deepcopy(cfg))
    raise TypeError(f'cfg is a Config, a dict or None, got {type(cfg).__name__}.')


def _argument_names(cls: type[Runner]) -> set[str]:
    """What the constructors of a runner class take by name, those that a subclass passes on too."""
    return {
        name
        for base in cls.__mro__
        if issubclass(base, Runner)
        for name, parameter in inspect.signature(base.__init__).parameters.items()
        if name != 'self'
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }


def _nothing_to(stage: str, needed: str) -> str:
    return f'{stage}() needs {needed}; this Runner was made without.'
