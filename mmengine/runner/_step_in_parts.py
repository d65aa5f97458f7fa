"""The training step of a batch that is computed in parts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch

from mmengine.dataset._batch_parts import BatchParts
from mmengine.optim.optimizer._part_window import parts_of_a_batch
from mmengine.optim.optimizer.optimizer_wrapper_dict import wrappers_of


def step_in_parts(model: Any, batch: BatchParts, optim_wrapper: Any) -> Any:
    """One training step: ``train_step`` of each part, with the gradients of the whole batch.

    Returns:
        What ``train_step`` returns: of the entries of a dict the means over all samples.
    """
    weights = batch.weights
    with parts_of_a_batch(wrappers_of(optim_wrapper), weights) as numbers:
        outputs = [
            model.train_step(batch.parts[part], optim_wrapper=optim_wrapper) for part in numbers
        ]
    last = outputs[-1]
    if not all(isinstance(each, Mapping) and each.keys() == last.keys() for each in outputs):
        return last
    return {name: _mean([each[name] for each in outputs], weights) for name in last}


def _mean(values: Sequence[Any], weights: Sequence[float]) -> Any:
    """The mean of numbers; of other values the last one."""
    if not all(map(_is_number, values)):
        return values[-1]
    return sum(value * weight for value, weight in zip(values, weights, strict=True))


def _is_number(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.is_floating_point() and not value.dim()
    return isinstance(value, (int, float)) and not isinstance(value, bool)
