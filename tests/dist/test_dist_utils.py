"""Ranks, groups and devices; and that one process needs none of it."""

import time
from collections import OrderedDict, namedtuple
from pathlib import Path

import pytest
import torch
import torch.distributed as torch_dist

from mmengine import dist
from mmengine.dist._warn import warn_once
from mmengine.testing._internal.distributed import run_distributed


def test_one_process_is_rank_0_of_1():
    assert not dist.is_distributed()
    assert dist.is_main_process()
    assert dist.get_dist_info() == (0, 1)
    assert dist.get_backend() is None
    assert (dist.get_local_rank(), dist.get_local_size()) == (0, 1)
    assert dist.get_local_group() is None
    assert dist.get_comm_device() == torch.device('cpu')
    dist.barrier()


def test_one_process_has_no_default_group():
    with pytest.raises(ValueError, match='process group'):
        dist.get_default_group()


def test_master_only_keeps_the_function_on_rank_0():
    @dist.master_only
    def double(value: int) -> int:
        """Twice."""
        return 2 * value

    assert double(value=3) == 6
    assert double.__doc__ == 'Twice.'


def _who_am_i(rank, world_size):
    alone = torch_dist.new_group([1])
    first = dist.master_only(lambda: 'ran')()
    try:
        dist.get_local_group()
        error = None
    except RuntimeError as raised:
        error = str(raised)
    dist.barrier()
    return (
        dist.get_dist_info(),
        dist.is_main_process(),
        dist.get_dist_info(alone),
        first,
        error,
        dist.get_backend(),
        dist.get_default_group().size(),
    )


@pytest.mark.distributed
def test_two_processes_know_their_ranks():
    zero, one = run_distributed(_who_am_i, 2)
    error = (
        'There is no group of the ranks on this machine yet: '
        'call init_local_group on every rank first.'
    )
    # Group `alone` holds rank 1, so rank 0 is no member of it.
    assert zero == ((0, 2), True, (-1, -1), 'ran', error, 'gloo', 2)
    assert one == ((1, 2), False, (0, 1), None, error, 'gloo', 2)


def _local_group(rank, world_size, per_node):
    dist.init_local_group(rank // per_node, per_node)
    total = torch.tensor(rank)
    dist.all_reduce(total, group=dist.get_local_group())
    return dist.get_local_rank(), dist.get_local_size(), int(total)


def _rejoin(rank, world_size, folder):
    dist.init_local_group(0, 2)
    # A rank that ends its group closes connections that the other may still be making.
    Path(folder, f'joined {rank}').touch()
    while not Path(folder, f'joined {1 - rank}').exists():
        time.sleep(0.01)
    torch_dist.destroy_process_group()
    torch_dist.init_process_group(
        'gloo', init_method=f'file://{folder}/again', rank=rank, world_size=world_size
    )
    with pytest.raises(RuntimeError, match='init_local_group'):
        dist.get_local_group()


@pytest.mark.distributed
def test_a_local_group_ends_with_the_default_group(tmp_path):
    run_distributed(_rejoin, 2, str(tmp_path))


@pytest.mark.distributed
def test_local_groups_are_those_of_each_machine():
    # Two machines of two ranks: 0 + 1 and 2 + 3.
    assert run_distributed(_local_group, 4, 2) == [(0, 2, 1), (1, 2, 1), (0, 2, 5), (1, 2, 5)]


def test_data_device_looks_into_containers():
    tensor = torch.ones(1)
    for data in (tensor, [tensor, (tensor,)], {'a': {'b': tensor}, 'c': tensor}):
        assert dist.get_data_device(data) == torch.device('cpu')
    assert dist.get_data_device([torch.ones(1, device='meta')]).type == 'meta'


@pytest.mark.parametrize(
    ('data', 'error', 'message'),
    [
        ([torch.ones(1), 1], TypeError, 'got a int'),
        ('text', TypeError, 'got a str'),
        ({}, ValueError, 'empty dict'),
        ([torch.ones(1), torch.ones(1, device='meta')], ValueError, 'cpu, meta'),
    ],
    ids=['number', 'text', 'empty', 'two devices'],
)
def test_data_without_one_device_is_rejected(data, error, message):
    with pytest.raises(error, match=message):
        dist.get_data_device(data)


def test_casting_keeps_the_structure():
    Pair = namedtuple('Pair', 'a b')
    tensor = torch.arange(2)
    data = {'list': [tensor, (tensor,)], 'pair': Pair(tensor, OrderedDict(x=tensor))}
    cast = dist.cast_data_device(data, 'meta')
    assert type(cast['list'][1]) is tuple
    assert type(cast['pair']) is Pair
    assert type(cast['pair'].b) is OrderedDict
    assert dist.get_data_device(cast).type == 'meta'
    assert dist.cast_data_device(tensor, torch.device('cpu')) is tensor


def test_casting_into_out_overwrites_it():
    out = [torch.zeros(2), {'a': torch.zeros(1)}]
    inner = out[1]['a']
    given = [torch.tensor([1.0, 2.0]), {'a': torch.tensor([3.0])}]
    assert dist.cast_data_device(given, torch.device('cpu'), out=out) is out
    assert out[0].tolist() == [1, 2]
    assert inner.tolist() == [3]


@pytest.mark.parametrize(
    ('data', 'out', 'error'),
    [
        (torch.ones(1), [torch.ones(1)], TypeError),
        ([torch.ones(1)], [torch.ones(1)] * 2, ValueError),
        ({'a': torch.ones(1)}, {'b': torch.ones(1)}, KeyError),
        ('text', None, TypeError),
    ],
    ids=['type', 'length', 'key', 'no tensor'],
)
def test_casting_rejects_what_does_not_fit(data, out, error):
    with pytest.raises(error):
        dist.cast_data_device(data, torch.device('cpu'), out)


def test_warn_once_warns_once(monkeypatch):
    monkeypatch.setattr('mmengine.dist._warn._shown', set())
    with pytest.warns(DeprecationWarning, match='old') as caught:
        warn_once('old', DeprecationWarning, stacklevel=1)
    assert caught[0].filename == __file__
    # A warning would be an error here.
    warn_once('old', DeprecationWarning)
    with pytest.warns(DeprecationWarning, match='older'):
        warn_once('older', DeprecationWarning)
