"""The base class of metrics, and the metric that writes predictions to a file."""

from __future__ import annotations

import logging
import traceback
from abc import ABCMeta, abstractmethod
from collections.abc import Mapping, Sequence
from functools import cache
from inspect import signature
from typing import Any, cast

from mmengine.dist import broadcast_object_list, collect_results, gather_object
from mmengine.dist._data_parallel import get_data_parallel_info, of_data_ranks
from mmengine.dist._warn import warn_once
from mmengine.evaluator._transfer import to_cpu
from mmengine.fileio import dump
from mmengine.logging import print_log
from mmengine.registry import METRICS
from mmengine.utils.errors import ArgumentError, did_you_mean

_COLLECT_DEVICES = ('cpu', 'gpu')

# Projects import it under this name.
_to_cpu = to_cpu


class BaseMetric(metaclass=ABCMeta):
    """Evaluates predictions over a whole dataset, on any number of ranks.

    Each rank's :meth:`process` appends to ``self.results``, one entry a sample, in the order it
    gets the samples. :meth:`evaluate` collects the entries of all ranks on rank 0, drops samples
    that the sampler repeated, calls :meth:`compute_metrics` there, and sends its values to every
    rank. The entries of the ranks alternate, which is the order of the dataset for
    ``DefaultSampler(shuffle=False)``, and for a stream without workers that the engine divides.

    A metric that overrides :meth:`reduce` keeps memory flat, whatever the size of the dataset.

    Args:
        collect_device: What the results travel over, ``'cpu'`` or ``'gpu'``. They arrive in host
            memory.
        prefix: Put before the names of the numbers, as in ``prefix/accuracy``; ``default_prefix``
            unless given.
        collect_dir: Not used, with a warning: results travel through the process group.

    Raises:
        ArgumentError: If ``collect_device`` is neither, or ``collect_dir`` is given with ``'gpu'``.

    Example:
        >>> class Accuracy(BaseMetric):
        ...     default_prefix = 'toy'
        ...
        ...     def process(self, data_batch, data_samples):
        ...         self.results += [s['pred'] == s['label'] for s in data_samples]
        ...
        ...     def compute_metrics(self, results):
        ...         return {'accuracy': sum(results) / len(results)}
        >>> metric = Accuracy()
        >>> metric.process(None, [{'pred': 1, 'label': 1}, {'pred': 0, 'label': 1}])
        >>> metric.evaluate(size=2)
        {'toy/accuracy': 0.5}
    """

    default_prefix: str | None = None
    # Of a metric with `reduce`: what stands for the entries so far, and how many they were.
    _reduced: list[Any] = []
    _num_entries = 0

    def __init__(
        self,
        collect_device: str = 'cpu',
        prefix: str | None = None,
        collect_dir: str | None = None,
    ) -> None:
        if collect_device not in _COLLECT_DEVICES:
            raise ArgumentError(
                f"collect_device must be 'cpu' or 'gpu', got {collect_device!r}."
                + did_you_mean(str(collect_device), _COLLECT_DEVICES)
            )
        if collect_dir is not None and collect_device != 'cpu':
            raise ArgumentError(f"collect_dir needs collect_device='cpu', got {collect_device!r}.")
        if collect_dir is not None:
            warn_once(
                f'collect_dir of {type(self).__name__} is not used: results travel through the '
                'process group. Leave it out.'
            )
        self.collect_device = collect_device
        self.collect_dir = collect_dir
        self.prefix = prefix or self.default_prefix
        self.results: list[Any] = []
        self._dataset_meta: dict[str, Any] | None = None

    @property
    def dataset_meta(self) -> dict[str, Any] | None:
        """Facts about the dataset, such as its class names; set before the first batch."""
        return self._dataset_meta

    @dataset_meta.setter
    def dataset_meta(self, dataset_meta: dict[str, Any] | None) -> None:
        self._dataset_meta = dataset_meta

    @abstractmethod
    def process(self, data_batch: Any, data_samples: Sequence[dict[str, Any]]) -> None:
        """Append to ``self.results`` what the metric needs of a batch, one entry a sample.

        Called on every rank after each batch. Tensors may stay on their device: they are fetched
        together, later.

        Args:
            data_batch: The batch as the dataloader gave it.
            data_samples: The model's outputs, one a sample; data elements come as dicts.
        """

    @abstractmethod
    def compute_metrics(self, results: list[Any]) -> dict[str, Any]:
        """The values by name for the results of the whole dataset; called on rank 0 only.

        Args:
            results: Entries of all ranks, tensors in host memory. For their order see the class.
        """

    def reduce(self, results: list[Any]) -> list[Any]:
        """Fewer entries that stand for ``results``, such as one with their sums.

        Override it in a metric whose entries can be added up. It is called after each batch with
        its earlier result and the new entries, and the entries need one for each sample.
        :meth:`compute_metrics` then gets the reduced entries of all ranks, in the order of ranks.

        A ``reduce`` with other arguments has another purpose, and is not called.
        """
        return results

    def shorten_results(self) -> None:
        """Called after each batch: reduce the entries, if :meth:`reduce` is overridden.

        The last entry waits, because the sampler may have repeated its sample: only the end tells.
        """
        if not _reduces(type(self)) or len(self.results) < 2:
            return
        self._num_entries += len(self.results) - 1
        self._reduced = self.reduce(self._reduced + self.results[:-1])
        self.results = self.results[-1:]

    def drop_results(self) -> None:
        """Start afresh, after a pass that failed before :meth:`evaluate`."""
        self.results, self._reduced, self._num_entries = [], [], 0

    def evaluate(self, size: int) -> dict[str, Any]:
        """Compute the metric over the samples of all ranks, then clear the results.

        All ranks must call it.

        Args:
            size: Number of samples of the dataset; entries beyond it are the sampler's repetitions.

        Returns:
            The numbers, by name with prefix, on every rank.

        Raises:
            Exception: Whatever ``compute_metrics`` raises, on rank 0.
            TypeError: On rank 0, if ``compute_metrics`` gives no mapping.
            RuntimeError: On the other ranks, if rank 0 fails. The message holds its traceback.
        """
        if not self.results:
            print_log(
                f'{type(self).__name__} has no results to evaluate on this rank. Its process '
                'method should append them to self.results.',
                logger='current',
                level=logging.WARNING,
            )
        try:
            if _reduces(type(self)):
                results = self._collect_reduced(size)
            else:
                results = collect_results(to_cpu(self.results), size, self.collect_device)
            return self._share_from_rank_0(results)
        finally:
            self.drop_results()

    def _collect_reduced(self, size: int) -> list[Any] | None:
        rank, world_size = get_data_parallel_info()
        own = self._num_entries + len(self.results)
        # As the samplers deal them out: entry k of this rank is sample rank + k * world_size.
        surplus = max(own - len(range(rank, size, world_size)), 0) if size > 0 else 0
        kept = self.results[: max(len(self.results) - surplus, 0)]
        parts = gather_object(to_cpu(self.reduce(self._reduced + kept)))
        # Ranks that compute one batch together have the same results.
        return None if parts is None else [e for part in of_data_ranks(parts) for e in part]

    def _share_from_rank_0(self, results: list[Any] | None) -> dict[str, Any]:
        """Compute the values on the rank that has ``results``, and send them to every rank.

        A failure is an outcome too: nobody is left waiting.
        """
        outcome: list[Any] = [None, None]
        failure: Exception | None = None
        if results is not None:
            try:
                outcome[0] = self._named_metrics(results)
            except Exception as error:
                failure = error
                outcome[1] = traceback.format_exc()
        broadcast_object_list(outcome)
        if failure is not None:
            raise failure
        metrics, text = outcome
        if text is not None:
            raise RuntimeError(f'{type(self).__name__} failed on rank 0.\n\n{text}')
        return cast('dict[str, Any]', metrics)

    def _named_metrics(self, results: list[Any]) -> dict[str, Any]:
        metrics = self.compute_metrics(results)
        if not isinstance(metrics, Mapping):
            raise TypeError(
                f'{type(self).__name__}.compute_metrics must return a dict of values by name '
                f'(empty if there are none), got {type(metrics).__name__}.'
            )
        if not self.prefix:
            return dict(metrics)
        return {f'{self.prefix}/{name}': value for name, value in metrics.items()}


