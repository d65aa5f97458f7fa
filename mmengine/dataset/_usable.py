"""What keeps an object or a class from being the dataset of a dataloader."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch.utils.data import Dataset, IterableDataset

from mmengine.config.config_dict import raw_items
from mmengine.config.lazy import built
from mmengine.registry import DATA_SAMPLERS


def fault_of(dataset: Any, *, is_counted: bool = True) -> str | None:
    """A sentence that says why ``dataset`` is not a dataset; None if it is one.

    Args:
        dataset: What a dataloader was given as its dataset.
        is_counted: Whether the order of the samples is made from their number.
    """
    if dataset is None:
        return 'dataset is None.'
    if isinstance(dataset, str):
        return f'dataset is the text {dataset!r}. Write dict(type={dataset!r}, ...) to build it.'
    if isinstance(dataset, type):
        name = dataset.__name__
        return (
            f'dataset is the class {name}, not an object of it. Write {name}(...), or '
            f'dict(type={name}, ...) in a config.'
        )
    return fault_of_class(type(dataset), is_counted=is_counted)


def fault_of_class(kind: type, *, is_counted: bool = True) -> str | None:
    """The same for the objects of a class."""
    if issubclass(kind, IterableDataset):
        return None
    name = kind.__name__
    has_samples = getattr(kind, '__getitem__', None) not in (None, Dataset.__getitem__)
    if not has_samples and not hasattr(kind, '__getitems__'):
        hint = (
            ' A stream derives from torch.utils.data.IterableDataset.'
            if hasattr(kind, '__iter__')
            else ''
        )
        return f'{name} has no __getitem__(index), which returns a sample.{hint}'
    if is_counted and not hasattr(kind, '__len__'):
        return (
            f'{name} has no __len__(), the number of its samples, from which their order is made. '
            'A stream without a length derives from torch.utils.data.IterableDataset.'
        )
    return None


def is_counted(loader: Mapping[Any, Any]) -> bool:
    """Whether the samplers of a dataloader config make an order from the number of samples.

    A custom sampler may do without it.
    """
    given = dict(raw_items(loader))
    for sampler in (given.get('sampler'), given.get('batch_sampler')):
        if sampler is None:
            continue
        kind = dict(raw_items(sampler)).get('type') if isinstance(sampler, Mapping) else None
        try:
            kind = DATA_SAMPLERS.get(kind) if isinstance(kind, str) else built(kind)
        except ImportError:  # told where it is built
            return False
        if not getattr(kind, '__module__', '').startswith('mmengine.'):
            return False
    return True
