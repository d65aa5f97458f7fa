"""Random numbers from which a sampler draws the order of a pass, when that is not a formula.

The order of :class:`DefaultSampler` is a function of seed and epoch. The order of a plain
``DataLoader(shuffle=True)`` is drawn when a pass begins, from the generators of the process or from
generators that the dataloader or its samplers keep. A run that is stopped within the pass has to
draw the same order again, so their states at its beginning are part of its position.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler, SequentialSampler

from mmengine.dataset._limited import FirstBatches, FirstIndices
from mmengine.dataset.sampler import DefaultSampler, InfiniteSampler
from mmengine.process.seed import (
    numpy_state,
    python_state,
    rng_state,
    set_numpy_state,
    set_python_state,
    set_rng_state,
)

State = dict[str, Any]
_FORMULAS = (DefaultSampler, InfiniteSampler, DistributedSampler, SequentialSampler)
_WRAPPERS = (BatchSampler, FirstBatches, FirstIndices)


def order_source(dataloader: Any) -> OrderSource | None:
    """What the order of ``dataloader`` is drawn from; None if it is a function of seed and pass."""
    if not isinstance(dataloader, DataLoader):
        return None
    samplers = list(_samplers_of(dataloader))
    if all(type(sampler) in (*_FORMULAS, *_WRAPPERS) for sampler in samplers):
        return None
    return OrderSource([dataloader, *samplers])


class OrderSource:
    """The generators of the process, and those that some objects keep as attributes.

    Args:
        holders: A dataloader and its samplers.
    """

    def __init__(self, holders: list[Any]) -> None:
        self._holders = holders

    def state(self) -> State:
        """The states of all generators now, as tensors and plain values."""
        return {'process': rng_state(), 'kept': self.state_of_kept()}

    def state_of_kept(self) -> list[State]:
        """The states of the generators that the objects keep."""
        return [_state_of(generator) for generator in self._kept()]

    def load(self, state: State) -> None:
        """Restore a result of :meth:`state`."""
        set_rng_state(state['process'])
        self.load_kept(state['kept'])

    def load_kept(self, states: list[State]) -> None:
        """Restore a result of :meth:`state_of_kept`, where there are such generators now."""
        for generator, state in zip(self._kept(), states, strict=False):
            _load(generator, state)

    def _kept(self) -> list[Any]:
        found: list[Any] = []
        for holder in self._holders:
            for value in getattr(holder, '__dict__', {}).values():
                is_generator = isinstance(
                    value,
                    (torch.Generator, np.random.Generator, np.random.RandomState, random.Random),
                )
                if is_generator and all(value is not other for other in found):
                    found.append(value)
        return found


def _samplers_of(dataloader: DataLoader[Any]) -> Iterator[Any]:
    """The batch sampler of ``dataloader``, the sampler in it, and so on."""
    pending = [dataloader.batch_sampler, dataloader.sampler]
    known: set[int] = set()
    for sampler in pending:
        if sampler is not None and id(sampler) not in known:
            known.add(id(sampler))
            yield sampler
            names = ('batch_sampler', 'sampler', getattr(type(sampler), 'PASSES_ON', 'sampler'))
            pending += [getattr(sampler, name, None) for name in names]


def _state_of(generator: Any) -> State:
    if isinstance(generator, torch.Generator):
        return {'torch': generator.get_state()}
    if isinstance(generator, random.Random):
        return {'python': python_state(generator)}
    if isinstance(generator, np.random.RandomState):
        return {'numpy_legacy': numpy_state(generator)}
    return {'numpy': _plain(generator.bit_generator.state)}


def _load(generator: Any, state: State) -> None:
    """Restore a state; one of another kind of generator is left out."""
    if isinstance(generator, torch.Generator) and 'torch' in state:
        generator.set_state(state['torch'])
    elif isinstance(generator, random.Random) and 'python' in state:
        set_python_state(generator, state['python'])
    elif isinstance(generator, np.random.RandomState) and 'numpy_legacy' in state:
        set_numpy_state(generator, state['numpy_legacy'])
    elif isinstance(generator, np.random.Generator):
        saved, bits = state.get('numpy') or {}, generator.bit_generator
        if saved.get('bit_generator') == bits.state['bit_generator']:
            bits.state = saved


def _plain(state: Any) -> Any:
    """The state of a bit generator with lists in place of arrays."""
    if isinstance(state, dict):
        return {key: _plain(value) for key, value in state.items()}
    return state.tolist() if isinstance(state, (np.ndarray, np.generic)) else state
