"""BaseStrategy: the interface between a Runner and the placement of its model on devices."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from torch import Tensor, nn

from mmengine._checkpoint.dtensor import whole_tree
from mmengine._checkpoint.loader import weights_of
from mmengine.device import get_device
from mmengine.dist._data_parallel import set_ranks_per_batch
from mmengine.dist._fully_sharded import is_spread
from mmengine.logging import MessageHub
from mmengine.model._build import build_model, init_model_weights
from mmengine.optim import BaseOptimWrapper, build_optim_wrapper
from mmengine.optim.optimizer._clipping import ClipType
from mmengine.optim.optimizer._run import Standalone
from mmengine.optim.scheduler._build import build_param_schedulers
from mmengine.process.session import Session
from mmengine.strategy._compiling import compile_method
from mmengine.strategy._learning_rates import scale_learning_rates
from mmengine.strategy._resume_source import find_resume_source
from mmengine.strategy._schedule_resume import restore_schedulers
from mmengine.strategy._schedule_steps import flattened, states_of
from mmengine.strategy._session_views import SessionViews
from mmengine.strategy._spreading import spread_wrapper_state
from mmengine.strategy._state import RunState, Schedulers, are_built, view_of_state
from mmengine.strategy._training_state import load_training_state
from mmengine.strategy.checkpoint_io import CheckpointIO, FileCheckpointIO

if TYPE_CHECKING:
    from mmengine.optim.optimizer._run import OptimizerRun

Checkpoint = dict[str, Any]


class BaseStrategy(SessionViews, ABC):
    """All operations of a run that depend on the devices of its parameters.

    A strategy places the model, prepares optimizers and schedules (:meth:`prepare`), initialises
    weights, and saves and loads checkpoints. Optimizer wrappers call it to exchange gradients, to
    clip over all parameters, and to decide together over all ranks. A Runner does all of this
    through its strategy only.

    ``model``, ``optim_wrapper``, ``param_schedulers`` and ``auto_scale_lr`` read and write the
    :class:`RunState` of the run. A strategy that is used without a Runner has its own state.

    Args:
        work_dir: Folder of the run.
        experiment_name: Name of the run; the timestamp is appended.
        env_kwargs: ``launcher``, ``cudnn_benchmark``, ``mp_cfg``, ``dist_cfg``, ``resource_limit``,
            ``lock`` and ``randomness``.
        log_kwargs: Arguments of :meth:`build_logger`.
        auto_scale_lr: ``base_batch_size`` and ``enable``: scale learning rates linearly with the
            real batch size.

    Attributes:
        state: The state of the run.
        io: Writes, finds, reads and removes checkpoints.
        find_unused_parameters: Whether DDP wrappers look for parameters that a step did not use.
    """

    # Consecutive ranks that compute one batch together.
    _ranks_per_batch = 1

    def __init__(
        self,
        *,
        work_dir: str = 'work_dirs',
        experiment_name: str | None = None,
        env_kwargs: dict[str, Any] | None = None,
        log_kwargs: dict[str, Any] | None = None,
        auto_scale_lr: dict[str, Any] | None = None,
    ) -> None:
        set_ranks_per_batch(self._ranks_per_batch)
        self.session = Session(work_dir, experiment_name, env_kwargs, log_kwargs)
        self.io: CheckpointIO = FileCheckpointIO()
        self.find_unused_parameters = False
        self._gradients = Standalone()
        self.bind(RunState())
        self.auto_scale_lr = auto_scale_lr

    model: nn.Module | None = view_of_state('model', 'The model of the run.')
    auto_scale_lr: dict[str, Any] | None = view_of_state(
        'auto_scale_lr', '``base_batch_size`` and ``enable``.'
    )

    @property
    def optim_wrapper(self) -> BaseOptimWrapper | None:
        """The optimizer wrapper of the run; None until it is built."""
        wrapper = self.state.optim_wrapper
        return wrapper if isinstance(wrapper, BaseOptimWrapper) else None

    @optim_wrapper.setter
    def optim_wrapper(self, optim_wrapper: BaseOptimWrapper | None) -> None:
        self.state.optim_wrapper = optim_wrapper

    @property
    def param_schedulers(self) -> Schedulers:
        """Schedulers of the run: a list, or lists by optimizer name; empty until they are built."""
        schedulers = self.state.param_schedulers
        return schedulers if are_built(schedulers) else []

    @param_schedulers.setter
    def param_schedulers(self, schedulers: Schedulers) -> None:
        self.state.param_schedulers = schedulers

    def bind(self, state: RunState) -> None:
        """Use ``state`` from now on. A Runner calls this once, in its constructor."""
        set_ranks_per_batch(self._ranks_per_batch)
        self.state = state
        state.optimizer_run = cast('OptimizerRun', self)

    def present_model(self) -> nn.Module:
        """The model of the run.

        Raises:
            RuntimeError: If the model is not set yet.
        """
        if self.state.model is None:
            raise RuntimeError('There is no model yet: call prepare before its state is read.')
        return self.state.model

    @property
    def needs_all_ranks(self) -> bool:
        """Whether a forward pass of the model needs all ranks: each has a part of the weights."""
        return is_spread(self.present_model())

    # -- methods of a subclass --------------------------------------------------------------------

    @abstractmethod
    def convert_model(self, model: nn.Module) -> nn.Module:
        """Replace layers that this placement does not support (SyncBN by BN, for example)."""

    @abstractmethod
    def wrap_model(
        self, model: nn.Module, model_wrapper_cfg: Any = None, find_unused_parameters: bool = False
    ) -> nn.Module:
        """Move ``model`` to its device or devices, and wrap or shard it."""

    @abstractmethod
    def model_state_dict(self) -> Mapping[str, Any]:
        """The state of the whole model under unwrapped names. All ranks must call it."""

    @abstractmethod
    def load_model_state_dict(
        self,
        state_dict: Mapping[str, Any],
        *,
        strict: bool = False,
        revise_keys: Sequence[tuple[str, str]] = [(r'^module.', '')],  # the API's default
    ) -> None:
        """Load a state with unwrapped names into the placed model. All ranks must call it."""

    @abstractmethod
    def save_checkpoint(
        self,
        filename: str,
        *,
        save_optimizer: bool = True,
        save_param_scheduler: bool = True,
        extra_ckpt: Checkpoint | None = None,
        callback: Callable[[Checkpoint], None] | None = None,
    ) -> None:
        """Gather the state, add ``extra_ckpt``, pass the result to ``callback`` and write it.

        All ranks must call it.
        """

    # -- preparing --------------------------------------------------------------------------------

    def prepare(
        self,
        model: nn.Module | dict[str, Any],
        *,
        optim_wrapper: Any = None,
        param_scheduler: Any = None,
        compile: dict[str, Any] | bool = False,
        dispatch_kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Build the arguments and place the model. Every runner calls this before a stage begins.

        A model that is already placed is not placed again: a runner may call this with the model
        alone, and later with the optimizer and the schedulers.

        Args:
            model: A module or its config.
            optim_wrapper: As in :meth:`build_optim_wrapper`.
            param_scheduler: As in :meth:`build_param_scheduler`; needs ``optim_wrapper``.
            compile: As in :meth:`compile_model`.
            dispatch_kwargs: ``epoch_length``, ``max_epochs``, ``max_iters``, ``max_samples`` and
                ``train_micro_batch_size_per_gpu``, where known.

        Returns:
            The model, or a tuple of the model and the objects built from the other arguments.
        """
        state, known = self.state, dispatch_kwargs or {}
        if state.placed_model is None or model is not state.placed_model:
            built = self.build_model(model)
            state.model = state.placed_model = self.wrap_model(self.convert_model(built))
        if compile and state.compiled_model is not state.model:
            compiled = self.compile_model(self.present_model(), compile)
            state.model = state.placed_model = state.compiled_model = compiled
        prepared: list[Any] = [state.model]
        if optim_wrapper is not None:
            built_wrapper = self.build_optim_wrapper(optim_wrapper, self.present_model())
            state.optim_wrapper = built_wrapper
            if not state.is_lr_scaled:
                self.scale_lr(built_wrapper, known.get('train_micro_batch_size_per_gpu'))
                state.is_lr_scaled = True
            state.built_options()
            prepared.append(built_wrapper)
        if param_scheduler is not None:
            if self.optim_wrapper is None:
                raise ValueError('param_scheduler needs an optimizer: pass optim_wrapper too.')
            state.lengths = {key: known.get(key) for key in state.lengths}
            state.param_schedulers = self.build_param_scheduler(
                param_scheduler, self.optim_wrapper, known
            )
            prepared.append(state.param_schedulers)
        return prepared[0] if len(prepared) == 1 else tuple(prepared)

    def build_model(self, model: nn.Module | dict[str, Any]) -> nn.Module:
        """Return ``model``, or build the module from its config."""
        return build_model(model)

    def init_weights(self) -> None:
        """Call ``init_weights`` of the model and copy the values of rank 0 to all ranks.

        Sharded parameters are gathered first, so that they get the same values as in one process.
        All ranks must call it.
        """
        init_model_weights(self.present_model())

    def compile_model(self, model: nn.Module, compile: dict[str, Any] | bool = False) -> nn.Module:
        """Compile one method of ``model`` in place; see :func:`compile_method`."""
        if not compile:
            return model
        self.logger.info(
            'The model is compiled during its first step, which takes a while; later steps are '
            'fast.'
        )
        return compile_method(model, compile)

    def build_optim_wrapper(
        self, optim_wrapper: Any, model: nn.Module | None = None
    ) -> BaseOptimWrapper:
        """Build an optimizer wrapper from an object, a config, or a dict of objects by name.

        Args:
            optim_wrapper: A wrapper (returned unchanged); a config with ``optimizer`` or
                ``constructor``; a config that maps sub-module names to wrapper configs; or a dict
                of wrappers by name.
            model: The model to optimise; None means the prepared model.
        """
        if isinstance(optim_wrapper, BaseOptimWrapper):
            return optim_wrapper
        target = self.model if model is None else model
        if target is None:
            raise RuntimeError('Prepare the model before its optimizer, or pass the model.')
        return build_optim_wrapper(target, optim_wrapper)

    def build_param_scheduler(
        self,
        scheduler: Any,
        optim_wrapper: BaseOptimWrapper,
        default_args: dict[str, Any] | None = None,
    ) -> list[Any] | dict[str, list[Any]]:
        """Build the schedulers of ``optim_wrapper``; scheduler objects are returned unchanged.

        Args:
            scheduler: A scheduler or its config, a list, or lists by optimizer name.
            optim_wrapper: The wrapper whose param groups the schedulers change.
            default_args: Known ones of ``epoch_length``, ``max_epochs``, ``max_iters`` and
                ``max_samples``.
        """
        names = ('epoch_length', 'max_epochs', 'max_iters', 'max_samples')
        known = {name: (default_args or {}).get(name) for name in names}
        built = build_param_schedulers(scheduler, optim_wrapper, **known)
        for schedule in flattened(built):
            schedule._units_done = self.state.counter_of(schedule)
        return built

    def scale_lr(self, optim_wrapper: BaseOptimWrapper, batch_size: int | None) -> None:
        """Scale learning rates by ``auto_scale_lr``; see :func:`scale_learning_rates`.

        Call this before schedulers are built.
        """
        scale_learning_rates(
            optim_wrapper,
            self.auto_scale_lr,
            batch_size,
            self.data_parallel_info[1],
            self.logger,
        )

    # -- methods that an optimizer wrapper calls --------------------------------------------------

    @property
    def message_hub(self) -> MessageHub:
        """The message hub of the run; without a Runner, the newest hub of the process."""
        return self.state.message_hub or MessageHub.get_current_instance()

    @property
    def finished_iters(self) -> int | None:
        """Finished iterations of the training; None while no Runner trains."""
        return self.state.position.iter if self.state.message_hub is not None else None

    def no_sync(self, model: nn.Module) -> AbstractContextManager[Any]:
        """Context in which a backward pass does not exchange gradients, if the placement can skip
        the exchange. ``model`` is the model of the training step, wrapped or not."""
        placed = self.state.model
        if placed is not None and not hasattr(model, 'no_sync'):
            model = placed
        return self._gradients.no_sync(model)

    def clip_grad(self, params: list[Tensor], clip_type: ClipType, **kwargs: Any) -> Tensor | None:
        """Clip gradients over all ranks that share the parameters, and return their norm before it.

        Args:
            params: Parameters with gradients. The gradients are changed in place.
            clip_type: 'norm' or 'value'.
            **kwargs: Arguments of ``torch.nn.utils.clip_grad_norm_`` or ``clip_grad_value_``.
        """
        return self._gradients.clip_grad(params, clip_type, **kwargs)

    def all_ranks_agree(self, flag: Tensor) -> bool:
        """Whether the 0-d bool tensor ``flag`` is True on every rank. All ranks must call it."""
        return self._gradients.all_ranks_agree(flag)

    def average_gradients(self, model: nn.Module, param_groups: list[dict[str, Any]]) -> bool:
        """Average the gradients that backward passes under :meth:`no_sync` did not exchange.

        All ranks must call it. Returns False if the placement does not support this.
        """
        placed = self.state.model
        return self._gradients.average_gradients(model if placed is None else placed, param_groups)

    # -- state ------------------------------------------------------------------------------------

    def optim_state_dict(self) -> dict[str, Any]:
        """The state of the optimizer wrapper, with whole tensors. All ranks must call it."""
        if self.optim_wrapper is None:
            raise RuntimeError('There is no optimizer yet: build it before its state is read.')
        state: dict[str, Any] = whole_tree(self.optim_wrapper.state_dict())
        return state

    def load_optim_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load the result of :meth:`optim_state_dict`. All ranks must call it."""
        if self.optim_wrapper is None:
            raise RuntimeError('There is no optimizer yet: build it before its state is loaded.')
        self.optim_wrapper.load_state_dict(spread_wrapper_state(self.optim_wrapper, state_dict))

    def scheduler_state_dict(self) -> Any:
        """The state of the schedulers: a list, or lists by optimizer name."""
        return states_of(self.param_schedulers)

    def load_scheduler_state_dict(self, state_dict: Any) -> None:
        """Load the result of :meth:`scheduler_state_dict`; see :func:`restore_schedulers`.

        Raises:
            ValueError: If the schedulers of the run do not match the state.
        """
        restore_schedulers(
            self.param_schedulers,
            state_dict,
            epoch=None,
            iteration=None,
            logger=self.logger,
            resume=None,
            **self.state.lengths,
        )

    def load_checkpoint(
        self,
        filename: str,
        *,
        map_location: str | Callable[..., Any] = 'cpu',
        strict: bool = False,
        revise_keys: Sequence[tuple[str, str]] = [(r'^module.', '')],  # the API's default
        callback: Callable[[Checkpoint], None] | None = None,
    ) -> Checkpoint:
        """Read a checkpoint, pass it to ``callback``, which may change it, and load its weights.

        Without ``callback`` the checkpoint is passed to the hooks of the run.
        """
        self.logger.info(f'Load checkpoint from {filename}')
        location = get_device() if map_location == 'default' else map_location
        checkpoint = self.io.read(filename, location)
        weights_of(checkpoint, filename)
        show = callback or self.state.checkpoint_read
        if show is not None:
            show(checkpoint)
        weights = weights_of(checkpoint, filename)
        self.load_model_state_dict(weights, strict=strict, revise_keys=revise_keys)
        self.state.has_weights = True
        self.state.num_changes += 1
        return checkpoint

    def resume(
        self,
        filename: str,
        *,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: str | Callable[..., Any] = 'default',
        callback: Callable[[Checkpoint], None] | None = None,
    ) -> Checkpoint:
        """Load weights and, if requested and present, the state of optimizers and schedulers.

        If the checkpoint has no scheduler state, the schedulers step to its epoch and iteration.
        """
        self.logger.info(f'Resume checkpoint from {filename}')
        place = get_device() if map_location == 'default' else map_location
        with self.state.resuming():
            load = self.state.load_checkpoint or partial(self.load_checkpoint, callback=callback)
            checkpoint = load(filename, map_location=place)
            if self.state.resume_report is not None:
                self.state.resume_report.source = filename
            load_training_state(
                self,
                checkpoint,
                resume_optimizer=resume_optimizer,
                resume_param_scheduler=resume_param_scheduler,
            )
        return checkpoint

    def load_or_resume(
        self, *, load_from: str | None = None, resume: bool | str = False
    ) -> Checkpoint | None:
        """Resume a run or load the weights of ``load_from``; returns the checkpoint or None.

        See :meth:`find_resume_source`.
        """
        source = self.find_resume_source(load_from, resume)
        if source is not None:
            return self.resume(source)
        if load_from is not None:
            with self.state.resuming(False):
                return self.load_checkpoint(load_from)
        return None

    def find_resume_source(self, load_from: str | None, resume: bool | str) -> str | None:
        """The checkpoint to resume, or None; see :func:`find_resume_source`."""
        return find_resume_source(self.io, self.work_dir, load_from, resume, self.logger)
