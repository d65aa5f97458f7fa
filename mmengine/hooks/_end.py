"""What the end of a training is: its length, an early stop, or an interruption."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mmengine.dist import is_main_process

if TYPE_CHECKING:
    from mmengine.hooks.run import Run


def end_of(runner: Run) -> dict[str, Any]:
    """Entries of ``meta`` for a checkpoint of a training that has ended early, on purpose.

    Empty if the training is interrupted, or has reached its length.
    """
    loop = runner.train_loop
    if runner.state.stops.interrupts or not getattr(loop, 'stop_training', False):
        return {}
    lengths = {
        name: getattr(loop, name) for name in ('max_epochs', 'max_iters') if hasattr(loop, name)
    }
    return {'ended': {'by': 'stop_training', **lengths}}


def meta_of_end(runner: Run) -> dict[str, Any]:
    """Entries of ``meta`` for a checkpoint that is written after the last iteration."""
    return {
        'epoch': runner.epoch,
        'iter': runner.iter,
        'validation_due': bool(getattr(runner.train_loop, 'owes_validation', False)),
        **end_of(runner),
    }


def record_end(
    runner: Run,
    record: dict[str, Any] | None,
    path: str | None,
    backend_args: dict[str, Any] | None,
) -> bool:
    """Write next to the checkpoint ``path`` that the training has ended there, if it was early.

    Args:
        runner: The run.
        record: What is written next to the checkpoint already, or may be; changed in place.
        path: The checkpoint, which holds the present state.
        backend_args: Arguments of its file backend.

    Returns:
        Whether the checkpoint says how the training ended. Only a checkpoint that this training has
        written can get a record; another one is the start of a training that ended at once.
    """
    ended = end_of(runner)
    if not ended:
        return True
    if record is None or path is None:
        return False
    record['meta'] = {**record['meta'], **ended}
    if is_main_process():
        runner.strategy.io.write_record(record, path, backend_args)
    return True


def stopped_within_epoch(runner: Run) -> bool:
    """Whether the training is interrupted between the batches of an epoch."""
    return bool(runner.state.stops.interrupts and runner.state.position.batch_in_epoch)
