"""The usual metrics of classification, regression and language models.

Predictions are the ``preds`` of data samples, or the samples themselves. The target is the
``target`` of a sample, else what the batch has under a usual name, or at its last position.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mmengine.evaluator.metric import BaseMetric
from mmengine.registry import METRICS
from mmengine.utils.errors import ArgumentError

TARGETS = ('target', 'targets', 'label', 'labels', 'gt_label', 'y')
"""Where the target of a sample is, in the order in which they are looked for."""

IGNORED = -100
"""The target that losses of torch leave out."""


class _MeanMetric(BaseMetric):
    """The mean of a value over all samples, from sums that are kept on the device.

    Args:
        collect_device: As in :class:`BaseMetric`.
        prefix: As in :class:`BaseMetric`.
    """

    names: tuple[str, ...]

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Add the sums of each sample: of its values, and how many there are."""
        preds = [_prediction(sample) for sample in data_samples]
        targets = _targets(data_batch, data_samples)
        if len(targets) != len(preds):
            raise ArgumentError(
                f'{type(self).__name__} got {len(preds)} predictions and {len(targets)} targets.'
            )
        for group in _of_one_shape(preds, targets):
            self.results += self.sums(*group).unbind()

    def sums(self, preds: Tensor, targets: Tensor) -> Tensor:
        """For each sample of a batch a row: the sums of the values, then their number."""
        raise NotImplementedError

    def reduce(self, results: list[Tensor]) -> list[Tensor]:
        """The sum of the rows."""
        return [torch.stack(results).sum(dim=0)] if results else []

    def compute_metrics(self, results: list[Tensor]) -> dict[str, float]:
        """The means; nothing if there was no sample."""
        if not results:
            return {}
        *sums, count = torch.stack([row.cpu() for row in results]).sum(dim=0).tolist()
        if not count:
            return {}
        return {
            name: self.value(total / count) for name, total in zip(self.names, sums, strict=True)
        }

    def value(self, mean: float) -> float:
        """The metric from the mean."""
        return mean


class Accuracy(_MeanMetric):
    """The share of right predictions, as ``accuracy``; with several ``topk`` as ``accuracy/top1``.

    A prediction is a score for each class, of shape (C,), or the number of a class. If each sample
    has many targets, as in segmentation or in language models, the classes are the first or the
    last dimension of the scores; targets of -100 do not count.

    Args:
        topk: A prediction is right if the target is among the classes with the ``topk`` highest
            scores. Several numbers give several values.
        collect_device: As in :class:`BaseMetric`.
        prefix: As in :class:`BaseMetric`.

    Raises:
        ArgumentError: If ``topk`` is not a positive integer or several, or if predictions do not
            fit the targets.
    """

    def __init__(
        self,
        topk: int | Sequence[int] = 1,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device, prefix)
        self.topk = (topk,) if isinstance(topk, int) else tuple(topk)
        if not self.topk or any(not isinstance(k, int) or k < 1 for k in self.topk):
            raise ArgumentError(f'topk is a positive integer or several, got {topk!r}.')
        self.names = tuple(f'accuracy/top{k}' for k in self.topk)
        if isinstance(topk, int):
            self.names = ('accuracy',)

    def sums(self, preds: Tensor, targets: Tensor) -> Tensor:
        """Right predictions for each of ``topk``, and targets."""
        counted = targets != IGNORED
        if preds.shape == targets.shape and not preds.is_floating_point():
            if self.topk != (1,):
                raise ArgumentError('topk above 1 needs a score for each class.')
            right = [preds == targets]
        else:
            scores = _classes_last(preds, targets)
            best = scores.topk(min(max(self.topk), scores.shape[-1]), dim=-1).indices
            hits = best == targets.unsqueeze(-1)
            right = [hits[..., :k].any(dim=-1) for k in self.topk]
        return _rows([hit & counted for hit in right], counted)


class MeanSquaredError(_MeanMetric):
    """The mean of squared differences between predictions and targets, as ``mse``."""

    names = ('mse',)

    def sums(self, preds: Tensor, targets: Tensor) -> Tensor:
        """The sum of squared differences, and the number of values."""
        return _differences(preds, targets, lambda error: error.square())


class MeanAbsoluteError(_MeanMetric):
    """The mean of absolute differences between predictions and targets, as ``mae``."""

    names = ('mae',)

    def sums(self, preds: Tensor, targets: Tensor) -> Tensor:
        """The sum of absolute differences, and the number of values."""
        return _differences(preds, targets, torch.abs)


