"""RunState: the single owner of the model, the optimizer and the position of a run."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from mmengine.optim.optimizer.optimizer_wrapper_dict import wrappers_of
from mmengine.process._stop_requests import StopRequests
from mmengine.strategy._optimizer_resume import Options, options_of
from mmengine.strategy._resume_report import ResumeReport
from mmengine.strategy._resume_request import ResumeRequest
from mmengine.utils.errors import ArgumentError

if TYPE_CHECKING:
    from torch import nn

    from mmengine.logging import MessageHub
    from mmengine.optim.optimizer._run import OptimizerRun

Schedulers = list[Any] | dict[str, list[Any]]

# `max_iters` of a training by epochs whose data is a stream without a length.
UNKNOWN = -1


@dataclass
class Position:
    """The present position of the training, and its end.

    The built-in loops count here. A custom loop with its own counters is used as the position of
    its run: it has attributes of the same names.

    Attributes:
        epoch: Finished epochs.
        iter: Finished iterations (batches, not optimizer steps).
        epoch_began: The epoch that was begun last, and the iterations finished before it. Epochs
            may differ in length, as their data may be replaced.
        max_epochs: Epochs to train; 1 before the train loop is built.
        max_iters: Iterations to train; 1 before the train loop is built, -1 if unknown.
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


@dataclass(frozen=True)
class ResumedPosition:
    """Where a checkpoint lies in a run whose batches may have other sizes than in the saved run.

    Attributes:
        iteration: Its finished iterations in batches of this run; None if unknown.
        is_moved: Whether an epoch of the saved run had another number of batches.
        is_resized: Whether an iteration of the saved run had another number of samples, or an
            accumulation window another number of iterations.
        samples: Samples of all ranks in ``iteration`` iterations of this run; None if unknown.
    """

    iteration: int | None
    is_moved: bool
    is_resized: bool
    samples: int | None


