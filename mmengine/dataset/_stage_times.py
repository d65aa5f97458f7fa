"""Where the time of loading goes: each transform, reading, and joining samples to a batch.

Nothing is measured until somebody asks. Then the workers add up their times in the memory that they
share with the main process, until the measuring is turned off.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter_ns
from typing import Any

from mmengine.dataset._loading_record import NUM_STAGES, LoadingRecord
from mmengine.dataset._transform_places import TransformPlace, transform_places

# Numbers of a worker: samples, their time, batches, their time in collate; then transforms.
_SAMPLES, _LOADING, _BATCHES, _COLLATE, _TRANSFORMS = 0, 1, 2, 3, 4
_MAX_TRANSFORMS = NUM_STAGES - _TRANSFORMS


@dataclass(frozen=True)
class StageTimes:
    """Mean seconds of the stages.

    Attributes:
        num_samples: How many samples were measured.
        sample_s: Loading a sample, all stages.
        collate_s: Joining the samples of a batch.
        stages: Parts of ``sample_s``, by name: transforms, and what is left for reading.
    """

    num_samples: int
    sample_s: float
    collate_s: float
    stages: dict[str, float]

    @classmethod
    def of(cls, record: LoadingRecord) -> StageTimes | None:
        """What was measured so far; None if that is nothing."""
        numbers = record.stage_times()
        samples, batches = numbers[_SAMPLES], numbers[_BATCHES]
        if not samples:
            return None
        stages: dict[str, float] = {}
        rest = numbers[_LOADING]
        for place, spent in zip(_places(record.dataset), numbers[_TRANSFORMS:], strict=False):
            stages[place.name] = stages.get(place.name, 0.0) + spent / samples / 1e9
            rest -= spent
        stages[f'reading in {type(record.dataset).__name__}'] = max(rest, 0) / samples / 1e9
        collate_s = numbers[_COLLATE] / batches / 1e9 if batches else 0.0
        return cls(samples, numbers[_LOADING] / samples / 1e9, collate_s, stages)


def timed_reading(
    read: Callable[[Any], Any], dataset: Any, record: LoadingRecord
) -> Callable[[Any], Any]:
    """``read``, which adds the times of a sample and of its transforms to ``record``."""
    places = _places(dataset)

    def load(index: Any) -> Any:
        kept = [place.get() for place in places]
        for number, (place, transform) in enumerate(zip(places, kept, strict=True)):
            place.put(_Timed(transform, record, _TRANSFORMS + number))
        begun = perf_counter_ns()
        try:
            return read(index)
        finally:
            record.add_time(_LOADING, perf_counter_ns() - begun)
            record.add_time(_SAMPLES, 1)
            for place, transform in zip(places, kept, strict=True):
                place.put(transform)

    return load


def timed_collate(collate_fn: Callable[[Any], Any], record: LoadingRecord, samples: Any) -> Any:
    """``collate_fn(samples)``, whose time is added to ``record``."""
    begun = perf_counter_ns()
    batch = collate_fn(samples)
    record.add_time(_COLLATE, perf_counter_ns() - begun)
    record.add_time(_BATCHES, 1)
    return batch


class _Timed:
    """A transform that notes how long its calls take, and is otherwise what it was."""

    def __init__(self, transform: Any, record: LoadingRecord, number: int) -> None:
        self._transform = transform
        self._record = record
        self._number = number

    @property  # type: ignore[misc]  # read only
    def __class__(self) -> Any:
        return type(vars(self)['_transform'])

    def __getattr__(self, name: str) -> Any:
        return getattr(vars(self)['_transform'], name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        begun = perf_counter_ns()
        try:
            return self._transform(*args, **kwargs)
        finally:
            self._record.add_time(self._number, perf_counter_ns() - begun)


def _places(dataset: Any) -> list[TransformPlace]:
    """The transforms for which a worker has a number."""
    return transform_places(dataset)[:_MAX_TRANSFORMS]
