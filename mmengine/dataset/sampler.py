"""Which rank gets which sample, and in what order.

The order is a pure function of the seed, the epoch and the position in it, so a resumed run
computes where to continue (``skip``) and reads no sample again. :class:`InfiniteSampler` draws all
its passes from one generator, whose state in a checkpoint makes drawing them again unnecessary.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sized
from typing import Any

import numpy as np
import torch
from torch.utils.data import Sampler

from mmengine.dist import sync_random_seed
from mmengine.dist._data_parallel import get_data_parallel_info
from mmengine.registry import DATA_SAMPLERS
from mmengine.utils.errors import ArgumentError

# Data loaders draw ahead of what is used, over many passes where the dataset is small.
_MAX_STATES = 256


class _RankSampler(Sampler[int]):
    """What the samplers share: rank, seed, a shuffled order, and the samples to skip once."""

    _num_skipped = 0
    _first_position = 0

    def __init__(self, dataset: Sized, shuffle: bool, seed: int | None) -> None:
        self.rank, self.world_size = get_data_parallel_info()
        self.dataset = dataset
        self.shuffle = shuffle
        if seed is None:
            seed = sync_random_seed()
        elif isinstance(seed, bool) or not isinstance(seed, (int, np.integer)):
            raise TypeError(f'seed must be an integer or None, got {type(seed).__name__}.')
        self.seed = int(seed)

    def skip(self, num_samples: int) -> None:
        """Let only the next iteration start ``num_samples`` samples of this rank later.

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
    """One pass over the dataset in each epoch; ranks take one sample each in turn.

    Args:
        dataset: The dataset; only its length is used.
        shuffle: Use another order each epoch, the same on all ranks.
        seed: Seed of the order. By default all ranks agree on a random one, so all of them must
            build the sampler.
        round_up: Repeat samples from the start of the order so that all ranks get equally many.
            Without it, the last round leaves some ranks out.

    Raises:
        TypeError: If the seed is not an integer.
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

    One generator draws the orders of all passes, one after the other. Ranks take turns along the
    endless order, so the dataset's length need not be a multiple of their number, and no sample is
    repeated or omitted. An iteration starts at the beginning of the order (:meth:`skip` changes
    that).

    Args:
        dataset: The dataset; only its length is used, which must not be 0.
        shuffle: Use another order in each pass, the same on all ranks.
        seed: Seed of the orders. By default all ranks agree on a random one, so all of them must
            build the sampler.

    Raises:
        ArgumentError: If the dataset is empty.
        TypeError: If the seed is not an integer.
    """

    is_endless = True
    """Iteration never stops, although ``len`` is the length of one pass."""

    def __init__(self, dataset: Sized, shuffle: bool = True, seed: int | None = None) -> None:
        super().__init__(dataset, shuffle, seed)
        self.size = len(dataset)
        if self.size == 0:
            raise ArgumentError('An empty dataset has no samples to draw without end.')
        # By pass: what the generator was before it drew the order of that pass.
        self._generator_states: dict[int, torch.Tensor] = {}

    def __iter__(self) -> Iterator[int]:
        return self._from(self.rank + self._take_start())

    def __len__(self) -> int:
        """Length of the dataset: of one pass, over all ranks."""
        return self.size

    def set_epoch(self, epoch: int) -> None:
        """Does nothing: the endless order of samples has no epochs."""

    def state_dict(self, num_samples: int) -> dict[str, Any]:
        """What :meth:`skip` to ``num_samples`` needs to draw one pass, not all before it.

        Args:
            num_samples: How many samples of this rank are used; more may have been drawn ahead.
        """
        position = num_samples * self.world_size
        known = self._known_pass(position // self.size)
        state: dict[str, Any] = {'seed': self.seed, 'size': self.size, 'pass_number': known}
        if known in self._generator_states:
            state['generator'] = self._generator_states[known].clone()
        return state

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take over what :meth:`state_dict` gave; call :meth:`skip` for the position.

        It makes skipping cheap and changes no order. With another seed or another dataset it is of
        no use, and is left aside.
        """
        fits = (state_dict['seed'], state_dict['size']) == (self.seed, self.size)
        if fits and 'generator' in state_dict:
            self._generator_states[int(state_dict['pass_number'])] = state_dict['generator']

    def _from(self, position: int) -> Iterator[int]:
        """Every ``world_size``-th sample of the endless order, from ``position`` on."""
        number, offset = divmod(position, self.size)
        for order in self._passes_from(number):
            mine = order[offset :: self.world_size]
            yield from mine.tolist()
            offset += len(mine) * self.world_size - self.size

    def _passes_from(self, number: int) -> Iterator[torch.Tensor]:
        if not self.shuffle:
            yield from itertools.repeat(torch.arange(self.size))
        current = self._known_pass(number)
        generator = torch.Generator()
        if current in self._generator_states:
            generator.set_state(self._generator_states[current])
        else:
            generator.manual_seed(self.seed)
        while True:
            self._generator_states[current] = generator.get_state()
            if len(self._generator_states) > _MAX_STATES:
                del self._generator_states[min(self._generator_states)]
            order = torch.randperm(self.size, generator=generator)
            if current >= number:
                yield order
            current += 1

    def _known_pass(self, number: int) -> int:
        """The last pass up to ``number`` that can be drawn without those before it."""
        return max((known for known in self._generator_states if known <= number), default=0)
