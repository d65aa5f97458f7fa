"""Schedulers of a run whose checkpoint says nothing of schedulers: bring them to its iteration."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any

from torch import Tensor

_Schedulers = list[Any] | dict[str, list[Any]]


def advance_schedulers(schedulers: _Schedulers, epoch: int, iteration: int) -> None:
    """Step freshly built schedulers as a run of ``epoch`` epochs and ``iteration`` iterations did.

    An epoch is taken to be of equal length, so that schedulers of both units step in the order of
    the run. Those that wait for metrics stay where they are: the metrics are gone.

    Args:
        schedulers: A list, or lists by optimizer name. Their optimizers' groups change.
        epoch: Finished epochs.
        iteration: Finished iterations.
    """
    movable = [each for each in _flat(schedulers) if not getattr(each, 'need_val_args', False)]
    by_epoch = [scheduler for scheduler in movable if scheduler.by_epoch]
    by_iter = [scheduler for scheduler in movable if not scheduler.by_epoch]
    epochs_done = 0
    for done in range(1, iteration + 1):
        for scheduler in by_iter:
            scheduler.step()
        while epochs_done < epoch and (epochs_done + 1) * iteration <= done * epoch:
            epochs_done += 1
            for scheduler in by_epoch:
                scheduler.step()
    for _ in range(epochs_done, epoch):
        for scheduler in by_epoch:
            scheduler.step()


def keep_scheduled_values(
    schedulers: _Schedulers, load_optimizer: Callable[[], None], warn: Callable[[str], None]
) -> None:
    """Load the optimizer's state, all of it but the values that ``schedulers`` have set.

    The state may have been saved before or after its schedules moved on: MMCV 1.x sets the rate
    when an iteration begins, so its state holds the rate of the iteration that is over.

    Args:
        schedulers: At the iteration from which the run goes on.
        load_optimizer: Loads the state.
        warn: Gets a sentence if the state began from other values than this run's.
    """
    kept = [
        (scheduler.optimizer, _keys_of(scheduler), _values(scheduler))
        for scheduler in _flat(schedulers)
    ]
    load_optimizer()
    for optimizer, keys, values in kept:
        for group, present in zip(optimizer.param_groups, values, strict=True):
            initial = keys[1]
            if group.get(initial, present[initial]) != present[initial]:
                warn(
                    f'The checkpoint has {initial}={group[initial]!r}, this run '
                    f'{present[initial]!r}: the schedule goes on from the latter.'
                )
            for key, value in present.items():
                held = group.get(key)
                if isinstance(held, Tensor) and held.shape == ():
                    held.fill_(value)
                else:
                    group[key] = value


def position_of(checkpoint: Mapping[str, Any]) -> tuple[int, int]:
    """Finished epochs and iterations, 0 where ``meta`` does not tell."""
    meta = checkpoint.get('meta') or {}
    counts = [0, 0]
    for index, name in enumerate(('epoch', 'iter')):
        with suppress(TypeError, ValueError):
            counts[index] = max(int(meta.get(name, 0)), 0)
    return counts[0], counts[1]


def _keys_of(scheduler: Any) -> tuple[str, ...]:
    name = scheduler.param_name
    return (name, f'initial_{name}', *(['betas'] if getattr(scheduler, 'use_betas', False) else []))


def _values(scheduler: Any) -> list[dict[str, Any]]:
    return [
        {
            key: group[key].item() if isinstance(group[key], Tensor) else group[key]
            for key in _keys_of(scheduler)
        }
        for group in scheduler.optimizer.param_groups
    ]


def _flat(schedulers: _Schedulers) -> Iterable[Any]:
    lists = schedulers.values() if isinstance(schedulers, dict) else [schedulers]
    return [scheduler for entry in lists for scheduler in entry]
