"""One rank of the check of collectives, a process: ``python -m mmengine.doctor._rank``."""

from __future__ import annotations

import json
import sys
import time
from datetime import timedelta

import torch
import torch.distributed as dist

_NUMBERS = 1 << 20
_ROUNDS = 5


def main(backend: str, rank: int, world_size: int, file: str, timeout_s: float) -> None:
    """Sum numbers over the ranks; rank 0 prints whether the sum is right, and the seconds of one.

    Args:
        backend: 'gloo' or 'nccl'.
        rank: The rank.
        world_size: The number of ranks.
        file: Where they meet.
        timeout_s: How long a rank waits for the others.
    """
    device = torch.device('cuda', rank) if backend == 'nccl' else torch.device('cpu')
    if device.type == 'cuda':
        torch.cuda.set_device(device)
    dist.init_process_group(
        backend, init_method=f'file://{file}', rank=rank, world_size=world_size,
        timeout=timedelta(seconds=timeout_s),
    )  # fmt: skip
    numbers = torch.full((_NUMBERS,), float(rank + 1), device=device)
    dist.all_reduce(numbers)
    is_right = bool((numbers == world_size * (world_size + 1) / 2).all())
    begun = time.perf_counter()
    for _ in range(_ROUNDS):
        dist.all_reduce(numbers)
    float(numbers[0])  # waits for the device
    seconds = (time.perf_counter() - begun) / _ROUNDS
    dist.destroy_process_group()
    if rank == 0:
        print(json.dumps({'is_right': is_right, 'seconds': seconds, 'bytes': 4 * _NUMBERS}))


if __name__ == '__main__':
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4], float(sys.argv[5]))
