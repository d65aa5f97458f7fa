"""Which sample each rank sees when.

The order is a pure function of the seed, the epoch and the position in it, so a resumed run steps
to its place by arithmetic (``skip``) and reads nothing twice.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sized

import numpy as np
import torch
from torch.utils.data import Sampler

from mmengine.dist import get_dist_info, sync_random_seed
from mmengine.registry import DATA_SAMPLERS
from mmengine.utils.errors import ArgumentError


class _RankSampler(Sampler[int]):
    """What the samplers share: rank, seed, a shuffled order, and the samples to skip once."""

    _num_skipped = 0
    _first_position = 0

    def __init__(self, dataset: Sized, shuffle: bool, seed: int | None) -> None:
        self.rank, self.world_size = get_dist_info()
        self.dataset = dataset
        self.shuffle = shuffle
        if seed is None:
            seed = sync_random_seed()
        elif isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
            raise TypeError(f'seed must be a whole number or None, got {type(seed).__name__}.')
        self.seed = int(seed)

    def skip(self, num_samples: int) -> None:
        """Let the next iteration, and only that, start ``num_samples`` samples of this rank later.

        Raises:
            ArgumentError: If ``num_samples`` is negative.
        """
        if num_samples < 0:
            raise ArgumentError(f'A sampler skips 0 samples or more, got {num_samples}.')
        self._num_skipped = num_samples

    def start_at(self, position: int) -> None:
        """Let the next iteration, and only that, start at ``position`` of the order of all ranks.

        The ranks take turns from there on, however many of them there were before.

        Raises:
            ArgumentError: If ``position`` is negative.
        """
        if position < 0:
            raise ArgumentError(f'A sampler starts at position 0 or later, got {position}.')
        self._first_position = position

    def _take_start(self) -> int:
        """Where the ranks begin to take turns in the iteration that begins."""
        start = self._first_position + self._num_skipped * self.world_size
        self._first_position = self._num_skipped = 0
        return start

    def _order(self, length: int, seed: int) -> torch.Tensor:
        if not self.shuffle:
            return torch.arange(length)
        return torch.randperm(length, generator=torch.Generator().manual_seed(seed))


@DATA_SAMPLERS.register_module()
class DefaultSampler(_RankSampler):
    """One pass over the dataset an epoch, dealt out to the ranks one sample each in turn.

    Args:
        dataset: What is sampled; only its length counts.
        shuffle: Use another order each epoch, the same on all ranks.
        seed: Seed of the order. By default all ranks agree on a random one, so all of them must
            build the sampler.
        round_up: Repeat samples from the start of the order so that all ranks get equally many.
            Without it, the last round leaves some ranks out.

    Raises:
        TypeError: If the seed is no whole number.
    """

    def __init__(
        self,
        dataset: Sized,
        shuffle: bool = True,
        seed: int | None = None,
        round_up: bool = True,
    ) -> None:
        super().__init__(dataset, shuffle, seed)
        self.epoch = 0
        self.round_up = round_up
        length = len(dataset)
        if round_up:
            self.num_samples = math.ceil(length / self.world_size)
            self.total_size = self.num_samples * self.world_size
        else:
            self.num_samples = len(range(self.rank, length, self.world_size))
            self.total_size = length

    def __iter__(self) -> Iterator[int]:
        order = self._order(len(self.dataset), self.seed + self.epoch)
        start = self._take_start()
        end = self.total_size
        if self.round_up and start % self.world_size:
            end = start + math.ceil(max(len(order) - start, 0) / self.world_size) * self.world_size
        mine = torch.arange(min(start + self.rank, end), end, self.world_size)
        if self.round_up and len(order):
            mine %= len(order)
        return iter(order[mine].tolist())

    def __len__(self) -> int:
        """Number of samples of this rank in an epoch."""
        return self.num_samples

    def set_epoch(self, epoch: int) -> None:
        """Choose the order of the next iteration."""
        self.epoch = epoch


@DATA_SAMPLERS.register_module()
class InfiniteSampler(_RankSampler):
    """Samples without end: pass after pass over the dataset, each in a new order.

    Ranks take turns along the endless row, so a pass need not divide by their number and no sample
    is repeated or left out. An iteration starts from the beginning of the row (:meth:`skip` moves
    that).

    Args:
        dataset: What is sampled; only its length counts, and it must not be 0.
        shuffle: Use another order in each pass, the same on all ranks.
        seed: Seed of the orders. By default all ranks agree on a random one, so all of them must
            build the sampler.

    Raises:
        ArgumentError: If the dataset is empty.
        TypeError: If the seed is no whole number.
    """

    is_endless = True
    """One iteration never stops, though ``len`` is that of a pass."""

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None) -> None:
        super().__init__(dataset, shuffle, seed)
        self.size = len(dataset)
        if self.size == 0:
            raise ArgumentError('An empty dataset has no samples to draw without end.')

    def __iter__(self) -> Iterator[int]:
        return self._from(self.rank + self._take_start())

    def __len__(self) -> int:
        """Length of the dataset: of one pass, over all ranks."""
        return self.size

    def set_epoch(self, epoch: int) -> None:
        """Does nothing: the row of samples knows no epochs."""

    def _from(self, position: int) -> Iterator[int]:
        """Every ``world_size``-th sample of the endless row, from ``position`` on."""
        while True:
            number, offset = divmod(position, self.size)
            mine = self._order(self.size, self._seed_of_pass(number))[offset :: self.world_size]
            yield from mine.tolist()
            position += len(mine) * self.world_size

    def _seed_of_pass(self, number: int) -> int:
        if number == 0:
            return self.seed
        # seed + number would give runs with neighbouring seeds the same passes, only shifted.
        mixed = np.random.SeedSequence([self.seed % 2**64, number]).generate_state(1, np.uint64)
        return int(mixed[0] >> np.uint64(1))
