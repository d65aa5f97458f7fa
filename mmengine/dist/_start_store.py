"""The store of one start of the ranks, within the store that the agents of torchrun keep.

When the agents start the ranks again, they pass on the same store, in which everything is left
that the ranks before have written, such as the addresses of dead processes. So the ranks of a start
agree on a prefix that nobody has used:

1. Rank 0 draws the prefix. Each other rank draws a name, and writes it to the key of its rank.
2. Rank 0 reads these keys again and again, and answers each name with the prefix. It may read the
   name of a dead process, whose answer nobody reads.
3. A rank with an answer counts itself under the prefix. Rank 0 goes on when all have.
"""

from __future__ import annotations

import datetime
import os
import time
import uuid
from time import monotonic
from typing import Any

import torch.distributed as torch_dist
from torch.distributed.constants import default_pg_timeout

_KEY = 'mmengine/start'
_POLL_S = 0.02


def store_of_start(
    rank: int, world_size: int, host: str, port: int, timeout: datetime.timedelta | None
) -> Any:
    """A store that has nothing of earlier starts; None if no agent keeps the store.

    Raises:
        RuntimeError: If a rank does not come in time.
    """
    if os.environ.get('TORCHELASTIC_USE_AGENT_STORE') != 'True':
        return None
    timeout = timeout or default_pg_timeout
    tcp_store: Any = torch_dist.TCPStore  # type: ignore[attr-defined]  # not listed in its stubs
    prefix_store: Any = torch_dist.PrefixStore  # type: ignore[attr-defined]  # not listed either
    store = tcp_store(host, port, world_size, False, timeout)
    deadline = monotonic() + timeout.total_seconds()
    if rank == 0:
        prefix = _answer_all(store, world_size, deadline)
    else:
        prefix = _ask(store, rank, deadline)
    return prefix_store(f'{_KEY}/{prefix}', store)


def _answer_all(store: Any, world_size: int, deadline: float) -> str:
    prefix = uuid.uuid4().hex
    answered: set[str] = set()
    while store.add(f'{_KEY}/{prefix}/came', 0) < world_size - 1:
        for rank in range(1, world_size):
            key = f'{_KEY}/name/{rank}'
            name = store.get(key).decode() if store.check([key]) else ''
            if name and name not in answered:
                answered.add(name)
                store.set(f'{_KEY}/answer/{name}', prefix)
        _pause(deadline, 'Not all ranks came to the process group in time.')
    return prefix


def _ask(store: Any, rank: int, deadline: float) -> str:
    name = uuid.uuid4().hex
    store.set(f'{_KEY}/name/{rank}', name)
    key = f'{_KEY}/answer/{name}'
    while not store.check([key]):
        _pause(deadline, 'Rank 0 did not come to the process group in time.')
    prefix: str = store.get(key).decode()
    store.add(f'{_KEY}/{prefix}/came', 1)
    return prefix


def _pause(deadline: float, message: str) -> None:
    if monotonic() > deadline:
        raise RuntimeError(message)
    time.sleep(_POLL_S)
