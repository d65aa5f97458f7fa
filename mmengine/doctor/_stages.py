"""How long each stage of the loading of a sample takes, in this process and one worker."""

from __future__ import annotations

import itertools
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from torch.utils.data import DataLoader, Dataset, IterableDataset

from mmengine.dataset._transform_places import TransformPlace, transform_places

READ, COLLATE, SEND = 'read', 'collate', 'send to the main process'


def stages_of(loader: DataLoader[Any], budget_s: float) -> dict[str, float]:
    """Seconds of a sample by stage: reading it, each transform by its name, collating.

    Workers also send it to the main process.

    Args:
        loader: A dataloader. It is not iterated; its dataset is used in this process.
        budget_s: About how long to measure.

    Raises:
        ValueError: If the dataset has no samples.
    """
    seconds: dict[str, float] = defaultdict(float)
    number, batch, num_batches = 0, None, 0
    deadline = time.perf_counter() + budget_s
    with _timed(loader.dataset, seconds) as in_transforms:
        for load in _loads(loader):
            begun, before = time.perf_counter(), in_transforms()
            samples = load()
            loaded = time.perf_counter()
            if not samples:
                break
            batch = loader.collate_fn(samples) if _has_batches(loader) else samples[0]
            seconds[READ] += loaded - begun - (in_transforms() - before)
            seconds[COLLATE] += time.perf_counter() - loaded
            number, num_batches = number + len(samples), num_batches + 1
            if time.perf_counter() > deadline:
                break
    if not number:
        raise ValueError(f'{type(loader.dataset).__name__} has no samples.')
    found = {name: value / number for name, value in seconds.items()}
    if loader.num_workers:
        found[SEND] = _sending(batch, budget_s / 2) * num_batches / number
    return found


def _loads(loader: DataLoader[Any]) -> Iterator[Callable[[], list[Any]]]:
    """What a worker does for a batch before it collates, batch by batch."""
    dataset: Any = loader.dataset
    if isinstance(dataset, IterableDataset):
        samples, size = iter(dataset), loader.batch_size or 1
        while True:
            yield lambda: list(itertools.islice(samples, size))
    for indices in loader.batch_sampler or ([index] for index in loader.sampler):
        yield partial(_samples, dataset, indices, _has_batches(loader))


def _samples(dataset: Any, indices: list[Any], is_batch: bool) -> list[Any]:
    if is_batch and hasattr(dataset, '__getitems__'):
        found: list[Any] = dataset.__getitems__(indices)
        return found
    return [dataset[index] for index in indices]


def _has_batches(loader: DataLoader[Any]) -> bool:
    return loader.batch_size is not None or loader.batch_sampler is not None


@contextmanager
def _timed(dataset: Any, seconds: dict[str, float]) -> Iterator[Callable[[], float]]:
    """Context in which the transforms of a dataset add their time to ``seconds``, by name."""
    names: dict[str, int] = {}

    def timed(place: TransformPlace) -> Callable[..., Any]:
        transform, name = place.get(), f'transform {place.name}'
        names[name] = names.get(name, 0) + 1
        if names[name] > 1:
            name = f'{name} ({names[name]})'
        seconds[name] = 0.0

        def call(*args: Any, **kwargs: Any) -> Any:
            begun = time.perf_counter()
            try:
                return transform(*args, **kwargs)
            finally:
                seconds[name] += time.perf_counter() - begun

        return call

    with ExitStack() as put_back:
        for place in transform_places(dataset):
            put_back.callback(place.put, place.get())
            place.put(timed(place))
        yield lambda: sum(seconds[name] for name in seconds if name not in (READ, COLLATE))


class _Ready(Dataset[Any]):
    """The same batch again and again."""

    def __init__(self, batch: Any) -> None:
        self._batch = batch

    def __len__(self) -> int:
        return 1_000_000

    def __getitem__(self, index: int) -> Any:
        return self._batch


def _sending(batch: Any, budget_s: float) -> float:
    """Seconds that a batch takes from a worker to this process."""
    batches = iter(DataLoader(_Ready(batch), batch_size=None, num_workers=1))
    for _ in range(3):
        next(batches)
    begun, number = time.perf_counter(), 0
    while time.perf_counter() - begun < budget_s:
        next(batches)
        number += 1
    return (time.perf_counter() - begun) / number
