"""A batch in parts: what a rank loads for an iteration that used to be shared by more ranks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch.utils.data._utils.pin_memory import pin_memory


@dataclass(frozen=True)
class BatchParts:
    """The batch of one iteration, collated in several parts that are computed one by one.

    Attributes:
        parts: The parts, each as the collate function of the dataloader made it.
        sizes: Samples that count in each part; 0 for a part of samples that count in another one.
    """

    parts: list[Any]
    sizes: list[int]

    def __len__(self) -> int:
        return len(self.parts)

    @property
    def num_samples(self) -> int:
        """Samples of all parts."""
        return sum(self.sizes)

    @property
    def weights(self) -> list[float]:
        """The share of each part in the mean over the samples."""
        return [size / self.num_samples for size in self.sizes]

    def pin_memory(self) -> BatchParts:
        """Called by a dataloader with ``pin_memory``."""
        pinned = [pin_memory(part) for part in self.parts]  # type: ignore[no-untyped-call]  # in torch
        return BatchParts(pinned, self.sizes)


class CollateInParts:
    """Collates the samples of a batch in ``num_parts`` parts of nearly equal size.

    Args:
        collate_fn: Collates one part.
        num_parts: How many parts a batch has. A batch of fewer samples has a part for each sample.
        is_shared: Whether other ranks compute parts at the same time. They may have another number
            of samples at the end of a pass, and exchange something in each part, so a batch of
            fewer samples then has as many parts. The additional ones do not count.
    """

    def __init__(
        self, collate_fn: Callable[[Any], Any], num_parts: int, is_shared: bool = False
    ) -> None:
        self._collate_fn = collate_fn
        self._num_parts = num_parts
        self._is_shared = is_shared

    def __call__(self, samples: Sequence[Any]) -> BatchParts:
        number = min(self._num_parts, len(samples))
        size, larger = divmod(len(samples), number)
        sizes = [size + (part < larger) for part in range(number)]
        begins = [sum(sizes[:part]) for part in range(number)]
        chunks = [samples[begin : begin + n] for begin, n in zip(begins, sizes, strict=True)]
        if self._is_shared:
            missing = self._num_parts - number
            chunks, sizes = chunks + chunks[-1:] * missing, sizes + [0] * missing
        return BatchParts([self._collate_fn(chunk) for chunk in chunks], sizes)
