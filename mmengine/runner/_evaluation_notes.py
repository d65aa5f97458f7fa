"""Warns of an evaluation whose result does not say what its reader thinks."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sized
from typing import Any

from mmengine.dataset._dataloader import num_batches
from mmengine.dataset._limited import is_limited
from mmengine.evaluator import DumpResults
from mmengine.logging import print_log


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


def _warn_once(loop: Any, message: str) -> None:
    told = vars(loop).setdefault('_told', set())
    if message not in told:
        told.add(message)
        print_log(message, logger='current', level=logging.WARNING)
