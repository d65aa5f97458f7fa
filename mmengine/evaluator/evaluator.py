"""Runs the metrics of a dataset together."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Sized
from itertools import islice
from typing import Any

from mmengine.evaluator._common_metrics import config_of
from mmengine.evaluator._torch_metric import TorchMetric, is_torch_metric
from mmengine.evaluator.metric import BaseMetric
from mmengine.registry import EVALUATOR, METRICS
from mmengine.structures import BaseDataElement
from mmengine.utils.errors import ArgumentError

_END = object()


@EVALUATOR.register_module()
class Evaluator:
    """Several metrics over one dataset. Each processes every batch; one dict returns all values.

    Args:
        metrics: One or several metrics, as configs, which are built from ``METRICS``, their names
            alone, such as 'accuracy', or objects; torchmetrics' metrics too (see
            :class:`~mmengine.evaluator.TorchMetric`).

    Raises:
        TypeError: If something is neither a config nor a metric.

    Example:
        >>> class Count(BaseMetric):
        ...     def process(self, data_batch, data_samples):
        ...         self.results += data_samples
        ...
        ...     def compute_metrics(self, results):
        ...         return {'n': len(results)}
        >>> evaluator = Evaluator([Count(prefix='all'), Count(prefix='again')])
        >>> evaluator.process(data_samples=['cat', 'dog'])
        >>> evaluator.evaluate(size=2)
        {'all/n': 2, 'again/n': 2}
    """

    num_processed: int = 0
    """Samples that were processed on this rank since the last evaluation."""

    def __init__(self, metrics: dict[str, Any] | BaseMetric | str | Sequence[Any]) -> None:
        given = metrics if isinstance(metrics, (list, tuple)) else [metrics]
        self.metrics: list[BaseMetric] = [_as_metric(metric) for metric in given]
        self._dataset_meta: dict[str, Any] | None = None

    @property
    def dataset_meta(self) -> dict[str, Any] | None:
        """Facts about the dataset, such as its class names, for all metrics."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict[str, Any] | None) -> None:
        self._dataset_meta = dataset_meta
        for metric in self.metrics:
            metric.dataset_meta = dataset_meta

    def process(self, data_samples: Sequence[Any], data_batch: Any | None = None) -> None:
        """Pass a batch to all metrics.

        Args:
            data_samples: The model's outputs, one a sample. Data elements are turned into dicts.
            data_batch: The batch as the dataloader gave it.

        Raises:
            TypeError: If ``data_samples`` is not a sequence, or is a dict or a string.
        """
        if not isinstance(data_samples, list):  # the usual case, without a slow check
            _check_one_entry_per_sample(data_samples, 'data_samples')
        samples = [
            sample.to_dict() if isinstance(sample, BaseDataElement) else sample
            for sample in data_samples
        ]
        for metric in self.metrics:
            metric.process(data_batch, samples)
            if isinstance(metric, BaseMetric):
                metric.shorten_results()
        self.num_processed += len(samples)

    def evaluate(self, size: int) -> dict[str, Any]:
        """The values of all metrics over the samples of all ranks. All ranks must call it.

        Args:
            size: Number of samples of the dataset.

        Returns:
            Values by full name, on every rank.

        Raises:
            ArgumentError: If two metrics give the same name.
        """
        self.num_processed = 0
        values: dict[str, Any] = {}
        owners: dict[str, BaseMetric] = {}
        clashes: list[str] = []
        # Every metric is evaluated even after a clash, so that no results remain for the next
        # evaluation.
        for metric in self.metrics:
            for name, value in metric.evaluate(size).items():
                if name in owners:
                    clashes.append(f'{name!r} from {_named(owners[name])} and {_named(metric)}')
                values[name] = value
                owners.setdefault(name, metric)
        if clashes:
            raise ArgumentError(
                f'Metrics must differ in name, but these come twice: {"; ".join(clashes)}. Give '
                'one of the metrics another prefix, as in dict(type=..., prefix=...).'
            )
        return values

    def drop_results(self) -> None:
        """Let all metrics start afresh, after a pass that failed before :meth:`evaluate`."""
        for metric in self.metrics:
            if isinstance(metric, BaseMetric):
                metric.drop_results()
            elif getattr(metric, 'results', None):
                metric.results = []

    def offline_evaluate(
        self, data_samples: Iterable[Any], data: Iterable[Any] | None = None, chunk_size: int = 1
    ) -> dict[str, Any]:
        """The values of all metrics over existing predictions.

        Args:
            data_samples: Predictions of the whole dataset, one a sample; may be an iterator.
            data: The dataset's samples for them, in the same order.
            chunk_size: How many samples the metrics see at a time.

        Returns:
            Values by full name.

        Raises:
            TypeError: If ``data_samples`` or ``data`` is not iterable, or is a dict or a string.
            ArgumentError: If ``chunk_size`` is below 1, or ``data`` and ``data_samples`` differ in
                length.
        """
        _check_one_entry_per_sample(data_samples, 'data_samples')
        if data is not None:
            _check_one_entry_per_sample(data, 'data')
        if chunk_size < 1:
            raise ArgumentError(f'chunk_size must be 1 or more, got {chunk_size}.')
        if isinstance(data_samples, Sized) and isinstance(data, Sized):
            _check_equally_long(len(data_samples), len(data))
        size = 0
        samples = iter(data_samples)
        inputs = None if data is None else iter(data)
        for chunk in _chunks(samples, chunk_size):
            batch = None if inputs is None else list(islice(inputs, len(chunk)))
            if batch is not None:
                _check_equally_long(size + len(chunk), size + len(batch))
            self.process(chunk, batch)
            size += len(chunk)
        if inputs is not None and next(inputs, _END) is not _END:
            raise ArgumentError(f'data has more than the {size} entries of data_samples.')
        return self.evaluate(size)