class RunState:
    """Model, optimizer wrapper, schedulers, position and message hub of one run.

    ``Runner`` and its strategy have no copies: their attributes of the same names read and write
    this object. An assignment to one of them is therefore visible in all of them.

    Attributes:
        model: The model; inside its distributed wrapper after ``prepare`` has placed it.
        placed_model: The model that ``prepare`` placed. If ``model`` is a different object, then
            ``model`` still has to be placed.
        param_schedulers: Schedulers of one optimizer, or lists by optimizer name; configs until
            they are built.
        position: The position of the training: a :class:`Position`, or a custom loop.
        lengths: ``epoch_length``, ``max_epochs`` and ``max_iters`` of the training, where known;
            schedules depend on them.
        message_hub: The message hub of this run.
        auto_scale_lr: ``base_batch_size`` and ``enable``.
        is_lr_scaled: Whether the learning rates are already scaled.
        has_weights: Whether weights were loaded. Initialisation must not overwrite them.
        load_checkpoint: Loads the weights of a checkpoint that is resumed, and returns it; None if
            the runner's class does not override that.
        checkpoint_read: Called with each checkpoint after it is read and before it is used.
        stage: ``train``, ``val`` or ``test`` while such a stage runs, else None.
        is_training: Whether a training runs; there may be another stage in it.
        error: The error with which the outermost stage leaves, once hooks are called with it.
        is_resuming: Whether a checkpoint is being loaded to continue its run.
        resume_request: Whether the run resumes, and what wins where config and checkpoint differ.
        resume_report: What differs between the run and the checkpoint that is being loaded; None
            if nothing compares them.
        resumed_position: Where the checkpoint that is being resumed lies in this run; None if
            unknown.
        resumed_from: ``save_id`` of the checkpoints that the run was resumed from, newest first.
        num_changes: How often the state may have changed without an iteration: an open accumulation
            window was closed by a separate step, a batch failed, weights were loaded, or an epoch
            of an epoch-based run ended, in which schedules step.
        resumed_at: ``moment`` that the resumed checkpoint holds; None if nothing was resumed.
        save_id: ``meta['save_id']`` of the newest checkpoint.
        run_id: Identifies the run over all its starts: a resumed run has the one of its checkpoint.
        launch: What further starts of the ranks by their agent need; None without an agent.
        stops: Requests to stop the present stage.
        ended: Why the resumed run had ended early, and its lengths then; None if it had not.
        is_reopened: Whether a run that had ended early goes on.
        num_samples: Samples of all ranks that were trained on; counted only in a training with a
            part that has ``unit='sample'``.
        batch_size: Samples of all ranks in a full batch; None if unknown.
        config_batch_size: Batch size of a rank in the config, where the ranks have shares of other
            sizes because their number has changed; else None.
        optimizer_run: The object that optimizer wrappers of this run use; set by the strategy.
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
        self.load_checkpoint: Callable[..., dict[str, Any]] | None = None
        self.checkpoint_read: Callable[[dict[str, Any]], None] | None = None
        self.optimizer_run: OptimizerRun | None = None
        self.stage: str | None = None
        self.is_training = False
        self.error: BaseException | None = None
        self.is_resuming = False
        self.resume_request = ResumeRequest()
        self.resume_report: ResumeReport | None = None
        self.resumed_position: ResumedPosition | None = None
        self.launch: Any = None
        self.resumed_from: list[str] = []
        self.num_changes = 0
        self.resumed_at: tuple[int, int] | None = None
        self.save_id: str | None = None
        self.run_id = uuid.uuid4().hex
        self.stops = StopRequests()
        self.ended: dict[str, Any] | None = None
        self.is_reopened = False
        self.num_samples = 0
        self.batch_size: int | None = None
        self.config_batch_size: int | None = None
        self._optim_wrapper: Any = None
        self._built_options: tuple[Any, Options] | None = None

    @property
    def is_placed(self) -> bool:
        """Whether the strategy has placed the present model."""
        return self.model is not None and self.model is self.placed_model

    def finished(self, unit: str) -> int:
        """Units that the training has finished, including the iteration that ends now.

        Args:
            unit: 'step' or 'sample'. With several optimizers, the steps of the optimizer that has
                taken most. Samples of all ranks count.

        Raises:
            ArgumentError: If the class of the optimizer wrapper does not count its steps.
        """
        if unit == 'sample':
            return self.num_samples
        steps: int | None = getattr(self._optim_wrapper, 'num_steps', None)
        if steps is None:
            raise ArgumentError(
                f'{type(self._optim_wrapper).__name__} does not count its optimizer steps '
                "(num_steps), so nothing can have unit='step'. Count iterations instead."
            )
        return steps

    def counts(self) -> dict[str, Any]:
        """Finished steps of each optimizer, and finished samples, as a checkpoint holds them."""
        steps = [getattr(each, 'num_steps', None) for each in wrappers_of(self._optim_wrapper)]
        return {'steps': steps, 'samples': self.num_samples or None, 'windows': self.windows()}

    def windows(self) -> list[int]:
        """Iterations in the accumulation window of each optimizer."""
        wrappers = wrappers_of(self._optim_wrapper)
        return [getattr(each, '_accumulative_counts', 1) for each in wrappers]

    def load_counts(self, meta: Mapping[str, Any], iteration: int) -> None:
        """Continue with the counts of a checkpoint that was saved after ``iteration`` iterations.

        Numbers that the checkpoint does not have are computed from its position in the data, or
        from the iterations as if each had a full batch.

        Args:
            meta: Entry ``meta`` of the checkpoint.
            iteration: Finished iterations.
        """
        saved, data = meta.get('counts') or {}, meta.get('data') or {}
        wrappers = wrappers_of(self._optim_wrapper)
        steps = saved.get('steps') or []
        for index, wrapper in enumerate(wrappers):
            if isinstance(getattr(wrapper, 'num_steps', None), int):
                known = steps[index] if len(steps) == len(wrappers) else None
                size = getattr(wrapper, '_accumulative_counts', 1)
                wrapper.num_steps = iteration // size if known is None else known
        samples = saved.get('samples')
        if samples is None and data.get('samples') is not None:
            samples = data['pass'] * (data['num_samples'] or 0) + data['samples']
        self.num_samples = iteration * (self.batch_size or 0) if samples is None else samples

    def counter_of(self, schedule: Any) -> Callable[[], int] | None:
        """Returns the units that ``schedule`` counts; None if these are epochs or iterations.

        A schedule counts the steps of the optimizer that it changes.
        """
        unit = getattr(schedule, 'unit', None)
        if unit != 'step':
            return None if unit is None else partial(self.finished, unit)
        wrapper = self._wrapper_of(schedule)
        return (
            partial(self.finished, unit)
            if wrapper is None
            else partial(getattr, wrapper, 'num_steps')
        )

    def units_in_this_run(self, schedule: Any) -> int | None:
        """Where a schedule that ends with the run would be, had all sizes been the present ones.

        None if no size has changed since the checkpoint, or if the schedule has a separate end.
        """
        resumed = self.resumed_position
        ends_with_run = getattr(schedule, '_ends_with_run', False)
        if resumed is None or not resumed.is_resized or not ends_with_run:
            return None
        if schedule.unit == 'sample':
            return resumed.samples
        size = getattr(self._wrapper_of(schedule), '_accumulative_counts', 1)
        return None if resumed.iteration is None else resumed.iteration // size

    def _wrapper_of(self, schedule: Any) -> Any:
        """The wrapper of the optimizer that ``schedule`` changes, if it counts its steps."""
        optimizer = schedule.optimizer
        for wrapper in (optimizer, *wrappers_of(self._optim_wrapper)):
            is_own = wrapper is optimizer or getattr(wrapper, 'optimizer', None) is optimizer
            if is_own and isinstance(getattr(wrapper, 'num_steps', None), int):
                return wrapper
        return None

    def moment(self, iteration: int) -> tuple[int, int]:
        """Two numbers that identify the state of training after ``iteration`` iterations."""
        return iteration, self.num_changes

    @contextmanager
    def resuming(self, really: bool = True) -> Iterator[None]:
        """Set ``is_resuming`` within this context."""
        before, self.is_resuming = self.is_resuming, really
        try:
            yield
        finally:
            self.is_resuming = before

    @property
    def needs_weights(self) -> bool:
        """Whether a checkpoint without any weight of the model is an error."""
        return self.is_resuming or self.stage is not None

    def built_options(self) -> Options:
        """The options with which the present optimizer was built; see :func:`options_of`.

        The first call with an optimizer decides, so call this before its options change.
        """
        wrapper = self._optim_wrapper
        if self._built_options is None or self._built_options[0] is not wrapper:
            self._built_options = (wrapper, options_of(wrapper))
        return self._built_options[1]

    def _set_optim_wrapper(self, optim_wrapper: Any) -> None:
        self._optim_wrapper = optim_wrapper
        if self.optimizer_run is not None and hasattr(optim_wrapper, 'attach_run'):
            optim_wrapper.attach_run(self.optimizer_run)

    # This is read several times in a step: `attrgetter` needs no Python frame.
    optim_wrapper: Any = property(
        attrgetter('_optim_wrapper'),
        _set_optim_wrapper,
        doc='The optimizer wrapper, its config until it is built, or None. An assigned wrapper is '
        'bound to this run.',
    )


def view_of_state(path: str, doc: str) -> Any:
    """A property that reads and writes ``self.state.<path>``; reading needs no Python frame."""
    *parents, name = path.split('.')
    owner = attrgetter('.'.join(['state', *parents]))

    def write(self: Any, value: Any) -> None:
        setattr(owner(self), name, value)

    return property(attrgetter(f'state.{path}'), write, doc=doc)


def are_built(schedulers: Any) -> bool:
    """Whether ``schedulers`` are scheduler objects, not configs; True if there are none."""
    if isinstance(schedulers, dict):
        return all(are_built(entry) for entry in schedulers.values()) and 'type' not in schedulers
    if isinstance(schedulers, (list, tuple)):
        return all(are_built(entry) for entry in schedulers)
    return hasattr(schedulers, 'step') and hasattr(schedulers, 'state_dict')
