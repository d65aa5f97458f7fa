"""Where a checkpoint lies in a run whose batches or accumulation windows have other sizes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmengine.dataset._dataloader import num_batches
from mmengine.runner._batch_position import batch_number
from mmengine.runner._data_position import sizes_of, unpack_position
from mmengine.runner._sample_count import samples_of_training
from mmengine.runner.loops import IterBasedTrainLoop
from mmengine.strategy._state import ResumedPosition

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner


def position_in_this_run(runner: Runner, checkpoint: Mapping[str, Any]) -> ResumedPosition:
    """The position of ``checkpoint`` as if all its batches had had the present sizes.

    Schedules in iterations, and schedules in steps or samples that span the run, continue there, so
    that they have the values of an unbroken run with the present config.
    """
    meta, dataloader = checkpoint.get('meta') or {}, getattr(runner.train_loop, 'dataloader', None)
    if isinstance(runner.train_loop, IterBasedTrainLoop):
        iteration, is_moved = meta.get('iter') or 0, False
    else:
        iteration, is_moved = _iteration_of_this_run(runner, checkpoint)
    samples = None if iteration is None else samples_of_training(dataloader, iteration)
    return ResumedPosition(iteration, is_moved, _is_resized(runner, meta), samples)


def _is_resized(runner: Runner, meta: Mapping[str, Any]) -> bool:
    data = meta.get('data') or {}
    now = sizes_of(getattr(runner.train_loop, 'dataloader', None))
    names = ('batch_size', 'world_size')
    if data and None not in (data.get(name) for name in names):
        then = data['batch_size'] * data['world_size'], data.get('num_batches')
        if then != ((now['batch_size'] or 0) * now['world_size'], now['num_batches']):
            return True
    windows = (meta.get('counts') or {}).get('windows')
    return windows is not None and windows != runner.state.windows()


def _iteration_of_this_run(
    runner: Runner, checkpoint: Mapping[str, Any]
) -> tuple[int | None, bool]:
    """Finished iterations of an epoch-based run, if all epochs had the present number of batches.

    Returns:
        The iterations, or None if they are unknown, and whether an epoch of the saved run had
        another number of batches.
    """
    meta, loop = checkpoint.get('meta') or {}, runner.train_loop
    length = num_batches(getattr(loop, 'dataloader', None))
    epoch, iteration = meta.get('epoch') or 0, meta.get('iter') or 0
    if not length:
        return None, False
    data, report = meta.get('data'), runner.state.resume_report
    if data:
        then = data.get('num_batches')
        if then is None:
            return None, False
        start = unpack_position(data, loop.dataloader)
        return start.number * length + batch_number(loop.dataloader, start.start), then != length
    keys = (report.config_keys if report is not None else None) or ()
    if not epoch or not any(key.startswith('train_dataloader') for key in keys):
        return None, False
    # A file without the position in the data. Its epochs had one length.
    done = meta.get('batch_in_epoch', iteration % epoch)
    then = (iteration - done) // epoch
    if then in (0, length):
        return None, False
    return epoch * length + min(done * length // then, length), True
