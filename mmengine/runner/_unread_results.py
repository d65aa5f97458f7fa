"""Parts that act on the results of validations, in a training that never validates."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from mmengine.hooks import CheckpointHook
from mmengine.runner._units import counts_epochs, needs_metrics
from mmengine.runner.loops import EpochBasedTrainLoop, IterBasedTrainLoop
from mmengine.strategy._schedule_steps import flattened

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner

NO_VALIDATION = 'there is no validation (val_dataloader, val_cfg and val_evaluator)'


def reads_results(part: Any, value_of: Callable[[str], Any]) -> str | None:
    """How a part depends on the results of validations; None if it acts without them.

    Args:
        part: An object, or the class of one.
        value_of: Its argument or attribute of a name; None if it has none.
    """
    kind = part if isinstance(part, type) else type(getattr(part, 'scheduler', part))
    if issubclass(kind, CheckpointHook):
        watched = value_of('save_best')
        return None if watched is None else f'save_best={watched!r} of {kind.__name__}'
    return kind.__name__ if needs_metrics(part) else None


def why_never(by_epoch: bool | None, value_of: Callable[[str], Any]) -> str | None:
    """Why a stock train loop never validates, although there is a validation; None if it does.

    Args:
        by_epoch: Whether the loop counts epochs.
        value_of: Its argument or attribute of a name; None if it has none.
    """
    begin, last = value_of('val_begin'), value_of('max_epochs' if by_epoch else 'max_iters')
    if value_of('val_unit') is not None or not all(isinstance(n, int) for n in (begin, last)):
        return None
    unit = 'epoch' if by_epoch else 'iteration'
    if begin <= last or last < 1:
        return None
    return f'the first validation is after {unit} {begin} (val_begin), and the last is {last}'


def unread(how: str, why: str) -> str:
    """The message for a part that :func:`reads_results`."""
    return f'{how} acts on the results of validations, but {why}. Validate, or leave it out.'


def _attribute(part: Any, name: str) -> Any:
    return getattr(part, name, None)


def report_unread(runner: Runner) -> None:
    """Warn of each part that will never act, before the first step.

    It is a warning, not an error: projects inherit such parts from their base configs.
    """
    loop = runner.train_loop
    by_epoch = counts_epochs(loop)
    stock = (EpochBasedTrainLoop.run, IterBasedTrainLoop.run)
    if type(loop).run not in stock:
        return  # it may validate in its own way
    why = (
        NO_VALIDATION if runner.val_loop is None else why_never(by_epoch, partial(_attribute, loop))
    )
    if why is None:
        return
    for part in (*runner.hooks, *flattened(runner.param_schedulers or [])):
        how = reads_results(part, partial(_attribute, part))
        if how is not None:
            runner.logger.warning(unread(how, why))
