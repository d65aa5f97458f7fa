"""The batches of torch's dataloader without the announcement of each of them to profilers.

``next`` of torch's iterators announces the batch with ``record_function``, and takes it from
``_next_data``. While nobody profiles, :func:`direct_batches` calls the latter, which takes half the
time of loading a small batch. The conditions are looked at for every batch, so that a profiler sees
the very next one. A loader in this process that joins samples by ``default_collate`` does it by
:mod:`mmengine.dataset._direct_collate`.

Checked with torch 2.6 and 2.13; with another ``__next__`` the iterators are left as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from torch.utils.data import dataloader as torch_dataloader
from torch.utils.data import default_collate

from mmengine.dataset._direct_collate import direct_collate
from mmengine.utils._recorded import is_recorded
from mmengine.utils._torch_own import codes_of, is_torchs, uses_known_names

_KNOWN_NAMES = {
    '__next__': {
        'torch', 'autograd', 'profiler', 'record_function', '_profile_name', '_sampler_iter',
        '_reset', '_next_data', '_num_yielded', '_dataset_kind', '_DatasetKind', 'Iterable',
        '_IterableDataset_len_called', '_dataset', '_num_workers', 'warnings', 'warn',
    },
}  # fmt: skip

_ITERATOR = torch_dataloader._BaseDataLoaderIter
_NEXT = _ITERATOR.__next__  # as it was at import


def direct_batches(batches: Iterator[Any]) -> Iterator[Any]:
    """``batches`` themselves, or for an iterator of torch the same batches by a shorter way."""
    if not isinstance(batches, _ITERATOR) or not _is_known_torch():
        return batches
    # Of an iterable dataset torch compares the number of batches with a length that it announced.
    if batches._dataset_kind != torch_dataloader._DatasetKind.Map:
        return batches
    fetcher = getattr(batches, '_dataset_fetcher', None)  # None if worker processes fetch
    if fetcher is not None and fetcher.collate_fn is default_collate and is_torchs(default_collate):
        fetcher.collate_fn = direct_collate
    return _DirectBatches(batches)


class _DirectBatches:
    """Takes batches from an iterator of torch."""

    __slots__ = ('_batches',)

    def __init__(self, batches: Any) -> None:
        self._batches = batches

    def __iter__(self) -> _DirectBatches:
        return self

    def __next__(self) -> Any:
        batches = self._batches
        if batches._sampler_iter is None or is_recorded() or type(batches).__next__ is not _NEXT:
            return next(batches)
        batch = batches._next_data()
        batches._num_yielded += 1
        return batch


@cache
def _is_known_torch() -> bool:
    """Whether ``__next__`` of torch's iterators is as in a known version."""
    return uses_known_names(codes_of([_NEXT]), _KNOWN_NAMES)
