"""A stream that does not ask for its rank, divided among ranks: each keeps every n-th sample."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

from torch.utils.data import IterableDataset, get_worker_info


@dataclass(frozen=True)
class Share:
    """What one reader keeps of a stream.

    Attributes:
        source: The stream.
        first: The first sample it keeps.
        step: It keeps every ``step``-th sample from there on.
        longest: The first sample of the reader with the most samples: the same worker of rank 0.
        lane: Readers of one lane draw the same random numbers.
    """

    source: Any
    first: int
    step: int
    longest: int
    lane: int

    def has(self, position: int) -> bool:
        """Whether the sample at ``position`` of the stream is in the share."""
        return (position - self.first) % self.step == 0

    def read_before(self, given: int) -> int:
        """Samples of the stream that were read when ``given`` samples of the share were given."""
        return self.first + (given - 1) * self.step + 1 if given else 0

    def lacks_one(self, length: int) -> bool:
        """Whether a reader of another rank has more of a stream with ``length`` samples."""
        own = len(range(self.first, length, self.step))
        return own < len(range(self.longest, length, self.step))


class SharedStream(IterableDataset[Any]):
    """Gives each rank its part of a stream that every rank reads whole.

    Reading costs as much as before, because a stream cannot leave out a sample without reading it.
    A stream whose samples are expensive should divide its sources by itself.

    Args:
        dataset: The stream.
        rank: The number of this rank among those that read different data.
        num_ranks: How many there are.
        among_workers: Whether the workers of a rank divide its part, because the stream does not
            ask for its worker either.
    """

    def __init__(self, dataset: Any, rank: int, num_ranks: int, among_workers: bool) -> None:
        self.of_user = dataset
        self.rank = rank
        self.num_ranks = num_ranks
        self.among_workers = among_workers

    def __getattr__(self, name: str) -> Any:
        if name.startswith('__') or name == 'of_user':
            raise AttributeError(name)
        return getattr(self.of_user, name)

    def __len__(self) -> int:
        """Samples of one rank; the same on all ranks, as in a training."""
        return -(-len(self.of_user) // self.num_ranks)

    def __iter__(self) -> Iterator[Any]:
        info = get_worker_info()
        worker, workers = (0, 1) if info is None else (info.id, info.num_workers)
        share = self.share(worker, workers)
        return islice(iter(self.of_user), share.first, None, share.step)

    def share(self, worker: int, workers: int) -> Share:
        """The part of a worker of this rank."""
        if not self.among_workers:
            return Share(self.of_user, self.rank, self.num_ranks, 0, worker)
        # Ranks take turns first, so that their parts differ by one sample at most.
        longest = worker * self.num_ranks
        return Share(self.of_user, longest + self.rank, workers * self.num_ranks, longest, 0)


def share_of(stream: Any, rank: int, worker: int, workers: int) -> Share:
    """The part of ``stream`` that a worker gets: all of it, unless it is a shared stream."""
    if isinstance(stream, SharedStream):
        return stream.share(worker, workers)
    return Share(stream, 0, 1, 0, rank * workers + worker)
