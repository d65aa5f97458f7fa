"""Ranks of each start agree on a part of the store that earlier starts have not written to."""

from __future__ import annotations

import datetime
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch.distributed as torch_dist

from mmengine.dist._start_store import store_of_start

TIMEOUT = datetime.timedelta(seconds=60)


@pytest.fixture
def agent(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The store of an agent."""
    monkeypatch.setenv('TORCHELASTIC_USE_AGENT_STORE', 'True')
    return torch_dist.TCPStore('127.0.0.1', 0, is_master=True, wait_for_workers=False)


def _start(agent: Any, num_ranks: int) -> list[Any]:
    def join(rank: int) -> Any:
        return store_of_start(rank, num_ranks, '127.0.0.1', agent.port, TIMEOUT)

    with ThreadPoolExecutor(num_ranks) as pool:
        return list(pool.map(join, range(num_ranks)))


def test_a_start_finds_nothing_of_the_one_before(agent: Any) -> None:
    for num_ranks in (3, 3, 2, 3, 1):
        stores = _start(agent, num_ranks)
        assert not any(store.check(['address']) for store in stores)
        stores[-1].set('address', str(num_ranks))
        assert [store.get('address') for store in stores] == [str(num_ranks).encode()] * num_ranks


def test_a_rank_that_died_while_it_joined_does_not_count(agent: Any) -> None:
    for rank in (1, 2):
        agent.set(f'mmengine/start/name/{rank}', f'dead {rank}')
    assert len(_start(agent, 3)) == 3


def test_ranks_that_do_not_come_are_an_error(agent: Any) -> None:
    for rank in (0, 1):
        with pytest.raises(RuntimeError, match='process group in time'):
            store_of_start(rank, 2, '127.0.0.1', agent.port, datetime.timedelta(seconds=0.2))


def test_without_an_agent_there_is_no_such_store(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv('TORCHELASTIC_USE_AGENT_STORE', raising=False)
    assert store_of_start(0, 1, '127.0.0.1', 1, None) is None