class Perplexity(_MeanMetric):
    """The exponential of the mean cross entropy of a token, as ``perplexity``.

    A prediction has logits of shape (length, number of tokens), its target the tokens, of shape
    (length,); targets of -100 do not count.
    """

    names = ('perplexity',)

    def sums(self, preds: Tensor, targets: Tensor) -> Tensor:
        """The sum of the cross entropies, and the number of tokens."""
        scores = _classes_last(preds, targets).movedim(-1, 1)
        losses = cross_entropy(scores.float(), targets, reduction='none', ignore_index=IGNORED)
        return _rows([losses], targets != IGNORED)

    def value(self, mean: float) -> float:
        """See the base."""
        return math.exp(mean) if mean < 700 else math.inf


_BY_SHORT_NAME: dict[str, type[BaseMetric]] = {
    'accuracy': Accuracy, 'mae': MeanAbsoluteError, 'mse': MeanSquaredError,
    'perplexity': Perplexity,
}  # fmt: skip


def config_of(name: str) -> dict[str, Any]:
    """The config of a metric that is given by its name alone.

    A short name means the metric of this package, whatever a project has registered under the name
    of its class; a project may register the short name itself.
    """
    return {'type': name if name in METRICS else _BY_SHORT_NAME.get(name, name)}


def _prediction(sample: Any) -> Any:
    if not isinstance(sample, Mapping):
        return sample
    if 'preds' not in sample:
        raise ArgumentError(
            'This metric reads the predictions in `preds` of the data samples, but they have '
            f"{list(sample)}. Return dict(preds=..., target=...) for each sample in mode 'predict'."
        )
    return sample['preds']


def _targets(data_batch: Any, data_samples: Sequence[Any]) -> Sequence[Any]:
    first = data_samples[0] if data_samples else None
    if isinstance(first, Mapping) and 'target' in first:
        return [sample['target'] for sample in data_samples]
    found: Any = None
    if isinstance(data_batch, Mapping):
        name = next((name for name in TARGETS if name in data_batch), None)
        found = None if name is None else data_batch[name]
    elif isinstance(data_batch, (list, tuple)) and len(data_batch) > 1:
        found = data_batch[-1]
    if found is None:
        raise ArgumentError(
            'This metric needs targets: return dict(preds=..., target=...) for each sample in mode '
            f"'predict', or name them {', '.join(TARGETS[:4])} in the batch."
        )
    return list(found)


def _of_one_shape(preds: Sequence[Any], targets: Sequence[Any]) -> list[tuple[Tensor, Tensor]]:
    """Batches of predictions and targets; samples of different shapes are batches of one."""
    pairs = [(torch.as_tensor(p), torch.as_tensor(t)) for p, t in zip(preds, targets, strict=True)]
    if len({(p.shape, t.shape) for p, t in pairs}) > 1:
        return [(p[None], t[None].to(p.device)) for p, t in pairs]
    if not pairs:
        return []
    stacked = torch.stack([p for p, _ in pairs])
    return [(stacked, torch.stack([t for _, t in pairs]).to(stacked.device))]


def _classes_last(preds: Tensor, targets: Tensor) -> Tensor:
    if targets.dim() == 2 and targets.shape[1] == 1 and preds.dim() == 2:
        raise ArgumentError(
            'A target is the number of a class, a tensor without a dimension, but these have the '
            'shape (1,).'
        )
    if preds.shape[:-1] == targets.shape:
        return preds
    if preds.shape[:1] + preds.shape[2:] == targets.shape:
        return preds.movedim(1, -1)
    raise ArgumentError(
        f'Predictions of shape {tuple(preds.shape)} are not scores of classes for targets of shape '
        f'{tuple(targets.shape)}; the first dimension counts samples.'
    )


def _differences(preds: Tensor, targets: Tensor, of_error: Any) -> Tensor:
    if preds.numel() != targets.numel():
        raise ArgumentError(
            f'Predictions of shape {tuple(preds.shape)} and targets of shape '
            f'{tuple(targets.shape)} have different numbers of values; the first dimension '
            'counts samples.'
        )
    errors = of_error(preds.reshape(len(preds), -1) - targets.reshape(len(preds), -1))
    return _rows([errors], torch.ones_like(errors))


def _rows(values: list[Tensor], counts: Tensor) -> Tensor:
    """Sums over each sample, in the precision that the device has."""
    dtype = torch.float32 if counts.device.type == 'mps' else torch.float64
    sums = [part.reshape(len(counts), -1).to(dtype).sum(dim=1) for part in (*values, counts)]
    return torch.stack(sums, dim=1)
