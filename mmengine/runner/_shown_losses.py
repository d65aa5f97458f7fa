"""The losses of an evaluation among its metrics."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log
from mmengine.logging._engine_names import engine_name
from mmengine.logging._shown_once import shown_once

__all__ = ['shown_at_end', 'shown_once', 'with_losses']


def with_losses(metrics: dict[str, Any], losses: Mapping[str, float], stage: str) -> dict[str, Any]:
    """The metrics with the losses of the loop; a metric of the same name keeps it.

    Args:
        metrics: The metrics of the evaluator.
        losses: The mean of each loss, and their sum as ``<stage>_loss``.
        stage: 'val' or 'test'.
    """
    merged = {**losses, **metrics}
    total = f'{stage}_loss'
    for name, value in losses.items():
        if name not in metrics:
            continue
        # The total of one loss is that loss.
        twin = {'loss': total, total: 'loss'}.get(name)
        if twin is not None and losses.get(twin) == value:
            shown = engine_name(total) if twin in metrics else twin
        else:
            shown = engine_name(name)
        merged[shown] = value
        print_log(
            f'A metric and a loss have the name {name!r}. The metric keeps the name; the '
            f'loss of the loop is {shown!r}.',
            logger='current',
            level=logging.WARNING,
        )
    # In the order of the API: first the metrics.
    return {**{name: merged[name] for name in metrics}, **merged}


def shown_at_end(
    scalars: Mapping[str, Any], histories: Mapping[str, Any], mode: str, has_mode: bool
) -> dict[str, Any]:
    """The scalars of an evaluation without a ``loss`` that is its total ``<mode>_loss`` too.

    Their last values decide: a scalar may be a statistic of several evaluations.

    Args:
        scalars: By name.
        histories: Of the message hub, by name with mode.
        mode: 'val' or 'test'.
        has_mode: Whether names of scalars begin with the mode.
    """
    start = '' if has_mode else f'{mode}/'
    last = {
        key.removeprefix(start): history.current()
        for key, history in histories.items()
        if key.startswith(f'{mode}/')
    }
    repeated = last.keys() - shown_once(last, mode).keys()
    return {name: value for name, value in scalars.items() if name not in repeated}
