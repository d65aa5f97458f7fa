"""Where a checkpoint lies in the batches of a run whose epochs have another length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmengine.dataset._dataloader import num_batches
from mmengine.runner.loops import IterBasedTrainLoop

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner


def iteration_of_this_run(runner: Runner, checkpoint: Mapping[str, Any]) -> int | None:
    """The finished iterations, if all epochs had had the present number of batches.

    Schedules in iterations continue there, so that they have the values of an unbroken run with the
    present config. None if the number of batches of an epoch is the same as in the saved run, or
    unknown, or if the training counts iterations.
    """
    meta, loop = checkpoint.get('meta') or {}, runner.train_loop
    length = num_batches(getattr(loop, 'dataloader', None))
    epoch, iteration = meta.get('epoch') or 0, meta.get('iter') or 0
    if isinstance(loop, IterBasedTrainLoop) or not length:
        return None
    done = meta.get('batch_in_epoch', 0)
    then = (iteration - done) / epoch if epoch else None
    if then is None or then == length or then <= 0:
        return None
    return int(epoch * length + min(done * length // then, length))
