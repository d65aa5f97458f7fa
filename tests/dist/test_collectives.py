"""Collective operations on tensors, between two real processes."""

import numpy as np
import pytest
import torch
import torch.distributed as torch_dist

from mmengine import dist
from mmengine.dist.dist import _get_reduce_op
from mmengine.testing._internal.distributed import run_distributed


def test_one_process_keeps_its_data():
    data = torch.arange(3)
    dist.all_reduce(data, 'mean')
    dist.broadcast(data, src=3)
    dist.all_reduce_dict({'a': data})
    dist.all_reduce_params([data])
    assert data.tolist() == [0, 1, 2]
    assert dist.all_gather(data)[0] is data
    assert dist.gather(data)[0] is data


def test_an_unknown_operation_names_the_near_one():
    with pytest.raises(ValueError, match="Did you mean 'product'"):
        _get_reduce_op('produkt')


def _all_reduce(rank, world_size, op, dtype):
    data = torch.tensor([2 * rank, 2 * rank + 1], dtype=dtype)
    dist.all_reduce(data, op)
    return data


@pytest.mark.distributed
@pytest.mark.parametrize(
    ('op', 'dtype', 'expected'),
    [
        # Rank 0 holds [0, 1], rank 1 holds [2, 3].
        ('sum', torch.float32, [2, 4]),
        ('SUM', torch.int64, [2, 4]),
        ('mean', torch.float64, [1, 2]),
        ('mean', torch.int64, [1, 2]),
        ('product', torch.float32, [0, 3]),
        ('min', torch.int32, [0, 1]),
        ('max', torch.float16, [2, 3]),
        ('band', torch.int64, [0, 1]),
        ('bor', torch.int64, [2, 3]),
        ('bxor', torch.int64, [2, 2]),
    ],
)
def test_all_reduce(op, dtype, expected):
    for result in run_distributed(_all_reduce, 2, op, dtype):
        assert result.dtype == dtype
        assert result.tolist() == expected


def _unknown_operation(rank, world_size):
    try:
        dist.all_reduce(torch.ones(1), 'avg')
    except ValueError as error:
        return str(error)


@pytest.mark.distributed
def test_all_reduce_rejects_an_unknown_operation():
    assert all('op must be one of' in text for text in run_distributed(_unknown_operation))


def _awkward_tensors(rank, world_size):
    transposed = torch.arange(6.0).reshape(2, 3).t() + rank
    dist.all_reduce(transposed)
    parameter = torch.nn.Parameter(torch.ones(2) * rank)
    dist.all_reduce(parameter, 'mean')
    sliced = (torch.arange(6) * rank)[::2]
    dist.broadcast(sliced, src=1)
    column = torch.arange(4).reshape(2, 2)[:, rank]
    return transposed, parameter.detach(), sliced, dist.all_gather(column)


@pytest.mark.distributed
def test_tensors_of_any_layout_travel():
    for transposed, parameter, sliced, gathered in run_distributed(_awkward_tensors):
        # arange(6) twice, plus rank 0 and rank 1.
        assert transposed.tolist() == [[1, 7], [3, 9], [5, 11]]
        assert parameter.tolist() == [0.5, 0.5]
        assert sliced.tolist() == [0, 2, 4]
        assert [part.tolist() for part in gathered] == [[0, 2], [1, 3]]


def _gather(rank, world_size, dst):
    data = torch.tensor([rank, rank + 10])
    return dist.all_gather(data), dist.gather(data, dst)


@pytest.mark.distributed
@pytest.mark.parametrize('dst', [0, 1])
def test_gather_gives_the_tensors_to_one_rank_and_all_gather_to_all(dst):
    for rank, (everywhere, at_dst) in enumerate(run_distributed(_gather, 2, dst)):
        assert [data.tolist() for data in everywhere] == [[0, 10], [1, 11]]
        assert [data.tolist() for data in at_dst] == ([[0, 10], [1, 11]] if rank == dst else [])


def _seed(rank, world_size):
    np.random.seed(rank)
    expected = int(np.random.RandomState(0).randint(2**31))
    return dist.sync_random_seed(), expected, np.random.get_state()[2]


@pytest.mark.distributed
def test_the_seed_is_drawn_by_rank_0_and_shared():
    for seed, expected, draws in run_distributed(_seed):
        assert seed == expected
        assert draws == 1


def test_the_seed_of_one_process_is_below_2_to_the_31():
    assert 0 <= dist.sync_random_seed() < 2**31


def _reduce_dict(rank, world_size, op):
    entries = [('b', torch.tensor([1.0 + rank])), ('a', torch.tensor(2 + rank))]
    # Ranks fill their dicts in different orders.
    data = dict(entries if rank == 0 else entries[::-1])
    dist.all_reduce_dict(data, op)
    return data


@pytest.mark.distributed
@pytest.mark.parametrize(
    ('op', 'expected'),
    # b: 1 and 2, a: 2 and 3
    [('sum', {'a': 5, 'b': [3.0]}), ('mean', {'a': 2.5, 'b': [1.5]}), ('max', {'a': 3, 'b': [2]})],
)
def test_all_reduce_dict_goes_by_key(op, expected):
    for data in run_distributed(_reduce_dict, 2, op):
        assert {key: value.tolist() for key, value in data.items()} == expected
        assert data['a'].is_floating_point() == (op == 'mean')


def _reduce_large_ints(rank, world_size):
    data = {'n': torch.tensor(2**53 + rank), 'x': torch.tensor(0.5)}
    dist.all_reduce_dict(data)
    return int(data['n']), float(data['x'])


@pytest.mark.distributed
def test_integers_beside_floats_stay_exact():
    assert run_distributed(_reduce_large_ints) == [(2**54 + 1, 1.0)] * 2


def test_all_reduce_dict_wants_a_dict():
    with pytest.raises(AssertionError, match='got list'):
        dist.all_reduce_dict([torch.ones(1)])


def _reduce_params(rank, world_size, options):
    tensors = [
        torch.full((3, 2), float(rank)),
        torch.nn.Parameter(torch.full((400_000,), 1.0 + rank)),
        torch.full((), 2.0 * rank, dtype=torch.float64),
        torch.tensor(3 + 2 * rank),
        torch.empty(0),
        torch.full((2, 2), float(rank)).t(),
    ]
    calls = []
    original = torch_dist.all_reduce
    torch_dist.all_reduce = lambda data, *args: (calls.append(data.numel()), original(data, *args))
    try:
        dist.all_reduce_params((tensor for tensor in tensors), op='mean', **options)
    finally:
        torch_dist.all_reduce = original
    return [tensor.detach().unique().tolist() for tensor in tensors], sorted(calls)


@pytest.mark.distributed
@pytest.mark.parametrize(
    ('options', 'calls'),
    [
        # One flat tensor a dtype: 6 + 400,000 + 0 + 4 floats.
        ({}, [1, 1, 400_010]),
        # 400,000 floats are 1.5 MiB: a bucket of their own.
        ({'bucket_size_mb': 1}, [1, 1, 4, 6, 400_000]),
        ({'coalesce': False}, [0, 1, 1, 4, 6, 400_000]),
    ],
    ids=['joined', 'in buckets', 'one by one'],
)
def test_all_reduce_params_averages_each_tensor(options, calls):
    for values, made in run_distributed(_reduce_params, 2, options):
        assert values == [[0.5], [1.5], [1.0], [4], [], [0.5]]
        assert made == calls
