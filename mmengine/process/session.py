"""A start of a run: its process, its seed, its folders and its logger."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.dist import is_distributed, sync_random_seed
from mmengine.logging import MMLogger
from mmengine.process._lock import check_lock_setting
from mmengine.process.env import (
    check_launcher,
    describe_environment,
    setup_process,
    synced_timestamp,
)
from mmengine.process.seed import set_random_seed
from mmengine.utils.errors import ArgumentError
from mmengine.utils.manager import release_instances_of_run


@dataclass(frozen=True)
class OwnSteps:
    """Steps of a session that the class of a runner overrides.

    Attributes:
        begin: Receives the session before the first step.
        setup_env: Prepares the process.
        set_randomness: Seeds everything; receives the arguments that the run was given.
        build_logger: Returns the logger of the run.
    """

    begin: Callable[[Session], None]
    setup_env: Callable[[], None]
    set_randomness: Callable[..., None]
    build_logger: Callable[..., MMLogger]


class Session:
    """What one start of a run is made in: environment, seed, work dir, timestamp and logger.

    Constructing it changes the process: start method of workers, file limits, process group, seeds.

    Args:
        work_dir: Folder of the run; made when missing.
        experiment_name: Name of the run; the timestamp is appended.
        env_kwargs: ``launcher``, ``randomness``, ``lock``, and arguments of :func:`setup_process`;
            also ``own_steps``, an :class:`OwnSteps`.
        log_kwargs: Arguments of :meth:`build_logger`.

    Attributes:
        lock: Whether a training holds the lock of the work dir; see :func:`check_lock_setting`.
    """

    timestamp = ''
    seed: int

    def __init__(
        self,
        work_dir: str,
        experiment_name: str | None,
        env_kwargs: dict[str, Any] | None,
        log_kwargs: dict[str, Any] | None,
    ) -> None:
        self._environment = dict(env_kwargs or {})
        own: OwnSteps | None = self._environment.pop('own_steps', None)
        self.launcher = check_launcher(self._environment.pop('launcher', 'none'))
        randomness = dict(self._environment.pop('randomness', None) or {})
        self.lock = check_lock_setting(self._environment.pop('lock', True))
        self.randomness: dict[str, Any] = {
            'seed': None, 'diff_rank_seed': False, 'deterministic': False,
            'per_sample': True, 'restore_after_val': True,
        }  # fmt: skip
        self.work_dir = _make_work_dir(work_dir)
        steps = own or OwnSteps(
            begin=lambda session: None,
            setup_env=partial(self.set_up, **self._environment),
            set_randomness=self.set_randomness,
            build_logger=self.build_logger,
        )
        steps.begin(self)
        steps.setup_env()
        self._stamp()
        steps.set_randomness(**{'seed': None, **randomness})
        if not hasattr(self, 'seed'):
            self.seed = sync_random_seed()  # an own step seeds, but does not say with what
        self.log_dir = os.path.join(self.work_dir, self.timestamp)
        self.experiment_name = (
            f'{experiment_name}_{self.timestamp}' if experiment_name else self.timestamp
        )
        # The logger, the message hub and others of this name are forgotten with the run.
        weakref.finalize(self, release_instances_of_run, self.experiment_name).atexit = False
        self.logger = steps.build_logger(**(log_kwargs or {}))

    def set_up(self, **environment: Any) -> None:
        """Prepare the process; see :func:`setup_process`. The first call sets the timestamp."""
        setup_process(self.launcher, **environment)
        self._stamp()

    def _stamp(self) -> None:
        if not self.timestamp:
            self.timestamp = synced_timestamp()

    def set_randomness(
        self,
        seed: int | None,
        diff_rank_seed: bool = False,
        deterministic: bool = False,
        per_sample: bool = True,
        restore_after_val: bool = True,
    ) -> None:
        """Seed everything; see :func:`set_random_seed`.

        Args:
            seed: None draws one, the same on every rank.
            diff_rank_seed: Each rank is seeded with ``seed + rank``.
            deterministic: Also ask torch for deterministic kernels.
            per_sample: Each sample is loaded in a random state that depends on seed, pass and
                position alone. False draws as the API does: in the state of the worker or process.
            restore_after_val: A validation or test leaves the random state as it found it. False
                goes on from the state at its end, as the API does.
        """
        self.randomness = {
            'seed': seed, 'diff_rank_seed': diff_rank_seed, 'deterministic': deterministic
        }  # fmt: skip
        self.seed = set_random_seed(**self.randomness)
        self.randomness.update(per_sample=per_sample, restore_after_val=restore_after_val)

    def build_logger(
        self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs: Any
    ) -> MMLogger:
        """The logger of this run; writes ``<timestamp>/<timestamp>.log`` by default."""
        if log_file is None:
            log_file = os.path.join(self.log_dir, f'{self.timestamp}.log')
        settings = {
            'name': self.experiment_name,
            'file_mode': 'a',
            'distributed': is_distributed(),
            **kwargs,
        }
        return MMLogger.get_instance(log_level=log_level, log_file=log_file, **settings)

    def describe(self, world_size: int) -> str:
        """The text at the head of the log: system, launcher, seed."""
        return describe_environment(
            {
                **self._environment,
                'seed': self.seed,
                'diff_rank_seed': self.randomness['diff_rank_seed'],
                'deterministic': self.randomness['deterministic'],
                'Distributed launcher': self.launcher,
                'Distributed training': is_distributed(),
                'GPU number': world_size,
            }
        )


def remote_work_dir(work_dir: str) -> str:
    """The message for a work dir that is a URL."""
    return (
        f'work_dir is a local folder, got {work_dir!r}. Set default_hooks.checkpoint.out_dir and '
        'default_hooks.logger.out_dir to store checkpoints and logs at a URL.'
    )


def _make_work_dir(work_dir: str) -> str:
    if '://' in str(work_dir):
        raise ArgumentError(remote_work_dir(work_dir))
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
