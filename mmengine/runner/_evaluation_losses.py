"""The losses that an evaluation computes beside its predictions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from mmengine._checkpoint.unwrap import unwrap_model
from mmengine.dist import all_gather_object
from mmengine.logging import HistoryBuffer
from mmengine.structures import BaseDataElement

if TYPE_CHECKING:
    from mmengine.runner.runner import Runner


def model_with_losses(runner: Runner) -> Any:
    """The model of ``runner``, which computes losses.

    Raises:
        TypeError: If it is not a ``BaseModel``.
    """
    model = unwrap_model(runner.model)
    if not hasattr(model, '_run_forward'):
        raise TypeError(
            'compute_loss=True needs the losses of a BaseModel, but the model is a '
            f'{type(model).__name__}.'
        )
    return model


def _update_losses(
    outputs: Any, losses: dict[str, HistoryBuffer]
) -> tuple[Any, dict[str, HistoryBuffer]]:
    """Remove the losses from the predictions of a model, if the last element has only ``loss``.

    Args:
        outputs: The result of ``val_step``.
        losses: Losses by name; extended in place.

    Returns:
        The predictions without that element, and ``losses``.
    """
    if not isinstance(outputs, list) or not outputs:
        return outputs, losses
    last = outputs[-1]
    if not isinstance(last, BaseDataElement) or last.keys() != ['loss']:
        return outputs, losses
    found: Any = last.get('loss')
    record(found if isinstance(found, Mapping) else {'loss': found}, losses, count=1)
    return outputs[:-1], losses


def _parse_losses(losses: dict[str, HistoryBuffer], stage: str) -> dict[str, float]:
    """The mean of each loss over the samples of all ranks; empty if no rank has a loss.

    ``<stage>_loss`` is the sum of the means of all losses with "loss" in their name. All ranks must
    call this, including ranks without a loss: a rank may have no batches, or losses with other
    names.
    """
    own = {}
    for name, buffer in losses.items():
        values, counts = buffer.data
        own[name] = (float((values * counts).sum()), float(counts.sum()))
    totals: dict[str, tuple[float, float]] = {}
    for of_one_rank in all_gather_object(own):
        for name, (value, count) in of_one_rank.items():
            known_value, known_count = totals.get(name, (0.0, 0.0))
            totals[name] = (known_value + value, known_count + count)
    if not totals:
        return {}
    means = {name: value / count for name, (value, count) in totals.items()}
    total = sum(mean for name, mean in means.items() if 'loss' in name)
    return {**means, f'{stage}_loss': total}


def record(found: Mapping[str, Any], losses: dict[str, HistoryBuffer], count: int) -> None:
    """Add the losses of a batch with ``count`` samples to ``losses``.

    Raises:
        TypeError: If a loss is neither a tensor nor a list of tensors.
    """
    for name, value in found.items():
        if isinstance(value, torch.Tensor):
            mean = value.mean()
        elif isinstance(value, (list, tuple)) and value:
            mean = torch.stack([part.mean() for part in value]).sum()
        else:
            raise TypeError(
                f'The loss {name!r} must be a tensor or a list of tensors, got '
                f'{type(value).__name__}.'
            )
        losses.setdefault(name, HistoryBuffer()).update(mean, count)
