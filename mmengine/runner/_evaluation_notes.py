"""Warns of an evaluation whose result does not say what its reader thinks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sized
from typing import TYPE_CHECKING, Any

from mmengine.dataset._dataloader import num_batches
from mmengine.dataset._limited import is_limited
from mmengine.evaluator import DumpResults
from mmengine.logging import print_log
from mmengine.strategy._schedule_steps import flattened

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner


def warn_of_no_samples(loop: Any, stage: str, dataloader: Any) -> None:
    """Warn, when the loop is built, if its data is empty: the metrics will have no results."""
    dataset: Any = getattr(dataloader, 'dataset', None)
    if isinstance(dataset, Sized) and num_batches(dataset) == 0:
        _warn_once(
            loop,
            f'The dataset of {stage}_dataloader, a {type(dataset).__name__}, has no sample, so the '
            'metrics have nothing to compute.',
        )


def warn_of_missing_predictions(loop: Any, stage: str, num_processed: int) -> None:
    """Warn, once for a loop, if the model returned fewer predictions than there are samples.

    Args:
        loop: The evaluation loop.
        stage: 'val' or 'test'.
        num_processed: Predictions on this rank.
    """
    expected = _num_samples(loop.dataloader)
    if expected is not None and 0 < num_processed < expected:
        _warn_once(
            loop,
            f'The model returned {num_processed} predictions for {expected} samples in '
            f"{stage}, so the metrics leave samples out. In mode 'predict' a model returns a list "
            'with one entry for each sample of the batch.',
        )


def _num_samples(loader: Any) -> int | None:
    """Samples that ``loader`` gives on this rank; None if its batches follow another rule."""
    sampler = getattr(loader, 'sampler', None)
    of_batches = getattr(getattr(loader, 'batch_sampler', None), 'sampler', None)
    drops = getattr(loader, 'drop_last', False) or is_limited(loader)
    if drops or of_batches is not sampler:
        return None
    return len(sampler) if isinstance(sampler, Sized) else None


def warn_of_no_values(loop: Any, stage: str, metrics: Mapping[str, Any]) -> None:
    """Warn, once for a loop, if the metrics gave no value."""
    judges = getattr(loop.evaluator, 'metrics', [])
    if metrics or any(isinstance(judge, DumpResults) for judge in judges):
        return
    names = ', '.join(type(judge).__name__ for judge in judges) or 'the evaluator'
    _warn_once(
        loop,
        f'The evaluation in {stage} gave no value: compute_metrics of {names} returned an empty '
        'dict.',
    )


def warn_of_no_validation(runner: Runner) -> None:
    """Warn, before a training, of its parts that wait for metrics which no validation gives."""
    parts = [*runner.hooks, *flattened(runner.param_schedulers)]
    waiting = [type(part).__name__ for part in parts if getattr(part, 'need_val_args', False)]
    waiting += [
        f'save_best of {type(hook).__name__}'
        for hook in runner.hooks
        if getattr(hook, 'save_best', None) is not None
    ]
    loop = runner.train_loop
    is_by_iteration = hasattr(loop, 'dataloader_iterator')
    end = getattr(loop, 'max_iters' if is_by_iteration else 'max_epochs', -1)
    if runner.val_loop is None:
        reason = 'has no val_dataloader, val_cfg and val_evaluator'
    elif getattr(loop, 'val_unit', None) is None and runner.val_begin > end >= 0:
        unit = 'iterations' if is_by_iteration else 'epochs'
        reason = f'ends after {end} {unit}, before val_begin={runner.val_begin}'
        waiting = waiting or ['The val loop']
    else:
        return
    if waiting:
        print_log(
            f'{", ".join(dict.fromkeys(waiting))} will do nothing: the training {reason}.',
            logger='current',
            level=logging.WARNING,
        )


def _warn_once(loop: Any, message: str) -> None:
    told = vars(loop).setdefault('_told', set())
    if message not in told:
        told.add(message)
        print_log(message, logger='current', level=logging.WARNING)
