"""The losses of an evaluation among its metrics."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from mmengine.logging import print_log
from mmengine.logging._engine_names import engine_name


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
            f'The name {name!r} is that of a metric and of a loss. The metric keeps the name; '
            f'{told}.',
            logger='current',
            level=logging.WARNING,
        )
    # In the order of the API: first the metrics.
    return {**{name: merged[name] for name in metrics}, **merged}


def shown_once(scalars: Mapping[str, Any], mode: str) -> dict[str, Any]:
    """The scalars of an evaluation without ``loss`` where ``val_loss`` is the same number."""

    def is_repeated(name: str) -> bool:
        prefix, slash, last = name.rpartition('/')
        if last != 'loss':
            return False
        total = scalars.get(f'{prefix}{slash}{mode}_loss')
        value = scalars[name]
        return total is not None and bool(total == value or (total != total and value != value))

    return {name: value for name, value in scalars.items() if not is_repeated(name)}
