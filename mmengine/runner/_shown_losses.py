"""The losses of an evaluation among its metrics."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log
from mmengine.logging._engine_names import engine_name
from mmengine.logging._shown_once import shown_once

__all__ = ['shown_once', 'with_losses']


def with_losses(metrics: dict[str, Any], losses: Mapping[str, float], stage: str) -> dict[str, Any]:
    """The metrics with the losses of the loop; a metric of the same name keeps it.

    Args:
        metrics: The metrics of the evaluator.
        losses: The mean of each loss, and their sum as ``<stage>_loss``.
        stage: 'val' or 'test'.
    """
    merged = {**losses, **metrics}
    for name, value in losses.items():
        if name not in metrics:
            continue
        if name == 'loss' and value == losses.get(f'{stage}_loss'):
            told = f'the loss of the loop is {stage}_loss'
        else:
            merged[engine_name(name)] = value
            told = f'the loss of the loop is {engine_name(name)!r}'
        print_log(
            f'A metric and a loss have the name {name!r}. The metric keeps the name; {told}.',
            logger='current',
            level=logging.WARNING,
        )
    # In the order of the API: first the metrics.
    return {**{name: merged[name] for name in metrics}, **merged}
