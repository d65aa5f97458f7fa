"""RunState: the one owner of what a run trains and of where the run stands."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from operator import attrgetter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn

    from mmengine.logging import MessageHub
    from mmengine.optim.optimizer._run import OptimizerRun

Schedulers = list[Any] | dict[str, list[Any]]


@dataclass
class Position:
    """How far the training has come, and where it ends.

    The stock loops count here. A custom loop that counts by itself is the position of its run: it
    has attributes of the same names.

    Attributes:
        epoch: Finished epochs.
        iter: Finished iterations (batches, not optimizer steps).
        epoch_began: The epoch that was begun last, and the iterations finished before it. Epochs
            may differ in length, as their data may be replaced.
        max_epochs: Epochs to train; 1 while there is no train loop.
        max_iters: Iterations to train; 1 while there is no train loop.
    """

    epoch: int = 0
    iter: int = 0
    epoch_began: tuple[int, int] = (0, 0)
    max_epochs: int = 1
    max_iters: int = 1

    @property
    def batch_in_epoch(self) -> int:
        """Finished batches of the present epoch; 0 if it has not begun."""
        epoch, before = self.epoch_began
        return max(self.iter - before, 0) if epoch == self.epoch else 0

    def begin_epoch(self, finished_batches: int = 0) -> None:
        """The present epoch begins, or goes on after ``finished_batches``."""
        self.epoch_began = (self.epoch, self.iter - finished_batches)


class RunState:
    """Model, optimizer wrapper, schedulers, position and message hub of one run.

    ``Runner`` and its strategy have no copies: their attributes of the same names are views of this
    object. So an assignment to any of them is an assignment for all.

    Attributes:
        model: The model; inside its distributed wrapper once ``prepare`` placed it.
        placed_model: The model that ``prepare`` placed. Another object as ``model`` means that
            ``model`` still has to be placed.
        param_schedulers: Schedulers of one optimizer, or lists by optimizer name; configs until
            they are built.
        position: Where the training stands: a :class:`Position`, or a custom loop.
        lengths: ``epoch_length``, ``max_epochs`` and ``max_iters`` of the training, where known;
            schedules depend on them.
        message_hub: The hub of this run.
        auto_scale_lr: ``base_batch_size`` and ``enable``.
        is_lr_scaled: Whether the learning rates were scaled already.
        has_weights: Whether weights were loaded, which initialisation must not overwrite.
        checkpoint_read: Called with a checkpoint after it was read and before it is used.
        stage: ``train``, ``val`` or ``test`` while such a stage runs, else None.
        is_resuming: Whether a checkpoint is being loaded to continue its run.
        saved_iter: The iteration at which the newest checkpoint was written. None if there is none,
            or if the state of training has changed since in another way than by iterations.
        save_id: ``meta['save_id']`` of the newest checkpoint.
        optimizer_run: What optimizer wrappers of this run ask; the strategy sets itself here.
    """

    def __init__(self) -> None:
        self.model: nn.Module | None = None
        self.placed_model: nn.Module | None = None
        self.compiled_model: nn.Module | None = None
        self.param_schedulers: Any = []
        self.position: Any = Position()
        self.lengths: dict[str, int | None] = dict.fromkeys(
            ('epoch_length', 'max_epochs', 'max_iters')
        )
        self.message_hub: MessageHub | None = None
        self.auto_scale_lr: dict[str, Any] | None = None
        self.is_lr_scaled = False
        self.has_weights = False
        self.checkpoint_read: Callable[[dict[str, Any]], None] | None = None
        self.optimizer_run: OptimizerRun | None = None
        self.stage: str | None = None
        self.is_resuming = False
        self.saved_iter: int | None = None
        self.save_id: str | None = None
        self._optim_wrapper: Any = None

    @property
    def is_placed(self) -> bool:
        """Whether the present model was placed by the strategy."""
        return self.model is not None and self.model is self.placed_model

    @contextmanager
    def resuming(self, really: bool = True) -> Iterator[None]:
        """Within it a checkpoint is loaded to continue its run."""
        self.is_resuming = really
        try:
            yield
        finally:
            self.is_resuming = False

    def _set_optim_wrapper(self, optim_wrapper: Any) -> None:
        self._optim_wrapper = optim_wrapper
        if self.optimizer_run is not None and hasattr(optim_wrapper, 'attach_run'):
            optim_wrapper.attach_run(self.optimizer_run)

    # Read several times in a step: `attrgetter` gets it without a Python frame.
    optim_wrapper: Any = property(
        attrgetter('_optim_wrapper'),
        _set_optim_wrapper,
        doc='The optimizer wrapper, a config until it is built, or None. Setting it tells the '
        'wrapper to which run it belongs.',
    )


def view_of_state(path: str, doc: str) -> Any:
    """A property that reads and writes ``self.state.<path>``, and costs no Python frame to read."""
    *parents, name = path.split('.')
    owner = attrgetter('.'.join(['state', *parents]))

    def write(self: Any, value: Any) -> None:
        setattr(owner(self), name, value)

    return property(attrgetter(f'state.{path}'), write, doc=doc)


def are_built(schedulers: Any) -> bool:
    """Whether ``schedulers`` are scheduler objects, not configs; no schedulers are built too."""
    if isinstance(schedulers, dict):
        return all(are_built(entry) for entry in schedulers.values()) and 'type' not in schedulers
    if isinstance(schedulers, (list, tuple)):
        return all(are_built(entry) for entry in schedulers)
    return hasattr(schedulers, 'step') and hasattr(schedulers, 'state_dict')
