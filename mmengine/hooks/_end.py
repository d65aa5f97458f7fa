"""What the end of a training is: its length, an early stop, or an interruption."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

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


def owes_validation(runner: Run) -> bool:
    """Whether a validation of the present state is due, and did not run to its end."""
    return bool(getattr(runner.train_loop, 'owes_validation', False))


def stopped_within_epoch(runner: Run) -> bool:
    """Whether the training is interrupted between the batches of an epoch."""
    return bool(runner.state.stops.interrupts and runner.state.position.batch_in_epoch)
