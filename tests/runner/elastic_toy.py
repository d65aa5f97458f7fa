"""A run that notes which samples it saw in which random state, alone or on several ranks."""

from __future__ import annotations

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.utils.data import BatchSampler, Dataset, Sampler

from mmengine.dist import get_dist_info
from mmengine.model import BaseModel
from mmengine.registry import DATA_SAMPLERS
from mmengine.runner import Runner


class Augmented(Dataset):
    """Each sample is its index, a draw of each generator, and one of its own generator."""

    def __init__(self, length: int) -> None:
        self.length = length
        self.rng = np.random.default_rng()

    def seed_sample(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict[str, Any]:
        draws = [
            random.getrandbits(31),
            int(np.random.randint(2**31)),
            int(torch.randint(2**31, ())),
            int(self.rng.integers(2**31)),
        ]
        return {'x': torch.tensor([float(index)]), 'sample': torch.tensor([index, *draws])}


class Seeing(BaseModel):
    """One weight; ``seen`` has the samples of each batch that it was trained on."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(1, 1)
        self.seen: list[list[tuple[int, ...]]] = []

    def forward(self, x: Any, sample: Any, mode: str = 'tensor') -> Any:
        if mode == 'loss':
            self.seen.append([tuple(row.tolist()) for row in sample])
            return {'loss': self.linear(torch.stack(list(x)) * 0.01).square().mean()}
        return list(sample)


@DATA_SAMPLERS.register_module(name='ToyInTurn', force=True)
class InTurn(Sampler):
    """A sampler of a project: ranks take turns; no skip and no start_at."""

    def __init__(self, dataset: Any, seed: int = 0) -> None:
        self.length, self.epoch = len(dataset), 0
        self.rank, self.world_size = get_dist_info()

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Any:
        generator = torch.Generator().manual_seed(self.epoch)
        order = torch.randperm(self.length, generator=generator).tolist()
        return iter(order[self.rank :: self.world_size])

    def __len__(self) -> int:
        return len(range(self.rank, self.length, self.world_size))


@DATA_SAMPLERS.register_module(name='ToyOwnBatches', force=True)
class OwnBatches(BatchSampler):
    """A batch sampler of a project."""

    def __init__(self, sampler: Any, batch_size: int, drop_last: bool = False) -> None:
        super().__init__(sampler, batch_size, drop_last)


def train(work_dir: Path | str, batch_size: int, **changes: Any) -> list[Any]:
    """Train the run of :func:`make`, and return ``seen``."""
    model = Seeing()
    make(work_dir, batch_size, model=model, **changes).train()
    return model.seen


def make(work_dir: Path | str, batch_size: int, **changes: Any) -> Runner:
    """A run with a :class:`Seeing` model.

    Args:
        work_dir: Of the run.
        batch_size: Of a rank.
        changes: ``length``, ``epochs``, ``iters``, ``save``, ``loader`` (of the dataloader) and
            arguments of the runner.
    """
    length, epochs = changes.pop('length', 16), changes.pop('epochs', 2)
    iters = changes.pop('iters', None)
    loader = {
        'dataset': Augmented(length),
        'batch_size': batch_size,
        'sampler': {'type': 'DefaultSampler', 'shuffle': True},
        **changes.pop('loader', {}),
    }
    by_epoch = iters is None
    train_cfg = {'by_epoch': by_epoch, 'max_epochs' if by_epoch else 'max_iters': iters or epochs}
    save = {'type': 'CheckpointHook', 'by_epoch': False, 'interval': changes.pop('save', 1)}
    return Runner(
        changes.pop('model', None) or Seeing(),
        str(work_dir),
        train_dataloader=changes.pop('train_dataloader', loader),
        default_hooks={'checkpoint': save, 'logger': None},
        **{
            'train_cfg': train_cfg,
            'optim_wrapper': {'optimizer': {'type': 'SGD', 'lr': 0.1}},
            'randomness': {'seed': 3},
            'log_level': 'ERROR',
            **changes,
        },
    )


def flat(batches: Iterable[list[Any]]) -> list[Any]:
    """The samples of all batches, in order."""
    return [sample for batch in batches for sample in batch]


def joined(of_ranks: list[list[Any]]) -> list[list[Any]]:
    """The global batches, each sorted, from those of the ranks."""
    return [sorted(flat(parts)) for parts in zip(*of_ranks, strict=True)]
