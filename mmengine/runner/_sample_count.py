"""Samples that a training has seen, for parts that count samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch.utils.data import BatchSampler

from mmengine.dataset._batch_parts import BatchParts
from mmengine.dataset._limited import FirstBatches
from mmengine.dist import all_gather_object, get_world_size
from mmengine.dist._data_parallel import get_data_parallel_info, of_data_ranks
from mmengine.runner._batch_position import is_endless
from mmengine.strategy._schedule_steps import flattened

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner


def count_samples(runner: Runner) -> None:
    """Count the samples of all ranks from now on, if a part of the training has that unit.

    All ranks call it.
    """
    schedulers = flattened(runner.param_schedulers)
    loop = runner.train_loop
    units = {getattr(part, 'unit', None) for part in (*runner.hooks, *schedulers)}
    if 'sample' in units or getattr(loop, 'val_unit', None) == 'sample':
        runner._hooks.begin_with('after_train_iter', _SampleCount())


class _SampleCount:
    """Adds the samples of each batch to the count of the run, before hooks act.

    All ranks must come to the same count, because they save and validate together. Ranks that are
    known to have equal batches multiply. Other ranks add up their batches, which makes each
    iteration wait for all of them.
    """

    def __init__(self) -> None:
        self._dataloader: Any = None
        self._is_equal = False

    def __call__(
        self, runner: Runner, batch_idx: int = 0, data_batch: Any = None, outputs: Any = None
    ) -> None:
        count = num_samples_of(data_batch)
        if get_world_size() > 1:
            if self._dataloader is not runner.train_loop.dataloader:
                self._dataloader = runner.train_loop.dataloader
                self._is_equal = have_equal_batches(self._dataloader)
            if self._is_equal:
                count *= get_data_parallel_info()[1]
            else:
                count = sum(of_data_ranks(all_gather_object(count)))
        runner.state.num_samples += count


def have_equal_batches(dataloader: Any) -> bool:
    """Whether ranks are known to have equally many batches of equal sizes. All ranks call it."""
    sizes = all_gather_object(_regular_sizes(dataloader))
    return None not in sizes and len(set(sizes)) == 1


def samples_of_training(dataloader: Any, max_iters: int | None) -> int | None:
    """Samples of all ranks in ``max_iters`` iterations; None if unknown."""
    sizes = _regular_sizes(dataloader)
    if sizes is None or max_iters is None:
        return None
    size, of_pass, length = sizes
    passes, rest = (0, max_iters) if length is None else divmod(max_iters, length)
    own = passes * min(of_pass, (length or 0) * size)
    own += rest * size if length is None else min(rest * size, of_pass)
    return own * get_data_parallel_info()[1]


def num_samples_of(data_batch: Any) -> int:
    """The number of samples in a batch, before or after they are collated.

    A list of dicts has one for each sample. In all other batches the first list or tensor, of the
    values of a dict or of the items of a list, has as many items as there are samples.
    """
    if isinstance(data_batch, BatchParts):
        return data_batch.num_samples
    if isinstance(data_batch, (list, tuple)):
        if data_batch and isinstance(data_batch[0], Mapping):
            return len(data_batch)
        lengths = map(_length, data_batch)
        return next((length for length in lengths if length is not None), max(len(data_batch), 1))
    length = _length(data_batch)
    return 1 if length is None else length


def _length(part: Any) -> int | None:
    if isinstance(part, Mapping):
        return next((n for n in map(_length, part.values()) if n is not None), None)
    is_sized = isinstance(part, (list, tuple)) or bool(getattr(part, 'shape', None))
    return len(part) if is_sized else None


def _regular_sizes(dataloader: Any) -> tuple[int, int, int | None] | None:
    """Batch size, samples and batches of a pass on this rank; None if batches are not regular.

    The number of batches is None for a pass that does not end.
    """
    sampler = getattr(dataloader, 'batch_sampler', None)
    is_cut = type(sampler) is FirstBatches
    if is_cut:
        sampler = vars(sampler)[FirstBatches.PASSES_ON]
    if type(sampler) is not BatchSampler:
        return None
    length = None if is_endless(dataloader) else len(dataloader)
    try:
        samples = len(sampler.sampler)  # type: ignore[arg-type]  # sized
    except TypeError:
        return None
    if is_cut and length is not None:
        samples = min(samples, length * sampler.batch_size)
    return sampler.batch_size, samples, length
