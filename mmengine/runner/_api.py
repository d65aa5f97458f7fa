"""The one-line members of Runner that the API has: facts of the run, and builders."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.utils.data import DataLoader

from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.logging import MessageHub, MMLogger
from mmengine.optim import BaseOptimWrapper
from mmengine.process.signals import Preempt
from mmengine.process.watchdog import WatchdogSettings
from mmengine.runner import _build, _build_run, _units
from mmengine.runner._arguments import refuse_keys_of_config
from mmengine.runner._hook_list import HookConfig, HookList, default_hooks
from mmengine.runner._private_names import NamesOfSubclasses
from mmengine.runner.base_loop import BaseLoop
from mmengine.runner.log_processor import LogProcessor
from mmengine.runner.priority import Priority
from mmengine.strategy import BaseStrategy
from mmengine.strategy._session_views import SessionViews
from mmengine.strategy._state import Position, view_of_state
from mmengine.visualization import Visualizer

if TYPE_CHECKING:
    from typing_extensions import Self

    from mmengine.runner._split_data import GivenData
    from mmengine.strategy._state import RunState

Loader = DataLoader[Any] | dict[str, Any]


class RunnerMembers(NamesOfSubclasses):
    """Facts and builders of a :class:`Runner`; it holds nothing itself.

    Facts are read from the state of the run, its strategy and its loops. A builder takes a config
    or the finished part, which it returns unchanged.
    """

    cfg: Config
    preempt: Preempt = Preempt()
    watchdog: WatchdogSettings | None = None
    state: RunState
    _strategy: BaseStrategy
    _session: SessionViews
    _hooks: HookList
    _train_loop: Any
    _val_loop: Any
    _test_loop: Any
    _train_dataloader: Any
    _val_dataloader: Any
    _test_dataloader: Any
    _val_evaluator: Any
    _test_evaluator: Any
    _given_data: GivenData
    _launcher: str
    _model_name: str
    _randomness_cfg: dict[str, Any]
    _counts_epochs: bool | None

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """A runner to be initialised; a key of the config is not an argument."""
        refuse_keys_of_config(cls, kwargs)
        return super().__new__(cls)

    # What the run trains, and where it stands

    model: nn.Module = view_of_state(
        'model', 'The model, inside its distributed wrapper if it has one.'
    )
    optim_wrapper: BaseOptimWrapper = view_of_state(
        'optim_wrapper', 'The optimizer wrapper; its config until training is prepared.'
    )
    param_schedulers: Any = view_of_state(
        'param_schedulers', 'Schedulers, or lists by optimizer name; configs until prepared.'
    )
    message_hub: MessageHub = view_of_state('message_hub', 'The message hub of the run.')
    auto_scale_lr: dict[str, Any] | None = view_of_state(
        'auto_scale_lr', '``base_batch_size`` and ``enable``.'
    )
    epoch: int = view_of_state('position.epoch', 'Finished epochs.')
    iter: int = view_of_state('position.iter', 'Finished iterations.')
    max_epochs: int = view_of_state(
        'position.max_epochs', 'Epochs to train; 1 before the train loop is built.'
    )
    max_iters: int = view_of_state(
        'position.max_iters', 'Iterations to train; 1 before the train loop is built.'
    )

    @property
    def strategy(self) -> BaseStrategy:
        """The strategy of the run. One that another run had meanwhile is this run's again."""
        if self._strategy.state is not self.state:
            self._strategy.bind(self.state)
        return self._strategy

    @property
    def _start(self) -> SessionViews:
        """Facts of this start; before there is a strategy, of the session that is being made."""
        return self.strategy if '_strategy' in vars(self) else self._session

    @property
    def val_begin(self) -> int:
        """The first epoch or iteration to validate after."""
        return getattr(self._train_loop, 'val_begin', 1)

    @property
    def val_interval(self) -> int:
        """Epochs or iterations from validation to validation."""
        return getattr(self._train_loop, 'val_interval', 1)

    # Names and places

    @property
    def experiment_name(self) -> str:
        """Name of the run, with its timestamp."""
        return self._start.experiment_name

    @property
    def model_name(self) -> str:
        """Class name of the model inside its wrapper."""
        return self._model_name

    @property
    def timestamp(self) -> str:
        """When the run began, the same on all ranks."""
        return self._start.timestamp

    @property
    def work_dir(self) -> str:
        """Folder of the run, absolute."""
        return self._start.work_dir

    @property
    def log_dir(self) -> str:
        """Folder of the log and scalars of this start."""
        return self._start.log_dir

    @property
    def logger(self) -> MMLogger:
        """The logger of the run."""
        return self._start.logger

    @logger.setter
    def logger(self, logger: MMLogger) -> None:
        self._start.logger = logger

    @property
    def config_text(self) -> str:
        """The config as text."""
        return self.cfg.pretty_text

    # Processes and random numbers

    @property
    def launcher(self) -> str:
        """none, pytorch, slurm or mpi."""
        return self._launcher

    @property
    def distributed(self) -> bool:
        """Whether several processes train together."""
        return self._start.distributed

    @property
    def rank(self) -> int:
        """Rank of this process, from 0."""
        return self._start.rank

    @property
    def world_size(self) -> int:
        """Number of processes that train together."""
        return self._start.world_size

    @property
    def seed(self) -> int:
        """Seed of the run, the same on all ranks."""
        return self._start.seed

    @property
    def deterministic(self) -> bool:
        """Whether deterministic kernels are enabled in ``randomness``."""
        return bool(self._start.randomness['deterministic'])

    @property
    def randomness_cfg(self) -> dict[str, Any]:
        """The ``randomness`` that the constructor got."""
        return self._randomness_cfg

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Prepare the process as ``env_cfg`` says, which the constructor has done once."""
        self._start.session.set_up(**_build_run.known_environment(env_cfg))

    def set_randomness(
        self,
        seed: int | None,
        diff_rank_seed: bool = False,
        deterministic: bool = False,
        per_sample: bool = True,
        restore_after_val: bool = True,
    ) -> None:
        """Seed everything anew; see :meth:`Session.set_randomness`."""
        self._start.set_randomness(
            seed, diff_rank_seed, deterministic, per_sample, restore_after_val
        )

    # Hooks

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call every hook that acts at the point ``fn_name``, in the order of priorities."""
        acting = self._hooks.acting
        if acting.hooks != acting.known:
            acting.clear()
        for method in acting[fn_name]:
            method(self, **kwargs)

    def register_hook(self, hook: HookConfig, priority: int | str | Priority | None = None) -> None:
        """Add a hook; see :meth:`HookList.register`."""
        self._hooks.register(hook, priority)

    def register_default_hooks(self, hooks: dict[str, Any] | None = None) -> None:
        """Add the default hooks, changed by ``hooks``; see :func:`default_hooks`."""
        for hook in default_hooks(hooks, _units.default_hook_configs(self._train_loop, hooks)):
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

    # Builders of what watches the run

    def build_logger(
        self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs: Any
    ) -> MMLogger:
        """A logger of this run; see :meth:`BaseStrategy.build_logger`."""
        return self._start.build_logger(log_level, log_file, **kwargs)

    def build_message_hub(self, message_hub: dict[str, Any] | None = None) -> MessageHub:
        """The message hub of this run, by its experiment name unless another name is given."""
        return _build_run.build_message_hub(message_hub, self.experiment_name)

    def build_visualizer(self, visualizer: Visualizer | dict[str, Any] | None = None) -> Visualizer:
        """A visualizer of this run; None writes scalars to local files."""
        return _build_run.build_visualizer(visualizer, self.experiment_name, self.log_dir)

    def build_log_processor(self, log_processor: LogProcessor | dict[str, Any]) -> LogProcessor:
        """A log processor from its config, or the given one."""
        return _build_run.build_log_processor(log_processor)

    # Builders of the model and what trains it

    def build_model(self, model: nn.Module | dict[str, Any]) -> nn.Module:
        """``model`` itself, or the module that the config describes."""
        return self.strategy.build_model(model)

    def wrap_model(self, model_wrapper_cfg: Any, model: nn.Module) -> nn.Module:
        """The model on its device, inside the wrapper that several processes need."""
        return _build_run.wrap_model(self.strategy, model, model_wrapper_cfg)

    def build_optim_wrapper(
        self, optim_wrapper: BaseOptimWrapper | dict[str, Any]
    ) -> BaseOptimWrapper:
        """See :meth:`BaseStrategy.build_optim_wrapper`."""
        return self.strategy.build_optim_wrapper(optim_wrapper, self.model)

    def build_param_scheduler(self, scheduler: Any) -> list[Any] | dict[str, list[Any]]:
        """Schedulers of this run's optimizers; their ``end`` defaults to the end of training."""
        counted = _units.with_unit_of_loop(self, scheduler)
        return _build_run.build_param_scheduler(
            self.strategy, counted, self.optim_wrapper, self.train_loop
        )

    def scale_lr(
        self, optim_wrapper: BaseOptimWrapper, auto_scale_lr: dict[str, Any] | None = None
    ) -> None:
        """Scale learning rates to the real batch size; see :meth:`BaseStrategy.scale_lr`.

        Args:
            optim_wrapper: Changed in place.
            auto_scale_lr: ``base_batch_size`` and ``enable``; None scales nothing.

        Raises:
            RuntimeError: If schedulers are built already, which remember the learning rates.
        """
        _build_run.scale_lr(
            self.strategy,
            optim_wrapper,
            auto_scale_lr,
            self.train_dataloader,
            self.param_schedulers,
        )

    # Builders of data, metrics and loops

    @staticmethod
    def build_dataloader(
        dataloader: Loader, seed: int | None = None, diff_rank_seed: bool = False
    ) -> DataLoader[Any]:
        """See :func:`mmengine.runner._build.build_dataloader`."""
        return _build.build_dataloader(dataloader, seed, diff_rank_seed)

    def build_evaluator(self, evaluator: Evaluator | dict[str, Any] | list[Any] | str) -> Evaluator:
        """See :func:`mmengine.runner._build.build_evaluator`."""
        return _build.build_evaluator(evaluator)

    def build_train_loop(self, loop: BaseLoop | dict[str, Any]) -> BaseLoop:
        """The train loop of ``train_cfg``."""
        if not isinstance(loop, Mapping):
            return _build.build_loop(loop, '')
        config, kind = _build.train_loop_type(loop)
        return _build.build_loop(config, kind, runner=self, dataloader=self._train_dataloader)

    def build_val_loop(self, loop: BaseLoop | dict[str, Any]) -> BaseLoop:
        """The val loop of ``val_cfg``."""
        return _build.build_loop(
            loop,
            'ValLoop',
            runner=self,
            dataloader=self._val_dataloader,
            evaluator=self._val_evaluator,
        )

    def build_test_loop(self, loop: BaseLoop | dict[str, Any]) -> BaseLoop:
        """The test loop of ``test_cfg``."""
        return _build.build_loop(
            loop,
            'TestLoop',
            runner=self,
            dataloader=self._test_dataloader,
            evaluator=self._test_evaluator,
        )

    # Loops, and what they hold

    @property
    def train_loop(self) -> Any:
        """The train loop, built when first read; None without training."""
        loop = self._train_loop
        if loop is not None and not isinstance(loop, BaseLoop):
            loop = self._train_loop = self.build_train_loop(loop)
        if loop is not None:
            # A custom loop that counts by itself is the position of the run.
            own = getattr(loop, '_position', None)
            self.state.position = own if isinstance(own, Position) else loop
        return loop

    @property
    def val_loop(self) -> Any:
        """The val loop, built when first read; None without validation."""
        if self._val_loop is not None and not isinstance(self._val_loop, BaseLoop):
            self._val_loop = self.build_val_loop(self._val_loop)
        return self._val_loop

    @property
    def test_loop(self) -> Any:
        """The test loop, built when first read; None without a test."""
        if self._test_loop is not None and not isinstance(self._test_loop, BaseLoop):
            self._test_loop = self.build_test_loop(self._test_loop)
        return self._test_loop

    @property
    def train_dataloader(self) -> Any:
        """The dataloader of the train loop."""
        return getattr(self.train_loop, 'dataloader', None)

    @property
    def val_dataloader(self) -> Any:
        """The dataloader of the val loop."""
        return getattr(self.val_loop, 'dataloader', None)

    @property
    def test_dataloader(self) -> Any:
        """The dataloader of the test loop."""
        return getattr(self.test_loop, 'dataloader', None)

    @property
    def val_evaluator(self) -> Any:
        """The evaluator of the val loop."""
        return getattr(self.val_loop, 'evaluator', None)

    @property
    def test_evaluator(self) -> Any:
        """The evaluator of the test loop."""
        return getattr(self.test_loop, 'evaluator', None)
