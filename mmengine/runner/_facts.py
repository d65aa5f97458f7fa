"""What may be read of a run: its names and places, its processes, and where it stands."""

from __future__ import annotations

from typing import Any

from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.strategy import BaseStrategy


class RunFacts:
    """The read-only side of a Runner, as hooks, loops and logs use it.

    Position and length of the training are those of the train loop. They may be asked for before
    that is built: it is not built for their sake, as it brings the training data with it.
    """

    cfg: Config
    strategy: BaseStrategy
    _train_loop: Any
    _launcher: str
    _model_name: str
    _randomness_cfg: dict[str, Any]

    # Names and places

    @property
    def experiment_name(self) -> str:
        """Name of the run, with its timestamp."""
        return self.strategy.experiment_name

    @property
    def model_name(self) -> str:
        """Class name of the model inside its wrapper."""
        return self._model_name

    @property
    def timestamp(self) -> str:
        """When the run began, the same on all ranks."""
        return self.strategy.timestamp

    @property
    def work_dir(self) -> str:
        """Folder of the run, absolute."""
        return self.strategy.work_dir

    @property
    def log_dir(self) -> str:
        """Folder of this start's log and scalars."""
        return self.strategy.log_dir

    @property
    def logger(self) -> MMLogger:
        """The logger of the run."""
        return self.strategy.logger

    @logger.setter
    def logger(self, logger: MMLogger) -> None:
        self.strategy.logger = logger

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
        return self.strategy.distributed

    @property
    def rank(self) -> int:
        """Of this process, from 0."""
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
    def randomness_cfg(self) -> dict[str, Any]:
        """What the run was told about its seed."""
        return self._randomness_cfg

    # Position in the training

    @property
    def max_epochs(self) -> int:
        """Epochs to train; 1 without a train loop."""
        return self._of_train_loop('max_epochs', 1)

    @property
    def max_iters(self) -> int:
        """Iterations to train; 1 without a train loop."""
        return self._of_train_loop('max_iters', 1)

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return self._of_train_loop('epoch', 0)

    @property
    def iter(self) -> int:
        """Finished iterations."""
        # Asked several times in a step, so without the call that the others share.
        loop = self._train_loop
        return 0 if loop is None or isinstance(loop, dict) else loop.iter

    @property
    def val_begin(self) -> int:
        """The first epoch or iteration to validate after."""
        return self._of_train_loop('val_begin', 1)

    @property
    def val_interval(self) -> int:
        """Epochs or iterations from validation to validation."""
        return self._of_train_loop('val_interval', 1)

    def _of_train_loop(self, name: str, default: int) -> int:
        loop = self._train_loop
        value: int = default if loop is None or isinstance(loop, dict) else getattr(loop, name)
        return value
