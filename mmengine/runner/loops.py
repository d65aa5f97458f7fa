"""The train loops, as short as the order of their calls allows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from time import monotonic
from typing import TYPE_CHECKING, Any

from torch import nn
from torch.utils.data import DataLoader

from mmengine.dataset._batch_parts import BatchParts
from mmengine.dataset._dataloader import num_batches
from mmengine.dataset._sample_order import TRAIN, begin_pass
from mmengine.hooks._units import Interval
from mmengine.registry import LOOPS
from mmengine.runner._batch_position import (
    batch_number,
    check_has_batches,
    check_has_epochs,
)
from mmengine.runner._data_position import (
    BegunPass,
    DataStart,
    assumed_position,
    begin_data,
    pack_position,
)
from mmengine.runner._ending import flush_open_windows
from mmengine.runner._endless_batches import NO_BATCH, _InfiniteDataloaderIterator
from mmengine.runner._evaluation_loops import TestLoop, ValLoop
from mmengine.runner._evaluation_losses import _parse_losses, _update_losses
from mmengine.runner._even_batches import checked_choice, epoch_length, even_batches
from mmengine.runner._position_of_loop import of_position
from mmengine.runner._step_in_parts import step_in_parts
from mmengine.runner._stopping import (
    is_over_after_epoch,
    is_over_after_iter,
    report,
    stays_ended,
    watched_by,
    with_new_workers,
)
from mmengine.runner._validating_loop import ValidatingLoop
from mmengine.runner.base_loop import number_samples_of
from mmengine.runner.utils import as_positive
from mmengine.strategy._state import UNKNOWN, Position

if TYPE_CHECKING:
    from typing_extensions import Self

    from mmengine.runner.runner import Runner

__all__ = [
    'EpochBasedTrainLoop',
    'IterBasedTrainLoop',
    'TestLoop',
    'ValLoop',
    '_InfiniteDataloaderIterator',
    '_parse_losses',
    '_update_losses',
]


class _TrainLoop(ValidatingLoop):
    """What both train loops have: the position of the run.

    ``_epoch``, ``_iter``, ``_max_epochs`` and ``_max_iters``, which subclasses read and write,
    belong to the position.
    """

    _epoch: int = of_position('epoch', 'Finished epochs.')
    _iter: int = of_position('iter', 'Finished iterations.')
    _max_epochs: int = of_position('max_epochs', 'Epochs to train.')
    _max_iters: int = of_position('max_iters', 'Iterations to train.')

    # Subclasses of the API may call the constructor of BaseLoop alone, and set these by themselves.
    stop_training = False

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        """A loop has its position before any constructor."""
        loop = super().__new__(cls)
        loop._position = Position()
        loop._turns_of_validation = Interval(1)
        return loop

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader[Any] | dict[str, Any],
        val_begin: int = 1,
        val_interval: int = 1,
        dynamic_intervals: Sequence[tuple[int, int]] | None = None,
        val_unit: str | None = None,
    ) -> None:
        super().__init__(runner, dataloader)
        self._has_new_data = False
        self._set_validations(val_begin, val_interval, dynamic_intervals, val_unit)
        self._show_metainfo()

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return self._position.epoch

    @property
    def iter(self) -> int:
        """Finished iterations."""
        return self._position.iter

    @property
    def max_epochs(self) -> int:
        """Epochs to train; 1 for a run that counts iterations."""
        return self._position.max_epochs

    @property
    def max_iters(self) -> int:
        """Iterations to train; -1 while epochs are streams without a length."""
        return self._position.max_iters

    def _flush_open_windows(self) -> None:
        """Let gradients that are still being accumulated at the end of the run make their step."""
        flush_open_windows(self._runner)


@LOOPS.register_module()
class EpochBasedTrainLoop(_TrainLoop):
    """Train for a number of epochs::

        before_train
        for epoch:   before_train_epoch
            for batch:   before_train_iter   model.train_step(batch)   after_train_iter
            after_train_epoch
            validate, when due
        after_train

    Args:
        runner: The run this loop belongs to.
        dataloader: A dataloader or its config.
        max_epochs: How many epochs to train.
        val_begin: The first epoch to validate after, from 1.
        val_interval: Validate after every so many epochs, and after the last.
        dynamic_intervals: Pairs (epoch, interval): validate at that interval from that epoch on.
        uneven: What happens if ranks have different numbers of batches: 'error', or 'shortest' to
            end an epoch with the rank that has the fewest.
        val_unit: 'iter', 'step' or 'sample': the three arguments before count iterations, optimizer
            steps or samples instead of epochs.

    Raises:
        ArgumentError: If ranks have different numbers of batches and ``uneven`` is 'error'.
        ArgumentError: If a number is not a positive integer, the data gives no batch, or a pass
            over the data never ends.
    """

    _pass: BegunPass | None = None
    _shortest: int | None = None
    uneven = 'error'

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader[Any] | dict[str, Any],
        max_epochs: int,
        val_begin: int = 1,
        val_interval: int = 1,
        dynamic_intervals: list[tuple[int, int]] | None = None,
        *,
        uneven: str = 'error',
        val_unit: str | None = None,
    ) -> None:
        self.uneven = checked_choice(uneven)
        super().__init__(runner, dataloader, val_begin, val_interval, dynamic_intervals, val_unit)
        self._max_epochs = as_positive('max_epochs', max_epochs)
        self._adopt_data()

    def _adopt_data(self) -> None:
        check_has_epochs(self.dataloader)
        check_has_batches(self.dataloader)
        self._shortest = None
        self._count_iterations()

    def validates_at(self, epoch: int, iteration: int, by_epoch: bool) -> bool:
        """Whether a validation comes next; within an epoch only those in another unit do."""
        if self.val_unit is not None:
            is_last = by_epoch and epoch == self._max_epochs
            return self._is_due_in_unit(self._done_in_unit(iteration), is_last)
        return by_epoch and self._is_due(epoch, self._max_epochs)

    def run(self) -> nn.Module:
        """Train to the end; returns the model."""
        is_ended = stays_ended(self, 'epoch')
        self._runner.call_hook('before_train')
        stops = watched_by(self)
        self._validate_owed()
        while self._epoch < self._max_epochs and not is_ended:
            if is_over_after_epoch(self, stops):
                break
            self.run_epoch()
            if stops.is_reached:
                break  # within the epoch
            self._validate_if_due(self._epoch, self._max_epochs)
        report(self._runner)
        self._runner.call_hook('after_train')
        return self._runner.model

    def run_epoch(self) -> None:
        """Train one epoch, or what a resumed run has left of it."""
        self._runner.call_hook('before_train_epoch')
        self._runner.model.train()
        first, batches = self._begin_epoch()
        batches = with_new_workers(self, batches)
        stops, length = self._runner.state.stops, epoch_length(self.dataloader, self.uneven)
        end = math.inf if length is None else length
        idx = first - 1
        for idx, data_batch in enumerate(even_batches(batches, first, length), start=first):
            self.run_iter(idx, data_batch)
            # The validation after the last batch follows the end of the epoch.
            if self.val_unit is not None and idx + 1 < end:
                self._validate_in_unit()
            # After the last batch, the epoch ends first.
            if monotonic() >= stops.look_at and idx + 1 < end and stops.reached(self._iter):
                return
        if idx < 0 and length is None:
            raise RuntimeError(NO_BATCH)
        if self._epoch + 1 >= self._max_epochs if length is None else self._iter >= self._max_iters:
            self._flush_open_windows()
        self._runner.state.num_changes += 1
        self._runner.call_hook('after_train_epoch')
        self._epoch += 1
        self._position.begin_epoch()

    def _begin_epoch(self) -> tuple[int, Iterator[Any]]:
        """The number of the first batch of the epoch, and the batches from there on."""
        position, start = self._position, self._start_after()
        number_samples_of(self._runner, self.dataloader)
        begin_pass(self.dataloader, self._epoch, TRAIN)
        first, batches = begin_data(self.dataloader, start, self._take_resumed_rng())
        self._pass = BegunPass(self.dataloader, self._epoch, start.start, first)
        self._data_start = None
        position.begin_epoch(first)
        is_new, self._has_new_data = self._has_new_data, False
        counted = position.max_iters
        if is_new:
            self._compare_lengths()
        elif not isinstance(start.start, int):
            self._count_iterations()
        if is_new or position.max_iters != counted:
            runner = self._runner
            runner.optim_wrapper.initialize_count_status(
                runner.model, position.iter, position.max_iters
            )
        return first, batches

    def _continued_batches(self) -> Iterator[Any]:
        """The batches after the finished ones, loaded anew."""
        start = self._start_after()
        begin_pass(self.dataloader, self._epoch, TRAIN)
        first, batches = begin_data(self.dataloader, start, None)
        self._pass = BegunPass(self.dataloader, self._epoch, start.start, first)
        return batches

    def _compare_lengths(self) -> None:
        """Count as the shortest rank, if epochs end with it. All ranks call it, unlike a reader."""
        if self.uneven == 'shortest':
            self._shortest = epoch_length(self.dataloader, self.uneven)
        self._count_iterations()

    def _count_iterations(self) -> None:
        """The iterations to train, from the present position on."""
        position, length = self._position, num_batches(self.dataloader)
        if length is None:
            position.max_iters = UNKNOWN
            return
        if self._shortest is not None:
            length = self._shortest
        epochs_to_come = max(position.max_epochs - position.epoch, 0)
        done = min(position.batch_in_epoch, length) if epochs_to_come else 0
        position.max_iters = position.iter + epochs_to_come * length - done

    def data_position(self, is_pass_over: bool, ahead: int = 0) -> dict[str, Any]:
        """See the base."""
        start = DataStart(self._epoch + 1, 0) if is_pass_over else self._start_after(ahead)
        return pack_position(self.dataloader, start)

    def _go_on_at(self, saved: Mapping[str, Any] | None) -> None:
        super()._go_on_at(saved)
        position, start = self._position, self._start_after()
        if saved is not None and start.number != position.epoch:
            # A run that counted iterations finished passes, but no epoch.
            position.epoch = start.number
        position.begin_epoch(batch_number(self.dataloader, start.start))
        self._count_iterations()

    def _counted_start(self, ahead: int) -> DataStart | None:
        position = self._position
        if position.epoch_began[0] != position.epoch or position.iter < position.epoch_began[1]:
            return None
        batches = position.batch_in_epoch + ahead
        if self._pass is not None and self._pass.is_of(self.dataloader, position.epoch):
            return self._pass.after(batches)
        return DataStart(position.epoch, batches)

    def _assumed_start(self) -> DataStart:
        return assumed_position(self.dataloader, self._epoch, self._iter, by_epoch=True)

    def run_iter(self, idx: int, data_batch: Any) -> None:
        """One batch: the hooks before, the training step, the hooks after."""
        runner = self._runner
        runner.call_hook('before_train_iter', batch_idx=idx, data_batch=data_batch)
        model: Any = runner.model
        if type(data_batch) is BatchParts:  # fewer ranks than before share the batch
            outputs = step_in_parts(model, data_batch, runner.optim_wrapper)
        else:
            outputs = model.train_step(data_batch, optim_wrapper=runner.optim_wrapper)
        runner.call_hook('after_train_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs)
        self._position.iter += 1


@LOOPS.register_module()
class IterBasedTrainLoop(_TrainLoop):
    """Train for a number of iterations, passing over the data as often as needed::

        before_train   before_train_epoch
        for iteration:   before_train_iter   model.train_step(batch)   after_train_iter
            validate, when due
        after_train_epoch   after_train

    The run counts as one long epoch.

    Args:
        runner: The run this loop belongs to.
        dataloader: A dataloader or its config.
        max_iters: How many iterations to train.
        val_begin: The first iteration to validate after, from 1.
        val_interval: Validate after every so many iterations, and after the last.
        dynamic_intervals: Pairs (iteration, interval): validate at that interval from that
            iteration on.
        val_unit: 'step' or 'sample': the three arguments before count optimizer steps or samples
            instead of iterations.

    Raises:
        ArgumentError: If a number is not a positive integer, or the data gives no batch.
    """

    def __init__(
        self,
        runner: Runner,
        dataloader: DataLoader[Any] | dict[str, Any],
        max_iters: int,
        val_begin: int = 1,
        val_interval: int = 1000,
        dynamic_intervals: list[tuple[int, int]] | None = None,
        *,
        val_unit: str | None = None,
    ) -> None:
        super().__init__(runner, dataloader, val_begin, val_interval, dynamic_intervals, val_unit)
        self._max_iters = as_positive('max_iters', max_iters)
        self._max_epochs = 1
        self._adopt_data()

    def _adopt_data(self) -> None:
        check_has_batches(self.dataloader)
        self.dataloader_iterator = _InfiniteDataloaderIterator(self.dataloader)

    def validates_at(self, epoch: int, iteration: int, by_epoch: bool) -> bool:
        """Whether a validation comes next; at the end of the one epoch it has been made."""
        if by_epoch or self.val_unit is None:
            return not by_epoch and self._is_due(iteration, self._max_iters)
        is_last = iteration == self._max_iters
        return self._is_due_in_unit(self._done_in_unit(iteration), is_last)

    def run(self) -> nn.Module:
        """Train to the end; returns the model."""
        runner = self._runner
        is_ended = stays_ended(self, 'iter')
        self._epoch = 0  # the one epoch goes on
        runner.call_hook('before_train')
        if is_ended:
            self._epoch = 1  # as where it ended
            runner.call_hook('after_train')
            return runner.model
        runner.call_hook('before_train_epoch')
        stops = watched_by(self)
        self._validate_owed()
        runner.model.train()
        self._begin_data()
        batches = with_new_workers(self, self.dataloader_iterator)
        while self._iter < self._max_iters:
            if (self.stop_training or monotonic() >= stops.look_at) and is_over_after_iter(
                self, stops
            ):
                break
            if self._has_new_data:
                self._begin_data()
                batches = with_new_workers(self, self.dataloader_iterator)
            self.run_iter(next(batches))
            self._validate_if_due(self._iter, self._max_iters)
        report(runner)
        if not stops.interrupts:
            self._flush_open_windows()
            runner.call_hook('after_train_epoch')
            self._epoch += 1
        runner.call_hook('after_train')
        return runner.model

    def _begin_data(self) -> None:
        """Let the next batch be the one after the finished iterations."""
        start, rng_state = self._start_after(), self._take_resumed_rng()
        number_samples_of(self._runner, self.dataloader)
        self.dataloader_iterator.start_at(start, self._iter, rng_state)
        self._data_start, self._has_new_data = None, False

    def _continued_batches(self) -> Iterator[Any]:
        """The batches after the finished ones, loaded anew."""
        self.dataloader_iterator.start_at(self._start_after(), self._iter)
        return self.dataloader_iterator

    def _counted_start(self, ahead: int) -> DataStart | None:
        return self.dataloader_iterator.start_after(self._iter + ahead)

    def _assumed_start(self) -> DataStart:
        return assumed_position(self.dataloader, self._epoch, self._iter, by_epoch=False)

    def run_iter(self, data_batch: Any) -> None:
        """One batch: the hooks before, the training step, the hooks after."""
        runner, position = self._runner, self._position
        idx = position.iter
        runner.call_hook('before_train_iter', batch_idx=idx, data_batch=data_batch)
        model: Any = runner.model
        if type(data_batch) is BatchParts:  # fewer ranks than before share the batch
            outputs = step_in_parts(model, data_batch, runner.optim_wrapper)
        else:
            outputs = model.train_step(data_batch, optim_wrapper=runner.optim_wrapper)
        runner.call_hook('after_train_iter', batch_idx=idx, data_batch=data_batch, outputs=outputs)
        position.iter += 1
