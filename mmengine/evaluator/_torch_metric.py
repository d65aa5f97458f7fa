"""Metrics of torchmetrics in an evaluator, as they are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from mmengine.dist._data_parallel import get_data_parallel_group, get_data_parallel_info
from mmengine.registry import METRICS
from mmengine.utils.errors import ArgumentError

Adapter = Callable[[Any, Sequence[Any]], Any] | Mapping[str, str] | Sequence[str]

_DEFAULT_ADAPTER: Mapping[str, str] = {'preds': 'preds', 'target': 'target'}


@METRICS.register_module()
class TorchMetric:
    """A ``torchmetrics.Metric`` or ``MetricCollection``, updated batch by batch.

    An :class:`~mmengine.evaluator.Evaluator` makes one of every metric of torchmetrics that it is
    given, so this class is written out only for an object that needs an adapter::

        val_evaluator = dict(type='torchmetrics.classification.MulticlassAccuracy', num_classes=10,
                             adapter=dict(preds='scores', target='label'))

    torchmetrics adds the states of all ranks up in ``compute``. A sample that the sampler repeats
    so that all ranks get equally many is not counted twice.

    Args:
        metric: The metric, or its config.
        adapter: What ``update`` is called with: a dict from its argument names to keys, or a list
            of keys for arguments by position, or a function ``adapter(data_batch, data_samples)``
            that returns such a dict or tuple of values. A key is looked up in each data sample
            (``'pred.scores'`` goes deeper), and else in the batch. The default keys are ``preds``
            and ``target``.
        prefix: Put before the names of the numbers.

    Raises:
        TypeError: If ``metric`` is not a metric of torchmetrics.
    """

    def __init__(
        self, metric: Any, adapter: Adapter | None = None, prefix: str | None = None
    ) -> None:
        built: Any = METRICS.build(metric) if isinstance(metric, Mapping) else metric
        if not is_torch_metric(type(built)):
            raise TypeError(
                f'TorchMetric takes a metric of torchmetrics, got {type(built).__name__}.'
            )
        self.metric = built
        self.adapter: Adapter = _DEFAULT_ADAPTER if adapter is None else adapter
        self.prefix = prefix
        self.dataset_meta: dict[str, Any] | None = None
        self._num_samples = 0
        # The latest batch waits, since its last sample may be a repetition: only the end tells.
        self._waiting: tuple[Any, int] | None = None

    def process(self, data_batch: Any, data_samples: Sequence[Any]) -> None:
        """Take in a batch."""
        self._update()
        self._waiting = (self._arguments(data_batch, data_samples), len(data_samples))
        self._num_samples += len(data_samples)

    def evaluate(self, size: int) -> dict[str, Any]:
        """The numbers over what all ranks have seen, by name; all ranks must call it.

        Args:
            size: Number of samples of the dataset; what goes beyond it is the sampler's repetition.
        """
        rank, world_size = get_data_parallel_info()
        is_repeated = world_size > 1 and (self._num_samples - 1) * world_size + rank >= size > 0
        try:
            self._update(leave_out_last=is_repeated)
            _sum_over_data_ranks(self.metric)
            values = self.metric.compute()
        finally:
            self.metric.reset()
            self._waiting, self._num_samples = None, 0
        if not isinstance(values, Mapping):
            values = {type(self.metric).__name__: values}
        start = f'{self.prefix}/' if self.prefix else ''
        return {f'{start}{name}': _as_number(value) for name, value in values.items()}

    def _update(self, leave_out_last: bool = False) -> None:
        if self._waiting is None:
            return
        arguments, num_samples = self._waiting
        self._waiting = None
        if leave_out_last:
            if num_samples == 1:
                return
            arguments = _without_last(arguments, num_samples)
        by_name = arguments if isinstance(arguments, Mapping) else {}
        by_position = () if isinstance(arguments, Mapping) else arguments
        tensor = next((v for v in (*by_position, *by_name.values()) if isinstance(v, Tensor)), None)
        if tensor is not None:
            self.metric.to(tensor.device)
        self.metric.update(*by_position, **by_name)

    def _arguments(self, data_batch: Any, data_samples: Sequence[Any]) -> Any:
        adapter = self.adapter
        if isinstance(adapter, Mapping):
            return {name: _gathered(key, data_batch, data_samples) for name, key in adapter.items()}
        if callable(adapter):
            values = adapter(data_batch, data_samples)
            return values if isinstance(values, (Mapping, tuple, list)) else (values,)
        return tuple(_gathered(key, data_batch, data_samples) for key in adapter)


def is_torch_metric(kind: Any) -> bool:
    """Whether ``kind`` is a class of torchmetrics, which need not be installed to ask."""
    return isinstance(kind, type) and any(
        base.__name__ in ('Metric', 'MetricCollection')
        and base.__module__.partition('.')[0] == 'torchmetrics'
        for base in kind.__mro__
    )


def _sum_over_data_ranks(metric: Any) -> None:
    """Let ``metric`` count a sample once that several ranks compute together."""
    group = get_data_parallel_group()
    if group is not None:
        for each in metric.values() if isinstance(metric, Mapping) else [metric]:
            each.process_group = group


def _gathered(key: str, data_batch: Any, data_samples: Sequence[Any]) -> Any:
    """The values under ``key``: one a sample, joined to a batch, or else the batch's values."""
    try:
        values = [_value_at(sample, key) for sample in data_samples]
    except (KeyError, AttributeError):
        try:
            return _value_at(data_batch, key)
        except (KeyError, AttributeError):
            known = list(data_samples[0]) if data_samples and _is_dict(data_samples[0]) else []
            raise ArgumentError(
                f'The adapter of a TorchMetric names {key!r}, which is neither in the data samples '
                f'(they have {known}) nor in the batch. Name the keys in adapter=dict(preds=..., '
                'target=...), or give a function.'
            ) from None
    if values and all(isinstance(value, Tensor) for value in values):
        if len({value.shape for value in values}) == 1:
            stacked = torch.stack(values)
            # A label of shape (1,) is a number; a batch of them is not a matrix.
            return stacked[:, 0] if stacked.dim() == 2 and stacked.shape[1] == 1 else stacked
        return values
    if values and all(isinstance(value, (bool, int, float)) for value in values):
        return torch.tensor(values)
    return values


def _value_at(holder: Any, key: str) -> Any:
    for part in key.split('.'):
        holder = holder[part] if _is_dict(holder) else getattr(holder, part)
    return holder


def _is_dict(value: Any) -> bool:
    return isinstance(value, Mapping)


def _without_last(arguments: Any, num_samples: int) -> Any:
    def shorter(value: Any) -> Any:
        is_batch = isinstance(value, (Tensor, list, tuple)) and len(value) == num_samples
        return value[:-1] if is_batch else value

    if isinstance(arguments, Mapping):
        return {name: shorter(value) for name, value in arguments.items()}
    return tuple(shorter(value) for value in arguments)


def _as_number(value: Any) -> Any:
    return value.item() if isinstance(value, Tensor) and value.numel() == 1 else value
