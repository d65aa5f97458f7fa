"""Run: the part of a Runner that hooks may use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor, nn

    from mmengine.config import Config
    from mmengine.hooks.hook import Hook
    from mmengine.logging import MessageHub, MMLogger
    from mmengine.optim import BaseOptimWrapper
    from mmengine.process._stop_requests import StopRequests
    from mmengine.visualization import Visualizer


class RunCheckpoints(Protocol):
    """Access to the checkpoints of a run; see :class:`mmengine.strategy.CheckpointIO`."""

    writes_together: bool

    def check_saves(
        self,
        out_dir: str,
        backend_args: dict[str, Any] | None = None,
        with_optimizer: bool = True,
        readers: Sequence[str] = (),
    ) -> None:
        """Refuse, before the first step, what cannot be written."""

    def own_part(self, checkpoint: dict[str, Any]) -> dict[str, Any]:
        """What this rank writes, where all ranks write."""

    def write(
        self, checkpoint: dict[str, Any], path: str, backend_args: dict[str, Any] | None = None
    ) -> None:
        """Write a checkpoint."""

    def write_record(
        self, record: dict[str, Any], path: str, backend_args: dict[str, Any] | None = None
    ) -> None:
        """Write the changes of a validation next to a checkpoint."""

    def link(self, source: str, target: str, backend_args: dict[str, Any] | None = None) -> None:
        """Make ``target`` another name for a checkpoint, or a copy of it."""

    def exists(self, path: str, backend_args: dict[str, Any] | None = None) -> bool:
        """Whether there is a checkpoint at ``path``."""

    def remove(self, path: str, backend_args: dict[str, Any] | None = None) -> None:
        """Remove a checkpoint and its record."""

    def mark_newest(self, work_dir: str, path: str) -> None:
        """Make a resumed run continue from ``path``."""


class RunStrategy(Protocol):
    """The part of a strategy that hooks may use."""

    io: Any
    """Writes, finds, reads and removes checkpoints; see :class:`RunCheckpoints`."""

    @property
    def param_schedulers(self) -> Any:
        """The built schedulers: a list, or lists by optimizer name."""

    def all_ranks_agree(self, flag: Tensor) -> bool:
        """Whether a 0-d bool tensor is True on every rank. All ranks must call it."""

    def average_gradients(self, model: nn.Module, param_groups: list[dict[str, Any]]) -> bool:
        """Exchange the gradients of an open window now. All ranks must call it."""

    def scheduler_state_dict(self) -> Any:
        """State of the schedulers, in the same form."""


class RunState(Protocol):
    """The part of the state of a run that hooks may use."""

    stage: str | None
    position: Any
    batch_size: int | None
    stops: StopRequests
    is_reopened: bool
    is_resuming: bool
    resumed_at: tuple[int, int] | None
    save_id: str | None
    run_id: str

    def finished(self, unit: str) -> int:
        """Steps or samples that the training has finished, including the present iteration."""

    def counter_of(self, schedule: Any) -> Callable[[], int] | None:
        """Returns the steps or samples that ``schedule`` counts."""

    def moment(self, iteration: int) -> tuple[int, int]:
        """The state of training after ``iteration`` iterations."""


class Run(Protocol):
    """The attributes and methods of a Runner that hooks use.

    Hooks annotate their ``runner`` argument with this class. Then a wrong attribute is a type
    error, and a test can pass a small object instead of a Runner.
    """

    cfg: Config
    model: nn.Module
    optim_wrapper: BaseOptimWrapper
    param_schedulers: Any
    message_hub: MessageHub
    visualizer: Visualizer
    log_processor: Any
    epoch: int
    iter: int
    max_epochs: int
    max_iters: int

    @property
    def state(self) -> RunState:
        """The state of the run."""

    @property
    def strategy(self) -> RunStrategy:
        """The strategy of the run."""

    @property
    def logger(self) -> MMLogger:
        """The logger of the run."""

    @property
    def hooks(self) -> list[Hook]:
        """The hooks in the order in which they are called."""

    @property
    def train_loop(self) -> Any:
        """The train loop, built when first read; None without training."""

    @property
    def val_loop(self) -> Any:
        """The val loop, built when first read; None without validation."""

    @property
    def test_loop(self) -> Any:
        """The test loop, built when first read; None without a test."""

    @property
    def train_dataloader(self) -> Any:
        """The dataloader of the train loop."""

    @property
    def val_dataloader(self) -> Any:
        """The dataloader of the val loop."""

    @property
    def test_dataloader(self) -> Any:
        """The dataloader of the test loop."""

    @property
    def val_interval(self) -> int:
        """Epochs or iterations between two validations."""

    @property
    def work_dir(self) -> str:
        """Folder of the run, absolute."""

    @property
    def log_dir(self) -> str:
        """Folder with the log and the scalars of this start."""

    @property
    def timestamp(self) -> str:
        """Start time of the run, the same on all ranks."""

    @property
    def experiment_name(self) -> str:
        """Name of the run, including the timestamp."""

    @property
    def model_name(self) -> str:
        """Class name of the model inside its wrapper."""

    @property
    def config_text(self) -> str:
        """The config as text."""

    @property
    def seed(self) -> int:
        """Seed of the run, the same on all ranks."""

    @property
    def rank(self) -> int:
        """Rank of this process, from 0."""

    @property
    def world_size(self) -> int:
        """Number of processes that train together."""

    def call_hook(self, fn_name: str, **kwargs: Any) -> None:
        """Call every hook that acts at the point ``fn_name``."""

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
        """Write the state of the run. All ranks must call it."""


def evaluates_alone(runner: Any) -> bool:
    """Whether ``runner.val()`` or ``runner.test()`` runs, not a validation within a training.

    An object without a stage, such as the fake runner of a test, counts as a training.
    """
    return getattr(getattr(runner, 'state', None), 'stage', None) in ('val', 'test')
