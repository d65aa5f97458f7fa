"""Where a checkpoint lies in the batches of a run whose epochs have another length."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmengine.dataset._dataloader import num_batches
from mmengine.runner._batch_position import batch_number
from mmengine.runner._data_position import unpack_position
from mmengine.runner.loops import IterBasedTrainLoop

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner


def iteration_of_this_run(runner: Runner, checkpoint: Mapping[str, Any]) -> tuple[int, bool] | None:
    """The position of ``checkpoint`` as if all epochs had had the present number of batches.

    Schedules in iterations continue there, so that they have the values of an unbroken run with the
    present config.

    Returns:
        The finished iterations, and whether an epoch of the saved run had another number of
        batches. None if this is unknown, or if the training counts iterations.
    """
    meta, loop = checkpoint.get('meta') or {}, runner.train_loop
    length = num_batches(getattr(loop, 'dataloader', None))
    epoch, iteration = meta.get('epoch') or 0, meta.get('iter') or 0
    if isinstance(loop, IterBasedTrainLoop) or not length:
        return None
    data, report = meta.get('data'), runner.state.resume_report
    if data:
        then = data.get('num_batches')
        if then is None:
            return None
        start = unpack_position(data, loop.dataloader)
        return start.number * length + batch_number(loop.dataloader, start.start), then != length
    keys = (report.config_keys if report is not None else None) or ()
    if not epoch or not any(key.startswith('train_dataloader') for key in keys):
        return None
    # A file without the position in the data. Its epochs had one length.
    done = meta.get('batch_in_epoch', iteration % epoch)
    then = (iteration - done) // epoch
    if then in (0, length):
        return None
    return epoch * length + min(done * length // then, length), True
