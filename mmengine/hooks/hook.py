"""Hook: the base class of hooks, with the points of a run at which a hook may act."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mmengine.dataset._dataloader import num_batches

if TYPE_CHECKING:
    from mmengine.hooks.run import Run

DataBatch = Mapping[str, Any] | Sequence[Any] | None

# Points that call a method which all modes share, and that method.
_SHARED = {
    f'{moment}_{mode}_{unit}': f'_{moment}_{unit}'
    for moment in ('before', 'after')
    for mode in ('train', 'val', 'test')
    for unit in ('epoch', 'iter')
}


class Hook:
    """Base class of all hooks: override the methods of the points at which the hook acts.

    A runner calls only overridden methods. Hooks with a smaller priority number come first.
    :attr:`stages` lists the points in the order of a run. To do the same in training, validation
    and test, override ``_before_epoch``, ``_after_epoch``, ``_before_iter`` or ``_after_iter``,
    which receive the ``mode``.

    A hook that keeps state between iterations defines ``state_dict()`` and
    ``load_state_dict(state)``; its state is saved in checkpoints.
    """

    priority = 'NORMAL'
    stages = (
        'before_run', 'after_load_checkpoint',
        'before_train', 'before_train_epoch', 'before_train_iter', 'after_train_iter',
        'after_train_epoch',
        'before_val', 'before_val_epoch', 'before_val_iter', 'after_val_iter', 'after_val_epoch',
        'after_val',
        'before_save_checkpoint', 'after_train',
        'before_test', 'before_test_epoch', 'before_test_iter', 'after_test_iter',
        'after_test_epoch', 'after_test',
        'after_run',
    )  # fmt: skip

    def before_run(self, runner: Run) -> None:
        """After everything is built, before a checkpoint is loaded.

        An evaluation that a hook starts within a run calls neither this nor ``after_run``.
        """

    def after_run(self, runner: Run) -> None:
        """At the end of train, val or test; after ``on_exception`` if they failed."""

    def on_exception(self, runner: Run, error: BaseException) -> None:
        """When train, val or test fails or is interrupted, before ``after_run``.

        An evaluation that fails within a training calls ``on_evaluation_cut(runner)``, since the
        training goes on if the error is caught.

        Restore temporary changes here, and close trackers as failed. ``error`` is raised to the
        caller afterwards.
        """

    def before_train(self, runner: Run) -> None:
        """Before the first epoch."""

    def after_train(self, runner: Run) -> None:
        """After the last epoch and its validation."""

    def before_val(self, runner: Run) -> None:
        """Before a validation."""

    def after_val(self, runner: Run) -> None:
        """After a validation."""

    def before_test(self, runner: Run) -> None:
        """Before the test."""

    def after_test(self, runner: Run) -> None:
        """After the test."""

    def before_save_checkpoint(self, runner: Run, checkpoint: dict[str, Any]) -> None:
        """Before ``checkpoint`` is written; the hook may change it in place."""

    def after_load_checkpoint(self, runner: Run, checkpoint: dict[str, Any]) -> None:
        """After ``checkpoint`` is read and before it is used; the hook may change it in place."""

    def before_train_epoch(self, runner: Run) -> None:
        """Before each training epoch."""
        self._before_epoch(runner, mode='train')

    def before_val_epoch(self, runner: Run) -> None:
        """Before each validation's pass over the data."""
        self._before_epoch(runner, mode='val')

    def before_test_epoch(self, runner: Run) -> None:
        """Before the test's pass over the data."""
        self._before_epoch(runner, mode='test')

    def after_train_epoch(self, runner: Run) -> None:
        """After each training epoch, before it is counted as finished."""
        self._after_epoch(runner, mode='train')

    def after_val_epoch(self, runner: Run, metrics: dict[str, float] | None = None) -> None:
        """After each validation's pass over the data, with its metrics."""
        self._after_epoch(runner, mode='val')

    def after_test_epoch(self, runner: Run, metrics: dict[str, float] | None = None) -> None:
        """After the test's pass over the data, with its metrics."""
        self._after_epoch(runner, mode='test')

    def before_train_iter(self, runner: Run, batch_idx: int, data_batch: DataBatch = None) -> None:
        """Before each training step."""
        self._before_iter(runner, batch_idx=batch_idx, data_batch=data_batch, mode='train')

    def before_val_iter(self, runner: Run, batch_idx: int, data_batch: DataBatch = None) -> None:
        """Before each batch of a validation."""
        self._before_iter(runner, batch_idx=batch_idx, data_batch=data_batch, mode='val')

    def before_test_iter(self, runner: Run, batch_idx: int, data_batch: DataBatch = None) -> None:
        """Before each batch of the test."""
        self._before_iter(runner, batch_idx=batch_idx, data_batch=data_batch, mode='test')

    def after_train_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """After each training step, with its log values, before it is counted as finished."""
        self._after_iter(
            runner, batch_idx=batch_idx, data_batch=data_batch, outputs=outputs, mode='train'
        )

    def after_val_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """After each batch of a validation, with the predictions."""
        self._after_iter(
            runner, batch_idx=batch_idx, data_batch=data_batch, outputs=outputs, mode='val'
        )

    def after_test_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: Sequence[Any] | None = None,
    ) -> None:
        """After each batch of the test, with the predictions."""
        self._after_iter(
            runner, batch_idx=batch_idx, data_batch=data_batch, outputs=outputs, mode='test'
        )

    def _before_epoch(self, runner: Run, mode: str = 'train') -> None:
        """Before a pass over the data in any mode."""

    def _after_epoch(self, runner: Run, mode: str = 'train') -> None:
        """After a pass over the data in any mode."""

    def _before_iter(
        self, runner: Run, batch_idx: int, data_batch: DataBatch = None, mode: str = 'train'
    ) -> None:
        """Before a batch in any mode."""

    def _after_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: Sequence[Any] | dict[str, Any] | None = None,
        mode: str = 'train',
    ) -> None:
        """After a batch in any mode."""

    def every_n_epochs(self, runner: Run, n: int, start: int = 0) -> bool:
        """Whether the epoch that ends now is ``start``, or a multiple of ``n`` epochs later."""
        return _is_turn(runner.epoch + 1, n, start)

    def every_n_inner_iters(self, batch_idx: int, n: int) -> bool:
        """Whether the number of finished batches in the epoch is a multiple of ``n``."""
        return n > 0 and (batch_idx + 1) % n == 0

    def every_n_train_iters(self, runner: Run, n: int, start: int = 0) -> bool:
        """Whether the iteration that ends now is ``start``, or a multiple of ``n`` later."""
        return _is_turn(runner.iter + 1, n, start)

    def end_of_epoch(self, dataloader: Any, batch_idx: int) -> bool:
        """Whether ``batch_idx`` is the index of the last batch of ``dataloader``."""
        return batch_idx + 1 == num_batches(dataloader)

    def is_last_train_epoch(self, runner: Run) -> bool:
        """Whether the training epoch that ends now is the last."""
        return bool(runner.epoch + 1 == runner.max_epochs)

    def is_last_train_iter(self, runner: Run) -> bool:
        """Whether the training iteration that ends now is the last."""
        return bool(runner.iter + 1 == runner.max_iters)

    def get_triggered_stages(self) -> list[str]:
        """The points of :attr:`stages` at which this hook acts, in the same order."""
        return [stage for stage in self.stages if self._acts_at(stage)]

    def _acts_at(self, stage: str) -> bool:
        """Whether this hook acts at a point of :attr:`stages`."""
        return self._overrides(stage) or (stage in _SHARED and self._overrides(_SHARED[stage]))

    def _overrides(self, name: str) -> bool:
        """Whether the class or this object overrides the method ``name``."""
        method = getattr(self, name)
        return getattr(method, '__func__', method) is not getattr(Hook, name)

    def _inherits(self, base: type[Hook], name: str) -> bool:
        """Whether the method ``name`` comes from ``base``, so that no subclass overrides it."""
        method = getattr(self, name)
        return getattr(method, '__func__', method) is getattr(base, name)


def _is_turn(count: int, n: int, start: int) -> bool:
    return n > 0 and count >= start and (count - start) % n == 0
