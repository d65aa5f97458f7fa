"""Objects between ranks, and results of an evaluation in dataset order."""

import os
import threading

import numpy as np
import pytest
import torch

from mmengine import dist
from mmengine.dist import _launch, _objects
from mmengine.dist._objects import _object_to_tensor, _tensor_to_object
from mmengine.testing._internal.distributed import run_distributed


def test_one_process_keeps_its_objects():
    data = ['a', {'b': 1}]
    dist.broadcast_object_list(data, src=5)
    assert data == ['a', {'b': 1}]
    assert dist.all_gather_object('x') == ['x']
    assert dist.gather_object('x') == ['x']
    for device in ('cpu', 'gpu'):
        assert dist.collect_results([1, 2, 3], 2, device) == [1, 2]
    assert dist.collect_results_cpu([1, 2, 3], 2) == [1, 2]
    assert dist.collect_results_gpu([1, 2, 3], 2) == [1, 2]


def test_unknown_devices_are_rejected():
    with pytest.raises(ValueError, match='device must be one of cpu, gpu'):
        dist.collect_results([], 0, 'disk')


def test_broadcast_wants_a_list():
    with pytest.raises(AssertionError, match='got tuple'):
        dist.broadcast_object_list((1,))


@pytest.mark.parametrize('device', ['cpu', 'gpu'])
def test_tmpdir_is_not_used_and_says_so_once(device, monkeypatch, tmp_path):
    monkeypatch.setattr('mmengine.dist._warn._shown', set())
    folder = str(tmp_path / 'parts')
    with pytest.warns(UserWarning, match='tmpdir is not used') as caught:
        dist.collect_results([1], 1, device, tmpdir=folder)
    assert caught[0].filename == __file__
    # A second warning would be an error here.
    dist.collect_results_cpu([1], 1, folder)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    'tensor',
    [
        torch.arange(6).reshape(2, 3).t(),
        torch.ones(2, 2, dtype=torch.bfloat16),
        torch.tensor(True),
        torch.empty(0, 4),
        torch.tensor([1 + 2j]).conj(),
        torch.sparse_coo_tensor([[0, 2]], [1.0, 2.0], (4,), check_invariants=True),
        torch.ones(2, requires_grad=True),
    ],
    ids=['transposed', 'bfloat16', 'bool scalar', 'empty', 'conjugated', 'sparse', 'with grad'],
)
def test_tensors_arrive_as_they_were(tensor):
    payload, size = _object_to_tensor({'t': tensor})
    arrived = _tensor_to_object(payload, int(size))['t']
    assert arrived.dtype == tensor.dtype
    assert arrived.layout == tensor.layout
    assert arrived.requires_grad == tensor.requires_grad
    assert arrived.shape == tensor.shape
    assert torch.equal(arrived.to_dense(), tensor.to_dense())


def test_a_view_travels_without_the_tensor_it_is_a_view_of():
    payload, _ = _object_to_tensor(torch.zeros(100_000)[:10])
    assert payload.numel() < 1000


def test_arrived_tensors_can_be_changed():
    arrived = _tensor_to_object(*_object_to_tensor(torch.ones(3)))
    arrived.add_(1)
    assert arrived.tolist() == [2, 2, 2]


def _exchange(rank, world_size):
    mine = {'rank': rank, 'data': np.arange(rank * 1000), 'tensor': torch.ones(rank + 1)}
    listed = [rank, 'text', mine]
    dist.broadcast_object_list(listed, src=1)
    return listed, dist.all_gather_object(mine), dist.gather_object(mine, dst=1)


def _check_is_from(obj, rank):
    assert obj['rank'] == rank
    assert obj['data'].tolist() == list(range(rank * 1000))
    assert obj['tensor'].tolist() == [1.0] * (rank + 1)


@pytest.mark.distributed
def test_objects_of_different_sizes_are_exchanged():
    for rank, (listed, everywhere, at_1) in enumerate(run_distributed(_exchange)):
        assert listed[:2] == [1, 'text']
        _check_is_from(listed[2], 1)
        for sender, obj in enumerate(everywhere):
            _check_is_from(obj, sender)
        if rank == 1:
            for sender, obj in enumerate(at_1):
                _check_is_from(obj, sender)
        else:
            assert at_1 is None


def _collect(rank, world_size, lengths, size, device):
    # What a sampler deals out: sample i goes to rank i % world_size.
    results = [rank + world_size * turn for turn in range(lengths[rank])]
    return dist.collect_results(results, size, device), sorted(os.listdir())


@pytest.mark.distributed
@pytest.mark.parametrize('device', ['cpu', 'gpu'])
@pytest.mark.parametrize(
    ('lengths', 'size', 'expected'),
    [
        ([3, 3], 6, [0, 1, 2, 3, 4, 5]),
        ([3, 3], 5, [0, 1, 2, 3, 4]),
        ([3, 2], 5, [0, 1, 2, 3, 4]),
        ([1, 0], 1, [0]),
        ([0, 0], 0, []),
        ([1, 3], 9, [0, 1, 3, 5]),
        ([2, 2, 1], 5, [0, 1, 2, 3, 4]),
    ],
    ids=['even', 'padded', 'uneven', 'one empty', 'all empty', 'more on the last', 'three ranks'],
)
def test_results_come_in_dataset_order(lengths, size, expected, device, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first, *others = run_distributed(_collect, len(lengths), lengths, size, device)
    assert first == (expected, [])
    assert others == [(None, [])] * len(others)


def _collect_many(rank, world_size):
    results = [{'boxes': torch.full((50, 4), float(i)), 'id': i} for i in range(rank, 2000, 2)]
    collected = dist.collect_results(results, 1999)
    if collected is None:
        return None
    return len(collected), all(
        entry['id'] == i and bool((entry['boxes'] == i).all()) for i, entry in enumerate(collected)
    )


@pytest.mark.distributed
def test_many_results_with_tensors_are_collected():
    assert run_distributed(_collect_many) == [(1999, True), None]


def _one_cannot_be_pickled(rank, world_size, operation):
    bad = threading.Lock() if rank == 1 else 'fine'
    try:
        if operation == 'broadcast':
            dist.broadcast_object_list([bad], src=1)
        elif operation == 'all_gather':
            dist.all_gather_object(bad)
        else:
            dist.collect_results([bad], 2)
    except RuntimeError as error:
        return str(error)


@pytest.mark.distributed
@pytest.mark.parametrize('operation', ['broadcast', 'all_gather', 'collect'])
def test_what_one_rank_cannot_send_is_an_error_on_all(operation):
    text_0, text_1 = run_distributed(_one_cannot_be_pickled, 2, operation)
    assert text_0.startswith('The object of rank 1 cannot be sent')
    assert text_1.startswith('The object of rank 1 cannot be sent')
    assert "cannot pickle '_thread.lock'" in text_1


def _through_a_side_group(rank, world_size):
    # As if gloo could not move host memory: what NCCL is like, without the GPUs.
    _launch.BACKEND_DEVICES['gloo'] = 'cuda'
    gathered = dist.all_gather_object(rank)
    side = _objects._cpu_group(None)
    return gathered, side is not dist.get_default_group(), _objects._cpu_group(None) is side


@pytest.mark.distributed
def test_a_backend_of_accelerators_gets_a_gloo_group_beside_it_once():
    assert run_distributed(_through_a_side_group) == [([0, 1], True, True)] * 2
