"""One batch for a plan: of a sample of the dataset, or of described tensors."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from mmengine.plan._model import explained
from mmengine.runner._batch_position import batch_size_of, is_endless, samples_of_rank
from mmengine.utils.errors import ArgumentError

Shapes = Mapping[str, Any]


class DescribedDataset(Dataset[dict[str, Tensor]]):
    """Samples of given shapes that contain zeros.

    Args:
        shapes: By the keys of a sample: a shape, or a pair of a shape and a dtype. A text is
            ``'3,224,224'``, ``'3,224,224:uint8'`` or, for a number, ``':int64'``.
        num_samples: The length.
    """

    def __init__(self, shapes: Shapes, num_samples: int) -> None:
        self._shapes = {name: _parse_shape(name, shape) for name, shape in shapes.items()}
        self._num_samples = num_samples

    def __len__(self) -> int:
        return self._num_samples

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        if not 0 <= index < self._num_samples:
            raise IndexError(index)
        return {
            name: torch.zeros(size, dtype=dtype) for name, (size, dtype) in self._shapes.items()
        }


def described_dataloader(
    dataloader: Any, shapes: Shapes | None, num_samples: int | None, needed: int | None
) -> Any:
    """The config of a dataloader that starts no workers, with another dataset where described.

    Args:
        dataloader: A dataloader or its config.
        shapes: See :class:`DescribedDataset`; None keeps the dataset.
        num_samples: Length of the described dataset; None means the length of the real one.
        needed: Samples of a run that counts iterations, for a dataset whose length is unknown.

    Raises:
        ArgumentError: If a dataset is described whose length is not known.
    """
    if isinstance(dataloader, DataLoader):
        if shapes is None:
            return dataloader
        kept = {'batch_size': batch_size_of(dataloader), 'drop_last': dataloader.drop_last}
        dataloader = {**kept, 'dataset': dataloader.dataset}
    without = ('num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory')
    config = {key: value for key, value in dataloader.items() if key not in without}
    if shapes is None:
        return config
    if num_samples is None:
        num_samples = needed or _length_of(config['dataset'])
    config.setdefault('collate_fn', {'type': 'default_collate'})
    return {**config, 'dataset': DescribedDataset(shapes, num_samples)}


def largest_batch(dataloader: Any) -> int | None:
    """Samples of the largest batch of a rank; None if that is not known.

    A pass of a rank may have fewer samples than ``batch_size``.
    """
    size, samples = batch_size_of(dataloader), samples_of_rank(dataloader)
    if size is None or samples is None or is_endless(dataloader):
        return size
    return min(size, samples)


def batch_of(dataloader: DataLoader[Any]) -> Any:
    """A batch of the largest size, which repeats the first sample.

    Raises:
        ArgumentError: If the sample cannot be loaded.
    """
    size = largest_batch(dataloader) or _size_of_first_batch(dataloader)
    try:
        dataset: Any = dataloader.dataset
        # torch gives a stream a `__getitem__` too, which raises.
        is_stream = isinstance(dataset, IterableDataset) or not hasattr(dataset, '__getitem__')
        sample = next(iter(dataset)) if is_stream else dataset[0]
        batch = dataloader.collate_fn([copy.deepcopy(sample) for _ in range(size)])
    except Exception as error:
        raise cannot_load('A sample of the training data', error) from error
    return batch


def cannot_load(what: str, error: Exception) -> ArgumentError:
    """The error for data that is not on this machine."""
    return ArgumentError(
        f'{what} cannot be loaded: {explained(error)} Describe a sample instead: --shape '
        'inputs=3,224,224 label=:int64 --num-samples 50000, or shapes and num_samples.'
    )


def with_fake_tensors(batch: Any, mode: Any) -> Any:
    """``batch`` with its tensors in lists, tuples and dicts as fake ones; None keeps numbers."""
    if mode is None:
        return batch
    if isinstance(batch, Tensor):
        return mode.from_tensor(batch)
    if isinstance(batch, Mapping):
        changed = copy.copy(batch)
        for key in batch:
            changed[key] = with_fake_tensors(batch[key], mode)  # type: ignore[index]  # a dict
        return changed
    if isinstance(batch, (list, tuple)):
        parts = [with_fake_tensors(part, mode) for part in batch]
        return type(batch)(*parts) if hasattr(batch, '_fields') else type(batch)(parts)
    return batch


def tensors_in(batch: Any) -> list[Tensor]:
    """The tensors in lists, tuples and dicts."""
    if isinstance(batch, Tensor):
        return [batch]
    parts: Sequence[Any] = list(batch.values()) if isinstance(batch, Mapping) else ()
    if isinstance(batch, (list, tuple)):
        parts = batch
    return [tensor for part in parts for tensor in tensors_in(part)]


def _parse_shape(name: str, shape: Any) -> tuple[tuple[int, ...], torch.dtype]:
    if isinstance(shape, str):
        sizes, _, dtype = shape.partition(':')
        shape = (tuple(sizes.split(',')) if sizes.strip() else (), dtype.strip() or 'float32')
    elif isinstance(shape, int):
        shape = ((shape,), 'float32')
    elif all(isinstance(size, int) for size in shape):
        shape = (shape, 'float32')
    sizes, dtype = shape
    found = getattr(torch, str(dtype).removeprefix('torch.'), None)
    try:
        parsed = tuple(int(size) for size in sizes)
    except ValueError:
        parsed = (-1,)
    if not isinstance(found, torch.dtype) or any(size < 1 for size in parsed):
        raise ArgumentError(
            f"The shape of {name} should look like '3,224,224', '3,224,224:uint8' or ':int64'; got "
            f'{shape!r}.'
        )
    return parsed, found


def _length_of(dataset: Any) -> int:
    from mmengine.runner._build import _build_dataset

    try:
        return len(_build_dataset(dataset))
    except Exception as error:
        raise ArgumentError(
            'The length of the training data is not known here: '
            f'{explained(error)} Pass --num-samples, or num_samples.'
        ) from error


def _size_of_first_batch(dataloader: DataLoader[Any]) -> int:
    sampler: Any = dataloader.batch_sampler
    return len(next(iter(sampler))) if sampler is not None else 1
