"""Runner: puts the parts of a run together and runs its stages."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from torch import nn

from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.dist import is_main_process
from mmengine.evaluator import Evaluator
from mmengine.fileio import join_path
from mmengine.hooks._states import load_hooks_state
from mmengine.optim import BaseOptimWrapper
from mmengine.process.env import check_launcher
from mmengine.process.signals import Preempt
from mmengine.process.watchdog import WatchdogSettings
from mmengine.registry import RUNNERS, DefaultScope
from mmengine.runner import _loading, _resume
from mmengine.runner._api import Loader, RunnerMembers
from mmengine.runner._arguments import (
    ConfigLike,
    argument_names,
    check_arguments,
    nothing_to,
    own_config,
)
from mmengine.runner._bad_samples import report_bad_samples
from mmengine.runner._build import _SlicedDataset
from mmengine.runner._build_run import write_config, write_first_config
from mmengine.runner._config_keys import check_given, misspelt_key_messages
from mmengine.runner._ending import flush_open_windows, stage_of
from mmengine.runner._hook_list import HookConfig, HookList
from mmengine.runner._preparing import (
    BuiltFrom,
    begin_counts,
    build_strategy,
    own_steps,
    place_model,
    prepare_training,
    strategy_arguments,
    with_preprocessor,
)
from mmengine.runner._settings import arguments_text
from mmengine.runner._split_data import GivenData
from mmengine.runner._stopping import evaluate_alone
from mmengine.runner._units import counts_epochs, follow_run, report_units
from mmengine.runner._unread_results import report_unread
from mmengine.runner.activation_checkpointing import turn_on_activation_checkpointing
from mmengine.runner.log_processor import LogProcessor
from mmengine.runner.loops import EpochBasedTrainLoop, TestLoop, ValLoop
from mmengine.strategy import BaseStrategy
from mmengine.strategy._checkpoint_settings import CheckpointSettings
from mmengine.strategy._resume_request import parse_resume
from mmengine.strategy._state import RunState
from mmengine.visualization import Visualizer

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ['EpochBasedTrainLoop', 'Runner', 'TestLoop', 'ValLoop', '_SlicedDataset']

# A plain loader, or several as a list or by name.
Loaders = Loader | Sequence[Loader]


@RUNNERS.register_module()
class Runner(RunnerMembers):
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
        auto_scale_lr: ``base_batch_size`` and ``enable``: scale learning rates linearly with the
            real batch size.
        optim_wrapper: An optimizer wrapper, its config, or several by name.
        param_scheduler: A scheduler config, a list, or lists by optimizer name.
        val_evaluator: A metric's config or name, a list of them, or an evaluator; for several
            dataloaders one each.
        test_evaluator: The same.
        default_hooks: Changes to the default hooks by key; None drops one.
        custom_hooks: More hooks.
        data_preprocessor: Config put into the model's config.
        load_from: Checkpoint whose weights a new run begins with; see ``resume``.
        resume: True continues the newest checkpoint in ``work_dir``, or the run of ``load_from`` if
            there is none; 'auto' continues the newest or begins anew; a path says which. A dict of
            fields of :class:`ResumeRequest` also says what wins.
        launcher: 'none', 'pytorch', 'slurm' or 'mpi'.
        env_cfg: ``cudnn_benchmark``, ``mp_cfg``, ``dist_cfg``, ``resource_limit``, ``lock``.
        log_processor: A log processor or its config.
        log_level: Of the logger.
        visualizer: A visualizer or its config; by default scalars go to files.
        default_scope: Registry scope in which types are looked for.
        randomness: Arguments of :meth:`Session.set_randomness`, such as ``seed``.
        experiment_name: Name of the run; the config's file name by default.
        cfg: The whole config, kept with the run; also read for ``strategy`` ('auto', 'ddp', 'fsdp'
            or a config), ``model_wrapper_cfg``, ``sync_bn``, ``find_unused_parameters``,
            ``compile``, ``activation_checkpointing`` and ``strict_config``, which makes warnings
            about misspelt keys errors.
        preempt: ``signals`` that ask the run to stop, the ``exit_code`` then, and
            ``save_within_s``; see :class:`Preempt`.
        watchdog: ``timeout_s`` without a batch, and ``action``; see :class:`WatchdogSettings`.
        checkpoint: ``format`` and ``async_save``; see :class:`CheckpointSettings`.

    Raises:
        ArgumentError: If a stage is half given, or a value is wrong.
    """

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
        val_evaluator: Evaluator | dict[str, Any] | list[Any] | str | None = None,
        test_evaluator: Evaluator | dict[str, Any] | list[Any] | str | None = None,
        default_hooks: dict[str, Any] | None = None,
        custom_hooks: list[HookConfig] | None = None,
        data_preprocessor: nn.Module | dict[str, Any] | None = None,
        load_from: str | None = None,
        resume: bool | str | dict[str, Any] = False,
        launcher: str = 'none',
        env_cfg: dict[str, Any] = dict(dist_cfg=dict(backend='nccl')),  # noqa: B006  # the API's
        log_processor: LogProcessor | dict[str, Any] | None = None,
        log_level: str = 'INFO',
        visualizer: Visualizer | dict[str, Any] | None = None,
        default_scope: str = 'mmengine',
        randomness: dict[str, Any] = dict(seed=None),  # noqa: B006  # the API's
        experiment_name: str | None = None,
        cfg: ConfigLike | None = None,
        *,
        preempt: dict[str, Any] | None = None,
        watchdog: dict[str, Any] | None = None,
        checkpoint: dict[str, Any] | None = None,
    ) -> None:
        self.cfg = own_config(cfg)
        self.preempt = Preempt.of(preempt or self.cfg.get('preempt'))
        self.watchdog = WatchdogSettings.of(watchdog or self.cfg.get('watchdog'))
        self.checkpoint = CheckpointSettings.of(checkpoint or self.cfg.get('checkpoint'))
        self._arguments_text = arguments_text(Runner.__init__, self.cfg, locals())
        misspelt = misspelt_key_messages(self.cfg, argument_names(type(self), Runner))
        check_arguments(Runner.__init__, locals(), self.cfg)

        # A loop's config here becomes the loop when it is first read.
        self._train_dataloader, self._train_loop = train_dataloader, train_cfg
        self._val_dataloader, self._val_loop = val_dataloader, val_cfg
        self._val_evaluator = val_evaluator
        self._test_dataloader, self._test_loop = test_dataloader, test_cfg
        self._test_evaluator = test_evaluator
        self._built_from: dict[str, BuiltFrom] = {}
        self.state = RunState()
        self.state.resume_request = parse_resume(resume)
        self._load_from, self._resume = load_from, self.state.resume_request.source
        self._has_loaded = False
        self._states_of_hooks: dict[str, list[Any]] = {}
        self._counts_epochs = counts_epochs(train_cfg)
        self._reported_units: set[str] = set()

        self._launcher = check_launcher(launcher)
        self._randomness_cfg = dict(randomness or {})
        if self._overrides('load_checkpoint'):
            self.state.load_checkpoint = self.load_checkpoint
        self._strategy = self._build_strategy(
            strategy_arguments(
                self.cfg,
                work_dir=work_dir,
                experiment_name=experiment_name,
                launcher=self._launcher,
                randomness=self._randomness_cfg,
                env_cfg=dict(env_cfg or {}),
                log_level=log_level,
                auto_scale_lr=auto_scale_lr,
                own_steps=own_steps(self, dict(env_cfg or {})),
            )
        )
        self.checkpoint.apply_to(self._strategy)
        self._given_data = GivenData(train_dataloader, val_dataloader, test_dataloader)
        scaling = auto_scale_lr or self._strategy.auto_scale_lr
        self.strategy.find_unused_parameters = self.cfg.get('find_unused_parameters', False)
        self.auto_scale_lr = scaling
        self.optim_wrapper = optim_wrapper  # type: ignore[assignment]  # a config until training
        self.param_schedulers = param_scheduler
        self.default_scope = DefaultScope.get_instance(
            self.experiment_name, scope_name=default_scope
        )
        self.message_hub = self.build_message_hub()
        self.state.checkpoint_read = partial(_loading.show_loaded, self)
        self.log_processor = self.build_log_processor(log_processor or {})
        self.visualizer = self.build_visualizer(visualizer)
        if self.cfg:
            self.visualizer.add_config(self.cfg)
        self.logger.info(self.strategy.collect_env())
        self.logger.info(f'Config:\n{self.config_text}')
        for message in misspelt:
            self.logger.warning(message)

        self._hooks = HookList(first={'after_train': flush_open_windows})
        self.model = self._build_placed_model(model, data_preprocessor)
        self.register_hooks(default_hooks, custom_hooks)
        report_bad_samples(self, train_dataloader, val_dataloader, test_dataloader)
        follow_run(self)
        self.logger.info(f'Hooks will be executed in the following order:\n{self.get_hooks_info()}')
        write_first_config(self)

    @classmethod
    def from_cfg(cls, cfg: ConfigLike) -> Self:
        """A runner from a config whose keys are the constructor's arguments.

        Entries of other names are kept in ``runner.cfg``; an entry of None counts as not given.

        Raises:
            KeyError: If ``model`` or ``work_dir`` is missing.
        """
        cfg = copy.deepcopy(cfg)
        check_given(cfg, 'model', 'work_dir')
        given = {
            name: cfg[name]
            for name in argument_names(cls, Runner) - {'cfg'}
            if cfg.get(name) is not None
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
            raise RuntimeError(nothing_to('train', 'train_dataloader, train_cfg and optim_wrapper'))
        with stage_of(self, 'train'):
            prepare_training(self)
            follow_run(self)
            report_units(self)
            report_unread(self)
            self.call_hook('before_run')
            self._init_weights()
            self.load_or_resume()
            self._restore_hooks()
            loop = self.train_loop
            begin_counts(self)
            model: nn.Module = loop.run()
        return model

    def val(self) -> dict[str, float]:
        """Validate once; returns the metrics.

        Raises:
            RuntimeError: If the runner was given nothing to validate.
        """
        if self._val_loop is None:
            raise RuntimeError(nothing_to('val', 'val_dataloader, val_cfg and val_evaluator'))
        return self._evaluate('val')

    def test(self) -> dict[str, float]:
        """Test once; returns the metrics.

        Raises:
            RuntimeError: If the runner was given nothing to test.
        """
        if self._test_loop is None:
            raise RuntimeError(nothing_to('test', 'test_dataloader, test_cfg and test_evaluator'))
        return self._evaluate('test')

    def _evaluate(self, stage: str) -> dict[str, float]:
        with stage_of(self, stage) as is_outermost:
            loop = self.val_loop if stage == 'val' else self.test_loop
            place_model(self)
            if is_outermost:
                self.call_hook('before_run')
            self.load_or_resume()
            metrics: dict[str, float] = evaluate_alone(self, loop)
        return metrics

    def _init_weights(self) -> None:
        """Initialise the weights once; weights that were loaded or trained stay."""
        if not self.state.has_weights:
            self.strategy.init_weights()
            self.state.has_weights = True

    def _restore_hooks(self) -> None:
        """Hooks get the states of a checkpoint that was resumed before ``before_run``."""
        states, self._states_of_hooks = self._states_of_hooks, {}
        load_hooks_state(self, states)

    def _overrides(self, name: str) -> bool:
        """Whether a subclass has its own ``name``, one of the API's extension points."""
        own = getattr(type(self), name)
        return not any(own is vars(cls).get(name) for cls in (Runner, RunnerMembers))

    # The strategy and the model

    def _build_strategy(self, arguments: dict[str, Any]) -> BaseStrategy:
        """The strategy of this run, from arguments of :class:`BaseStrategy`."""
        return build_strategy(self.cfg.get('strategy'), self.cfg, arguments)

    def _build_placed_model(self, model: Any, data_preprocessor: Any) -> nn.Module:
        if data_preprocessor is not None:
            model = with_preprocessor(self, model, data_preprocessor)
        built = self.build_model(model)
        self._model_name = type(unwrap_model(built)).__name__
        modules = self.cfg.get('activation_checkpointing')
        if modules:
            turn_on_activation_checkpointing(built, modules)
        return self._place_model(built)

    def _place_model(self, model: nn.Module) -> nn.Module:
        """Place ``model`` now: in the API the model of a new Runner is on its device."""
        self.model = model
        place_model(self)
        return self.model

    @property
    def _compile_settings(self) -> Any:
        return self.cfg.get('compile', False)

    # Checkpoints

    def load_or_resume(self) -> None:
        """Continue a run or load weights, as set in the constructor. Does so once.

        A validation or a test takes the weights alone, so a training that follows still resumes.
        """
        if not self._has_loaded:
            _loading.load_or_resume(self)

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
        if self.state.stage != 'train':
            prepare_training(self)
        with self.state.resuming():
            checkpoint = self.strategy.resume(
                filename,
                resume_optimizer=resume_optimizer,
                resume_param_scheduler=resume_param_scheduler,
                map_location=map_location,
            )
        _loading.go_on_from(self, checkpoint)

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
        """Write the state of the run to ``out_dir/filename``. All ranks call it.

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
        self.call_hook('before_gather_state')
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
        self.state.save_id = extra['meta']['save_id']

    def dump_config(self) -> None:
        """Write the config to the work dir; see :func:`write_config`."""
        if is_main_process():
            write_config(self.cfg, self.work_dir, self.timestamp)
