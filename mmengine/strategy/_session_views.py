"""Attributes of a strategy that describe the start of a run; their values are in its session."""

from __future__ import annotations

from typing import Any

from mmengine.dist import get_dist_info, is_distributed
from mmengine.dist._data_parallel import get_data_parallel_info
from mmengine.logging import MMLogger
from mmengine.process.session import Session


class SessionViews:
    """Properties that read :class:`Session` and the process group."""

    session: Session

    @classmethod
    def of(cls, session: Session) -> SessionViews:
        """Views of ``session`` alone."""
        views = SessionViews()
        views.session = session
        return views

    @property
    def logger(self) -> MMLogger:
        """The logger of the run."""
        return self.session.logger

    @logger.setter
    def logger(self, logger: MMLogger) -> None:
        self.session.logger = logger

    @property
    def work_dir(self) -> str:
        """Absolute path of the run's folder."""
        return self.session.work_dir

    @property
    def log_dir(self) -> str:
        """``<work_dir>/<timestamp>``."""
        return self.session.log_dir

    @property
    def experiment_name(self) -> str:
        """The configured name with the timestamp appended."""
        return self.session.experiment_name

    @property
    def timestamp(self) -> str:
        """Start time of the run, the same on all ranks."""
        return self.session.timestamp

    @property
    def launcher(self) -> str:
        """'none', 'pytorch', 'slurm' or 'mpi'."""
        return self.session.launcher

    @property
    def seed(self) -> int:
        """The seed of the run, the same on all ranks."""
        return self.session.seed

    @property
    def randomness(self) -> dict[str, Any]:
        """Arguments of :meth:`set_randomness`."""
        return self.session.randomness

    @property
    def distributed(self) -> bool:
        """Whether a process group is initialised."""
        return is_distributed()

    @property
    def rank(self) -> int:
        """Rank of this process, from 0."""
        return get_dist_info()[0]

    @property
    def world_size(self) -> int:
        """Number of processes that train together."""
        return get_dist_info()[1]

    @property
    def data_parallel_info(self) -> tuple[int, int]:
        """The index of this rank among the ranks with different data, and their number."""
        return get_data_parallel_info()

    def collect_env(self) -> str:
        """The text at the top of the log: system, launcher, seed."""
        return self.session.describe(self.world_size)

    def set_randomness(
        self,
        seed: int | None,
        diff_rank_seed: bool = False,
        deterministic: bool = False,
        per_sample: bool = True,
        restore_after_val: bool = True,
    ) -> None:
        """Seed all random number generators, as at the start of the run."""
        self.session.set_randomness(
            seed, diff_rank_seed, deterministic, per_sample, restore_after_val
        )

    def build_logger(
        self, log_level: int | str = 'INFO', log_file: str | None = None, **kwargs: Any
    ) -> MMLogger:
        """The logger of this run; writes ``<timestamp>/<timestamp>.log`` by default."""
        return self.session.build_logger(log_level, log_file, **kwargs)
