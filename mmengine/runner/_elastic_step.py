"""The samples of an iteration or a step, kept where a run goes on with another number of ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from mmengine.dist._data_parallel import get_data_parallel_info
from mmengine.optim.optimizer.optimizer_wrapper_dict import wrappers_of
from mmengine.runner._elastic_iteration import keep_iteration

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner


def keep_samples(runner: Runner, num_ranks: int) -> None:
    """Keep the samples of an iteration or of an optimizer step that there were on ``num_ranks``.

    Where the ranks cannot share the samples of an iteration, a run that counts epochs keeps the
    samples of a step, by another accumulation, if the ranks can share the batches of a step.
    Otherwise batches and accumulation stay as the config says. The log says which it is.
    """
    is_kept, how = keep_iteration(runner, num_ranks)
    if not is_kept and runner._counts_epochs:
        is_kept, how = _keep_step(runner, num_ranks, how)
    if not is_kept:
        how += '. Batches and accumulation are as the config says'
    now = get_data_parallel_info()[1]
    runner.logger.warning(f'The run began on {num_ranks} ranks and goes on with {now}: {how}.')


def _keep_step(runner: Runner, num_ranks: int, reason: str) -> tuple[bool, str]:
    """Accumulate as many batches as a step had on ``num_ranks`` ranks, if that is possible.

    Args:
        runner: The run.
        num_ranks: Ranks for which the config says the accumulation.
        reason: Why the samples of an iteration cannot be kept.

    Returns:
        Whether that is possible, and how or why not.
    """
    now, parts = get_data_parallel_info()[1], _parts_of(runner.optim_wrapper)
    counts = [_count_of(part) for part in parts]
    if any(_kind_of(part) == 'ClosureOptimWrapper' for part in parts):
        return False, reason
    if any(count * num_ranks % now for count in counts):
        return False, f'{reason}, nor can the {counts[0] * num_ranks} batches of a step'
    changed = [count * num_ranks // now for count in counts]
    runner.optim_wrapper = _with_counts(runner.optim_wrapper, changed)
    _keep_scaled_lr(runner, num_ranks / now)
    return True, (
        f'{reason}. A step accumulates {changed[0]} batches of a rank instead of {counts[0]}, so '
        'it has as many samples'
    )


def align_windows(runner: Runner) -> None:
    """Let the windows of a resumed run begin where they do in a run of the present ranks."""
    resumed = runner.state.resumed_position
    if resumed is None or resumed.iteration is None or not resumed.is_moved:
        return
    for wrapper in wrappers_of(runner.optim_wrapper):
        window = getattr(wrapper, '_window', None)
        # An open window has gradients of this size, and continues.
        if window is not None and window.size > 1 and not window.is_open:
            window.move(resumed.iteration)


def _keep_scaled_lr(runner: Runner, factor: float) -> None:
    """The rule takes the batches of all ranks for a step; a step now has ``factor`` as many."""
    scaling = runner.auto_scale_lr
    if scaling and scaling.get('enable') and scaling.get('base_batch_size'):
        base = scaling['base_batch_size'] / factor
        runner.auto_scale_lr = {**scaling, 'base_batch_size': base}


def _parts_of(optim_wrapper: Any) -> list[Any]:
    """The wrappers, or the configs from which they are to be built."""
    if not isinstance(optim_wrapper, Mapping):
        return wrappers_of(optim_wrapper)
    if 'optimizer' in optim_wrapper:
        return [optim_wrapper]
    return [part for part in optim_wrapper.values() if _accumulates(part)]


def _accumulates(part: Any) -> bool:
    return hasattr(part, '_accumulative_counts') or isinstance(part, Mapping)


def _count_of(part: Any) -> int:
    if isinstance(part, Mapping):
        return int(part.get('accumulative_counts', 1))
    return int(getattr(part, '_accumulative_counts', 1))


def _kind_of(part: Any) -> str:
    kind = part.get('type', '') if isinstance(part, Mapping) else type(part)
    name = kind if isinstance(kind, str) else getattr(kind, '__name__', '')
    return name.rpartition('.')[2]


def _with_counts(optim_wrapper: Any, counts: list[int]) -> Any:
    """Wrappers are changed in place; of configs, which belong to the user, a copy is."""
    if isinstance(optim_wrapper, Mapping):
        if 'optimizer' in optim_wrapper:
            return {**optim_wrapper, 'accumulative_counts': counts[0]}
        rest = iter(counts)
        return {
            name: _with_counts(part, [next(rest)]) if _accumulates(part) else part
            for name, part in optim_wrapper.items()
        }
    for wrapper, count in zip(wrappers_of(optim_wrapper), counts, strict=True):
        wrapper._accumulative_counts = count
    return optim_wrapper