@cache
def _reduces(metric: type[BaseMetric]) -> bool:
    """Whether a class overrides :meth:`BaseMetric.reduce`, and not for another purpose."""
    own: Any = metric.reduce
    if own is BaseMetric.reduce or not callable(own):
        return False
    return list(signature(own).parameters) == ['self', 'results']


@METRICS.register_module()
class DumpResults(BaseMetric):
    """Write the predictions of the whole dataset into one pickle file.

    Their order is the order of entries of any :class:`BaseMetric`. Rank 0 writes the file when the
    evaluation ends, whole or not at all.

    Args:
        out_file_path: The file, ending in ``.pkl`` or ``.pickle``; its folders are made.
        collect_device: As in :class:`BaseMetric`.
        collect_dir: As in :class:`BaseMetric`.

    Raises:
        ArgumentError: If the file has another ending.
    """

    def __init__(
        self, out_file_path: str, collect_device: str = 'cpu', collect_dir: str | None = None
    ) -> None:
        super().__init__(collect_device=collect_device, collect_dir=collect_dir)
        if not str(out_file_path).endswith(('.pkl', '.pickle')):
            raise ArgumentError(
                'DumpResults writes pickle files, ending in .pkl or .pickle; got '
                f'{out_file_path!r}.'
            )
        self.out_file_path = out_file_path

    def process(self, data_batch: Any, predictions: Sequence[dict[str, Any]]) -> None:
        """Keep the predictions in host memory. A whole dataset of them could fill the device."""
        self.results.extend(to_cpu(predictions, compact=True))

    def compute_metrics(self, results: list[Any]) -> dict[str, Any]:
        """Write the file. Returns no values."""
        dump(results, self.out_file_path)
        print_log(
            f'The predictions of {len(results)} samples are in {self.out_file_path}',
            logger='current',
        )
        return {}
