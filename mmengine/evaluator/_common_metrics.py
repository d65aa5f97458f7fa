"""The usual metrics of classification, regression and language models.

Predictions are the ``preds`` of data samples, or the samples themselves. The target is the
``target`` of a sample, else what the batch has under a usual name, or at its last position.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from mmengine.evaluator.metric import BaseMetric
from mmengine.logging import print_log
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
        *sums, count = self._total(results).tolist()
        if not count:
            return {}
        return {
            name: self.value(total / count) for name, total in zip(self.names, sums, strict=True)
        }

    def value(self, mean: float) -> float:
        """The metric from the mean."""
        return mean

    def _total(self, results: list[Tensor]) -> Tensor:
        """The sums and the number of values of the whole dataset, after a look at them."""
        (total,) = self.reduce([row.cpu() for row in results])
        if not total.isfinite().all():
            self._warn('at least one prediction or target is NaN or infinite')
        return total

    def _warn(self, text: str) -> None:
        print_log(f'{type(self).__name__}: {text}.', logger='current', level=logging.WARNING)


class _MetricOfClasses(_MeanMetric):
    """A mean for targets that are classes: the number of a score, from 0.

    Whether they are is looked at once, at the end of an evaluation: the range of the targets stays
    on the device until then.
    """

    _num_classes = 0
    _range: tuple[Tensor, Tensor] | None = None

    def drop_results(self) -> None:
        """See the base."""
        super().drop_results()
        self._range = None

    def evaluate(self, size: int) -> dict[str, Any]:
        """See the base.

        Raises:
            ArgumentError: If a target is not the number of a score.
        """
        if self._range is not None:
            lowest, highest = (int(end) for end in self._range)
            if lowest < 0 or highest >= self._num_classes:
                self.drop_results()
                raise ArgumentError(
                    f'{type(self).__name__}: targets are from {lowest} to {highest}, but there are '
                    f'{self._num_classes} scores, so a target is the number of a class from 0 to '
                    f'{self._num_classes - 1}; {IGNORED} leaves a target out.'
                )
        return super().evaluate(size)

    def scores_for(self, targets: Tensor, preds: Tensor, counted: Tensor) -> Tensor:
        """The scores with the classes last; notes the range of the targets that are ``counted``."""
        scores = _classes_last(preds, targets)
        if targets.is_floating_point() or targets.is_complex():
            raise ArgumentError(
                f'{type(self).__name__}: a target is the number of a class, an integer, but '
                f'targets are {str(targets.dtype).removeprefix("torch.")}: labels.long() '
                'converts them.'
            )
        self._num_classes = scores.shape[-1]
        lowest, highest = targets.where(counted, 0).aminmax()
        if self._range is not None:
            lowest = torch.minimum(lowest, self._range[0])
            highest = torch.maximum(highest, self._range[1])
        self._range = lowest, highest
        return scores


class Accuracy(_MetricOfClasses):
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
        ArgumentError: If ``topk`` is not a positive integer or several, if predictions do not fit
            the targets, or, at the end of an evaluation, if a target is not the number of a score.
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
        """Right predictions for each of ``topk``, the highest scores, and targets."""
        counted = targets != IGNORED
        if preds.shape == targets.shape and not preds.is_floating_point():
            if self.topk != (1,):
                raise ArgumentError('topk above 1 needs a score for each class.')
            return _sums((preds == targets) & counted, torch.zeros_like(counted), counted)
        scores = self.scores_for(targets, preds, counted)
        best = scores.topk(min(max(self.topk), scores.shape[-1]), dim=-1)
        hits = best.indices == targets.unsqueeze(-1)
        right = [hits[..., :k].any(dim=-1) & counted for k in self.topk]
        # A sum with NaN is NaN, and NaN is greater than all numbers.
        return _sums(*right, best.values[..., 0], counted)

    def _total(self, results: list[Tensor]) -> Tensor:
        (total,) = self.reduce([row.cpu() for row in results])
        *right, highest, count = total
        if highest.isnan():
            self._warn('at least one score is NaN')
            right = [highest] * len(right)
        return torch.stack([*right, count])


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


class Perplexity(_MetricOfClasses):
    """The exponential of the mean cross entropy of a token, as ``perplexity``.

    A prediction has logits of shape (length, number of tokens), its target the tokens, of shape
    (length,); targets of -100 do not count.
    """

    names = ('perplexity',)

    def sums(self, preds: Tensor, targets: Tensor) -> Tensor:
        """The sum of the cross entropies, and the number of tokens."""
        counted = targets != IGNORED
        scores = self.scores_for(targets, preds, counted).movedim(-1, 1).float()
        classes = targets.long().clamp(0, self._num_classes - 1)
        losses = cross_entropy(scores, classes, reduction='none').where(counted, 0)
        return _sums(losses, counted)

    def value(self, mean: float) -> float:
        """See the base."""
        return math.inf if mean >= 700 else math.exp(mean)


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
    return _sums(errors, torch.ones_like(errors))


def _sums(*values: Tensor) -> Tensor:
    """Sums over each sample, a column for each of ``values``, in the precision of the device."""
    stacked = torch.stack(values)
    dtype = torch.float32 if stacked.device.type == 'mps' else torch.float64
    return stacked.reshape(*stacked.shape[:2], -1).sum(dim=-1, dtype=dtype).t()
