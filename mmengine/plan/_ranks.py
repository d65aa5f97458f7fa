"""One process in the place of rank 0 of many: a process group that sends nothing."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import torch.distributed as dist

from mmengine.dist._data_parallel import set_ranks_per_batch
from mmengine.utils.errors import ArgumentError


@contextmanager
def rank_0_of(world_size: int, ranks_per_node: int) -> Iterator[None]:
    """Context in which this process is rank 0 of ``world_size`` ranks that do not exist.

    Raises:
        ArgumentError: If this process is in a process group.
    """
    if dist.is_initialized():
        raise ArgumentError(
            'A plan makes a process group of ranks that do not exist, but this process has joined '
            'a real one. Call it in a process of its own.'
        )
    if world_size == 1:
        yield
        return
    from torch.testing._internal.distributed.fake_pg import FakeStore

    environment = {
        'RANK': '0', 'LOCAL_RANK': '0',
        'WORLD_SIZE': str(world_size), 'LOCAL_WORLD_SIZE': str(ranks_per_node),
    }  # fmt: skip
    before = {name: os.environ.get(name) for name in environment}
    os.environ.update(environment)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        dist.init_process_group('fake', store=FakeStore(), rank=0, world_size=world_size)
    try:
        yield
    finally:
        dist.destroy_process_group()
        set_ranks_per_batch(1)
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
