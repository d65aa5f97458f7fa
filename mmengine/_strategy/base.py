"""The contract between a Runner and the way its model is placed on devices."""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import nn

from mmengine._checkpoint.files import find_latest_checkpoint
from mmengine._checkpoint.loader import CheckpointLoader, weights_of
from mmengine._strategy._env import (
    check_launcher,
    describe_environment,
    setup_process,
    synced_timestamp,
)
from mmengine._strategy._schedule_resume import (
    advance_schedulers,
    keep_scheduled_values,
    position_of,
    restore_schedulers,
)
from mmengine._strategy._seed import set_random_seed
from mmengine.device import get_device
from mmengine.dist import get_dist_info, is_distributed
from mmengine.logging import MMLogger
from mmengine.model.build import build_model
from mmengine.optim import BaseOptimWrapper, build_optim_wrapper
from mmengine.optim.optimizer.optimizer_wrapper_dict import wrappers_of
from mmengine.optim.scheduler.build import build_param_schedulers
from mmengine.utils.errors import ArgumentError

Checkpoint = dict[str, Any]


class BaseStrategy(ABC):
    """Prepares model, optimizers and schedulers for one kind of device placement, and saves and
    loads them.

    A Runner drives exactly one strategy. It prepares the parts one by one (build, place, compile);
    code without a Runner calls :meth:`prepare`, which does the same in order.

    Args:
        work_dir: Folder of the run.
        experiment_name: Name of the run; the timestamp is put behind it.
        env_kwargs: ``launcher``, ``cudnn_benchmark``, ``mp_cfg``, ``dist_cfg``, ``resource_limit``,
            ``randomness``.
        log_kwargs: Arguments of :meth:`build_logger`.
        auto_scale_lr: ``base_batch_size`` and ``enable``: scale rates linearly with the real batch
            size.
    """

    def __init__(
        self,
        *,
        work_dir: str = 'work_dirs',
        experiment_name: str | None = None,
        env_kwargs: dict[str, Any] | None = None,
        log_kwargs: dict[str, Any] | None = None,
        auto_scale_lr: dict[str, Any] | None = None,
    ) -> None:
        self.auto_scale_lr = auto_scale_lr
        self.model: nn.Module | None = None
        self.optim_wrapper: BaseOptimWrapper | None = None
        self.param_schedulers: list[Any] | dict[str, list[Any]] = []
        self._resumed_position: tuple[int | None, int | None] = (None, None)
        self._run_lengths: dict[str, int | None] = {}

        self._env_kwargs = dict(env_kwargs or {})
        self._launcher = check_launcher(self._env_kwargs.pop('launcher', 'none'))
        randomness = dict(self._env_kwargs.pop('randomness', None) or {})
        setup_process(self._launcher, **self._env_kwargs)
        self._randomness: dict[str, Any] = {
            'seed': None,
            'diff_rank_seed': False,
            'deterministic': False,
            **randomness,
        }
        self._seed = set_random_seed(**self._randomness)

        self._timestamp = synced_timestamp()
        self._work_dir = self._make_work_dir(work_dir)
        self._log_dir = os.path.join(self._work_dir, self._timestamp)
        name = f'{experiment_name}_{self._timestamp}' if experiment_name else self._timestamp
        self._experiment_name = name
        self.logger = self.build_logger(**(log_kwargs or {}))

    # -- what a subclass decides ------------------------------------------------------------------

    @abstractmethod
    def convert_model(self, model: nn.Module) -> nn.Module:
        """Exchange layers that this placement does not support (SyncBN for BN, say)."""

    @abstractmethod
    def wrap_model(
        self, model: nn.Module, model_wrapper_cfg: Any = None, find_unused_parameters: bool = False
    ) -> nn.Module:
        """Move ``model`` to its device or devices and put the wrapper around it."""

    @abstractmethod
    def model_state_dict(self) -> Mapping[str, Any]:
        """The whole model's state under unwrapped names. All ranks call it."""

    @abstractmethod
    def load_model_state_dict(
        self,
        state_dict: Mapping[str, Any],
        *,
        strict: bool = False,
        revise_keys: Sequence[tuple[str, str]] = [(r'^module.', '')],  # the API's default
    ) -> None:
        """Load unwrapped names into the placed model. All ranks call it."""

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
        """Gather the state, add ``extra_ckpt``, hand it to ``callback`` and write it.

        All ranks call it.
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
        """Build and place what is given.

        Args:
            model: A module or its config.
            optim_wrapper: As in :meth:`build_optim_wrapper`.
            param_scheduler: As in :meth:`build_param_scheduler`; needs ``optim_wrapper``.
            compile: As in :meth:`compile_model`.
            dispatch_kwargs: ``epoch_length``, ``max_epochs``, ``max_iters`` and
                ``train_micro_batch_size_per_gpu``, where known.

        Returns:
            The model alone, or a tuple of it and what was built from the other arguments.
        """
        known = dispatch_kwargs or {}
        built = self.build_model(model)
        built = self.wrap_model(self.convert_model(built))
        self.model = self.compile_model(built, compile)
        prepared: list[Any] = [self.model]
        if optim_wrapper is not None:
            self.optim_wrapper = self.build_optim_wrapper(optim_wrapper, self.model)
            self.scale_lr(self.optim_wrapper, known.get('train_micro_batch_size_per_gpu'))
            prepared.append(self.optim_wrapper)
        if param_scheduler is not None:
            if self.optim_wrapper is None:
                raise ValueError(
                    'param_scheduler changes an optimizer: give optim_wrapper with it.'
                )
            lengths = {key: known.get(key) for key in ('epoch_length', 'max_epochs', 'max_iters')}
            self.param_schedulers = self.build_param_scheduler(
                param_scheduler, self.optim_wrapper, lengths
            )
            prepared.append(self.param_schedulers)
        return prepared[0] if len(prepared) == 1 else tuple(prepared)

    def build_logger(
        self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs: Any
    ) -> MMLogger:
        """The logger of this run; writes ``<timestamp>/<timestamp>.log`` unless told otherwise."""
        if log_file is None:
            log_file = os.path.join(self._log_dir, f'{self._timestamp}.log')
        settings = {
            'name': self._experiment_name,
            'file_mode': 'a',
            'distributed': self.distributed,
            **kwargs,
        }
        return MMLogger.get_instance(log_level=log_level, log_file=log_file, **settings)

    def build_model(self, model: nn.Module | dict[str, Any]) -> nn.Module:
        """``model`` itself, or the module that the config describes."""
        return build_model(model)

    def compile_model(self, model: nn.Module, compile: dict[str, Any] | bool = False) -> nn.Module:
        """Let :func:`torch.compile` take over one method of ``model``, in place.

        Args:
            model: A placed model.
            compile: True, or arguments of ``torch.compile`` and ``target``, the method's name
                ('forward' by default).

        Raises:
            ValueError: If the model has no method called ``target``.
        """
        if not compile:
            return model
        options = dict(compile) if isinstance(compile, Mapping) else {}
        target = options.pop('target', 'forward')
        method = getattr(model, target, None)
        if not callable(method):
            raise ValueError(f'{type(model).__name__} has no method {target!r} to compile.')
        self.logger.info(
            'Model is compiled at its first step, which takes a while; later steps are quick.'
        )
        setattr(model, target, torch.compile(method, **options))
        return model

    def build_optim_wrapper(
        self, optim_wrapper: Any, model: nn.Module | None = None
    ) -> BaseOptimWrapper:
        """An optimizer wrapper from an object, a config, or a dict of objects by name.

        Args:
            optim_wrapper: A wrapper (returned as it is); a config with ``optimizer`` or
                ``constructor``; a config that maps sub-module names to wrapper configs; or a dict
                of wrappers by name.
            model: Whose parameters are optimised; the prepared one when None.
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
        """Schedulers of ``optim_wrapper``, from configs or as they are.

        Args:
            scheduler: One, a list, or lists by optimizer name.
            optim_wrapper: What they change.
            default_args: ``epoch_length``, ``max_epochs`` and ``max_iters``, where known.
        """
        known = default_args or {}
        self._run_lengths = {
            key: known.get(key) for key in ('epoch_length', 'max_epochs', 'max_iters')
        }
        return build_param_schedulers(
            scheduler,
            optim_wrapper,
            epoch_length=known.get('epoch_length'),
            max_epochs=known.get('max_epochs'),
            max_iters=known.get('max_iters'),
        )

    def scale_lr(self, optim_wrapper: BaseOptimWrapper, batch_size: int | None) -> None:
        """Multiply all rates by ranks x ``batch_size`` / ``base_batch_size``, if that is enabled.

        The linear scaling rule of Goyal et al. 2017, arXiv:1706.02677. Call it before schedulers
        are built.

        Raises:
            ArgumentError: If one of the batch sizes is not known.
        """
        settings = self.auto_scale_lr
        if not settings or not settings.get('enable', False):
            return
        base = settings.get('base_batch_size')
        if not base or base < 0:
            raise ArgumentError(
                'auto_scale_lr needs base_batch_size above 0, the batch size that the rates were '
                f'tuned for; got {base!r}.'
            )
        if batch_size is None:
            raise ArgumentError(
                'auto_scale_lr needs the batch size of the training data, and its dataloader tells '
                'none.'
            )
        real = self.world_size * batch_size
        ratio = real / base
        self.logger.info(f'LR is scaled by {ratio:g}: batch size {real} in place of {base}.')
        for wrapper in wrappers_of(optim_wrapper):
            for group in wrapper.param_groups:
                group['lr'] = group['lr'] * ratio

    def collect_env(self) -> str:
        """The text that heads the log: system, launcher, seed."""
        return describe_environment(
            {
                **self._env_kwargs,
                'seed': self._seed,
                'diff_rank_seed': self._randomness['diff_rank_seed'],
                'deterministic': self._randomness['deterministic'],
                'Distributed launcher': self._launcher,
                'Distributed training': self.distributed,
                'GPU number': self.world_size,
            }
        )

    def set_randomness(
        self, seed: int | None, diff_rank_seed: bool = False, deterministic: bool = False
    ) -> None:
        """Seed everything anew, as at the start of the run."""
        self._randomness = {
            'seed': seed, 'diff_rank_seed': diff_rank_seed, 'deterministic': deterministic
        }  # fmt: skip
        self._seed = set_random_seed(**self._randomness)

    # -- state ------------------------------------------------------------------------------------

    def optim_state_dict(self) -> dict[str, Any]:
        """The optimizer wrapper's state. All ranks call it."""
        if self.optim_wrapper is None:
            raise RuntimeError('There is no optimizer yet: build it before its state is asked for.')
        return self.optim_wrapper.state_dict()

    def load_optim_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load what :meth:`optim_state_dict` gave."""
        if self.optim_wrapper is None:
            raise RuntimeError('There is no optimizer yet: build it before its state is loaded.')
        self.optim_wrapper.load_state_dict(state_dict)

    def scheduler_state_dict(self) -> Any:
        """State of the schedulers: a list, or a list for each optimizer's name."""
        if isinstance(self.param_schedulers, dict):
            return {
                name: [scheduler.state_dict() for scheduler in schedulers]
                for name, schedulers in self.param_schedulers.items()
            }
        return [scheduler.state_dict() for scheduler in self.param_schedulers]

    def load_scheduler_state_dict(self, state_dict: Any) -> None:
        """Let the schedulers go on from what :meth:`scheduler_state_dict` gave.

        Call it after the optimizer's state is loaded; see :func:`restore_schedulers`.

        Raises:
            ValueError: If the run has other schedulers than the state.
        """
        epoch, iteration = self._resumed_position
        restore_schedulers(
            self.param_schedulers,
            state_dict,
            epoch=epoch,
            iteration=iteration,
            logger=self.logger,
            **self._run_lengths,
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
        """Read a checkpoint, show it to ``callback`` (which may change it) and load its weights."""
        self.logger.info(f'Load checkpoint from {filename}')
        location = get_device() if map_location == 'default' else map_location
        checkpoint = CheckpointLoader.load_checkpoint(filename, map_location=location)
        weights_of(checkpoint, filename)
        if callback is not None:
            callback(checkpoint)
        weights = weights_of(checkpoint, filename)
        self.load_model_state_dict(weights, strict=strict, revise_keys=revise_keys)
        return cast(Checkpoint, checkpoint)

    def resume(
        self,
        filename: str,
        *,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: str | Callable[..., Any] = 'default',
        callback: Callable[[Checkpoint], None] | None = None,
    ) -> Checkpoint:
        """Load weights and, where asked and present, the state of optimizers and schedulers.

        Schedulers of which the checkpoint knows nothing are stepped to its epoch and iteration.
        """
        self.logger.info(f'Resume checkpoint from {filename}')
        checkpoint = self.load_checkpoint(filename, map_location=map_location, callback=callback)

        def load_optimizer() -> None:
            if resume_optimizer and 'optimizer' in checkpoint and self.optim_wrapper is not None:
                self.load_optim_state_dict(checkpoint.pop('optimizer'))

        if not resume_param_scheduler or not self._has_schedulers():
            load_optimizer()
        elif 'param_schedulers' in checkpoint:
            load_optimizer()
            if 'iter' in (checkpoint.get('meta') or {}):
                self._resumed_position = position_of(checkpoint)
            self.load_scheduler_state_dict(checkpoint.pop('param_schedulers'))
        else:
            advance_schedulers(self.param_schedulers, *position_of(checkpoint))
            keep_scheduled_values(self.param_schedulers, load_optimizer, self.logger.warning)
        return checkpoint

    def load_or_resume(
        self, *, load_from: str | None = None, resume: bool | str = False
    ) -> Checkpoint | None:
        """Resume, or load the weights of ``load_from``; returns the checkpoint, if there was one.

        See :meth:`find_resume_source`.
        """
        source = self.find_resume_source(load_from, resume)
        if source is not None:
            return self.resume(source)
        if load_from is not None:
            return self.load_checkpoint(load_from)
        return None

    def find_resume_source(self, load_from: str | None, resume: bool | str) -> str | None:
        """The path in ``resume``, or ``load_from``, or the newest checkpoint of the work dir."""
        if not resume:
            return None
        if isinstance(resume, str) and resume != 'auto':
            return resume
        if load_from is not None:
            return load_from
        return find_latest_checkpoint(self._work_dir)

    def _has_schedulers(self) -> bool:
        if isinstance(self.param_schedulers, dict):
            return any(self.param_schedulers.values())
        return bool(self.param_schedulers)

    # -- facts ------------------------------------------------------------------------------------

    @property
    def work_dir(self) -> str:
        """Absolute path of the run's folder."""
        return self._work_dir

    @property
    def log_dir(self) -> str:
        """``<work_dir>/<timestamp>``."""
        return self._log_dir

    @property
    def experiment_name(self) -> str:
        """The given name with the timestamp behind it."""
        return self._experiment_name

    @property
    def timestamp(self) -> str:
        """When the run began, the same on all ranks."""
        return self._timestamp

    @property
    def launcher(self) -> str:
        """none, pytorch, slurm or mpi."""
        return self._launcher

    @property
    def distributed(self) -> bool:
        """Whether a process group is up."""
        return is_distributed()

    @property
    def rank(self) -> int:
        """Of this process, from 0."""
        return get_dist_info()[0]

    @property
    def world_size(self) -> int:
        """How many processes train together."""
        return get_dist_info()[1]

    @property
    def seed(self) -> int:
        """The seed of the run, the same on all ranks."""
        return self._seed

    @property
    def randomness(self) -> dict[str, Any]:
        """Arguments of the seeding."""
        return self._randomness

    @staticmethod
    def _make_work_dir(work_dir: str) -> str:
        path = Path(os.path.abspath(os.path.expanduser(work_dir)))
        try:
            path.mkdir(parents=True, exist_ok=True)
            writable = os.access(path, os.W_OK | os.X_OK)
        except OSError as error:
            raise type(error)(
                error.errno, f'The work dir cannot be made: {error.strerror}', str(path)
            ) from error
        if not writable:
            raise PermissionError(
                f'The work dir {path} cannot be written; choose another with work_dir.'
            )
        return str(path)