def _as_metric(metric: Any) -> Any:
    if isinstance(metric, str):
        metric = config_of(metric)
    if isinstance(metric, Mapping) and _names_torch_metric(metric.get('type')):
        own = {key: value for key, value in metric.items() if key not in ('adapter', 'prefix')}
        return TorchMetric(METRICS.build(own), metric.get('adapter'), metric.get('prefix'))
    built = METRICS.build(metric) if isinstance(metric, Mapping) else metric
    if is_torch_metric(type(built)):
        return TorchMetric(built)
    missing = [name for name in ('process', 'evaluate') if not hasattr(built, name)]
    if missing:
        raise TypeError(
            'A metric must be a config (a dict with a type) or a BaseMetric; '
            f'{type(built).__name__} has no {missing[0]}.'
        )
    return built


def _names_torch_metric(kind: Any) -> bool:
    if isinstance(kind, str) and kind.startswith('torchmetrics.'):
        kind = METRICS.get(kind)
    return is_torch_metric(kind)


def _check_one_entry_per_sample(values: Any, name: str) -> None:
    """Refuse a single sample. Iterating over a dict or a string would give keys or letters."""
    if not isinstance(values, Iterable) or isinstance(values, (Mapping, str, bytes)):
        keys = f' with the keys {list(values)[:5]}' if isinstance(values, Mapping) else ''
        raise TypeError(
            f'{name} must be a sequence with one entry for each sample, got a single '
            f"{type(values).__name__}{keys}. A model returns a list in mode 'predict'."
        )


def _chunks(samples: Iterator[Any], chunk_size: int) -> Iterator[list[Any]]:
    while chunk := list(islice(samples, chunk_size)):
        yield chunk


def _check_equally_long(num_samples: int, num_data: int) -> None:
    if num_samples != num_data:
        raise ArgumentError(
            f'data_samples and data must have one entry for each sample, got {num_samples} and '
            f'{num_data}.'
        )


def _named(metric: BaseMetric) -> str:
    prefix = getattr(metric, 'prefix', None)
    return f'{type(metric).__name__}({f"prefix={prefix!r}" if prefix else ""})'
