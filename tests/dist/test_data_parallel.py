"""The places of ranks that read different data."""

from __future__ import annotations

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch

from mmengine.dist import all_reduce, collect_results
from mmengine.dist._data_parallel import (
    get_data_parallel_group,
    get_data_parallel_info,
    is_first_of_batch,
    of_data_ranks,
    set_ranks_per_batch,
)
from mmengine.evaluator._torch_metric import _sum_over_data_ranks
from mmengine.testing._internal.distributed import run_distributed


@pytest.fixture(autouse=True)
def _one_rank_per_batch() -> Iterator[None]:
    yield
    set_ranks_per_batch(1)


def _places(rank: int, world_size: int) -> object:
    set_ranks_per_batch(2)
    total = torch.tensor(10**rank)
    all_reduce(total, group=get_data_parallel_group())
    assert get_data_parallel_group() is get_data_parallel_group()
    metrics = {'one': SimpleNamespace(), 'two': SimpleNamespace()}
    _sum_over_data_ranks(metrics)
    assert all(one.process_group is get_data_parallel_group() for one in metrics.values())
    first, number = is_first_of_batch(), get_data_parallel_info()[0]
    # Sample 3 fills up the second part.
    results = collect_results([number, number + 2], 3)
    set_ranks_per_batch(1)
    return (number, first, int(total), results, get_data_parallel_info())


@pytest.mark.distributed
def test_two_ranks_of_four_read_the_same_data() -> None:
    # Ranks 0 and 2, and ranks 1 and 3, have the same place in a batch.
    assert run_distributed(_places, 4) == [
        (0, True, 101, [0, 1, 2], (0, 4)),
        (0, False, 1010, None, (1, 4)),
        (1, True, 101, None, (2, 4)),
        (1, False, 1010, None, (3, 4)),
    ]


def test_one_process_reads_all_data() -> None:
    set_ranks_per_batch(2)
    assert get_data_parallel_info() == (0, 1)
    assert is_first_of_batch()
    assert get_data_parallel_group() is None
    assert of_data_ranks(['own']) == ['own']


def test_values_of_all_ranks_become_one_for_each_batch() -> None:
    set_ranks_per_batch(2)
    assert of_data_ranks('abcdef') == ['a', 'c', 'e']
