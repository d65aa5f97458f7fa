"""Steps of schedulers: what they have counted, and how they come to a given position."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Schedulers = list[Any] | dict[str, list[Any]]


def flattened(schedulers: Any) -> list[Any]:
    """All schedulers of one scheduler, a list, or lists by optimizer name."""
    lists = schedulers.values() if isinstance(schedulers, dict) else [schedulers]
    return [
        scheduler
        for entry in lists
        for scheduler in (entry if isinstance(entry, (list, tuple)) else [entry])
    ]


def states_of(schedulers: Schedulers) -> Any:
    """The states of the schedulers: a list, or lists by optimizer name."""
    if isinstance(schedulers, dict):
        return {name: states_of(of_optimizer) for name, of_optimizer in schedulers.items()}
    return [scheduler.state_dict() for scheduler in schedulers]


def counted_units(scheduler: Any) -> int | None:
    """Steps or samples that the run has counted; None if ``scheduler`` counts neither."""
    units_done = getattr(scheduler, '_units_done', None)
    return None if units_done is None else int(units_done())


def advance_schedulers(
    schedulers: Schedulers,
    epoch: int,
    iteration: int,
    epoch_length: int | None = None,
    units: Callable[[Any], int | None] = counted_units,
    watch: Callable[[int], None] | None = None,
) -> None:
    """Step freshly built schedulers through ``epoch`` epochs and ``iteration`` iterations.

    Schedulers by epoch and schedulers by iteration step in the order of a run. Schedulers in
    optimizer steps or samples step to the count of the run, spread evenly over the iterations.
    Schedulers that need metrics do not step, because the metrics were not saved.

    Args:
        schedulers: A list, or lists by optimizer name. The param groups of the optimizers change.
        epoch: Finished epochs.
        iteration: Finished iterations.
        epoch_length: Iterations of an epoch. If None, the epochs are spread evenly.
        units: Gives the count of a scheduler in steps or samples.
        watch: Called after each iteration, with the number of finished ones.
    """
    if epoch_length is not None and epoch * epoch_length > iteration:
        epoch_length = None  # the epochs of the saved run were shorter
    movable = [each for each in flattened(schedulers) if not getattr(each, 'need_val_args', False)]
    totals = [units(scheduler) for scheduler in movable]
    pairs = list(zip(movable, totals, strict=True))
    counted = [(scheduler, total) for scheduler, total in pairs if total is not None]
    others = [scheduler for scheduler, total in pairs if total is None]
    by_epoch = [scheduler for scheduler in others if scheduler.by_epoch]
    by_iter = [scheduler for scheduler in others if not scheduler.by_epoch]
    epochs_done = 0
    for done in range(1, iteration + 1):
        for scheduler in by_iter:
            scheduler.step()
        for scheduler, total in counted:
            for _ in range(done * total // iteration - (done - 1) * total // iteration):
                scheduler.step()
        while epochs_done < epoch and (
            (epochs_done + 1) * iteration <= done * epoch
            if epoch_length is None
            else (epochs_done + 1) * epoch_length <= done
        ):
            epochs_done += 1
            for scheduler in by_epoch:
                scheduler.step()
        if watch is not None:
            watch(done)
    for _ in range(epochs_done, epoch):
        for scheduler in by_epoch:
            scheduler.step()
