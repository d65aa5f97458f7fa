"""Wrappers in two real processes."""

import io

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mmengine.optim import AmpOptimWrapper, OptimWrapper, build_optim_wrapper
from mmengine.testing._internal.distributed import run_distributed

pytestmark = pytest.mark.distributed

NUM_BATCHES = 8
WINDOW = 3


def make_net() -> nn.Linear:
    torch.manual_seed(0)
    return nn.Linear(4, 2)


def make_data() -> Tensor:
    # Two ranks, batches, samples of a rank's batch, features
    return torch.randn(2, NUM_BATCHES, 3, 4, generator=torch.Generator().manual_seed(1))


def make_run(kind: str, **kwargs) -> tuple[nn.Module, OptimWrapper]:
    net = make_net()
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
    if kind == 'fp16':
        return net, AmpOptimWrapper(optimizer=optimizer, dtype='float16', **kwargs)
    return net, OptimWrapper(optimizer, **kwargs)


def train(model: nn.Module, wrapper: OptimWrapper, data: Tensor, first: int, last: int) -> None:
    for batch in data[first:last]:
        with wrapper.optim_context(model):
            loss = model(batch).square().mean()
            wrapper.update_params(loss)


def values(net: nn.Module) -> list[float]:
    return [value for param in net.parameters() for value in param.detach().flatten().tolist()]


def _accumulate(rank: int, world_size: int) -> tuple[list[float], int]:
    exchanges = 0

    def count(state: object, bucket):
        nonlocal exchanges
        exchanges += 1
        work = torch.distributed.all_reduce(bucket.buffer().div_(world_size), async_op=True)
        return work.get_future().then(lambda future: future.value()[0])

    net, wrapper = make_run('plain', accumulative_counts=WINDOW)
    model = DistributedDataParallel(net)
    model.register_comm_hook(None, count)
    wrapper.initialize_count_status(model, 0, NUM_BATCHES)
    train(model, wrapper, make_data()[rank], 0, NUM_BATCHES)
    return values(net), exchanges


def test_accumulation_exchanges_gradients_once_a_step_and_equals_the_joined_batch() -> None:
    by_rank = run_distributed(_accumulate)

    net, wrapper = make_run('plain', accumulative_counts=WINDOW)
    wrapper.initialize_count_status(net, 0, NUM_BATCHES)
    joined = make_data().transpose(0, 1).flatten(1, 2)
    train(net, wrapper, joined, 0, NUM_BATCHES)

    # windows of 3, 3 and 2 batches
    assert [exchanges for _, exchanges in by_rank] == [3, 3]
    assert by_rank[0][0] == by_rank[1][0]
    assert by_rank[0][0] == pytest.approx(values(net), rel=1e-5, abs=1e-7)


def _resume(rank: int, world_size: int, kind: str, stop_at: int) -> tuple[list[float], list[float]]:
    data = make_data()[rank]
    net, wrapper = make_run(kind, accumulative_counts=WINDOW)
    model = DistributedDataParallel(net)
    wrapper.initialize_count_status(model, 0, NUM_BATCHES)
    train(model, wrapper, data, 0, stop_at)
    state = wrapper.state_dict()  # on all ranks: each has gradients of its own
    file = io.BytesIO()
    torch.save((net.state_dict(), state), file)
    saved = [file.getvalue()]
    torch.distributed.broadcast_object_list(saved)  # all ranks read the file of rank 0
    train(model, wrapper, data, stop_at, NUM_BATCHES)

    resumed_net, resumed = make_run(kind, accumulative_counts=WINDOW)
    net_state, state = torch.load(io.BytesIO(saved[0]), weights_only=True)
    resumed_net.load_state_dict(net_state)
    resumed_model = DistributedDataParallel(resumed_net)
    resumed.load_state_dict(state)
    resumed.initialize_count_status(resumed_model, stop_at, NUM_BATCHES)
    train(resumed_model, resumed, data, stop_at, NUM_BATCHES)
    return values(net), values(resumed_net)


@pytest.mark.parametrize(('kind', 'stop_at'), [('plain', 4), ('fp16', 5)])
def test_run_resumed_inside_a_window_has_the_bits_of_the_run_never_stopped(
    kind: str, stop_at: int
) -> None:
    for never_stopped, resumed in run_distributed(_resume, 2, kind, stop_at):
        assert resumed == never_stopped


def _save_open_window(rank: int, world_size: int) -> bytes:
    net, wrapper = make_run('plain', accumulative_counts=WINDOW)
    model = DistributedDataParallel(net)
    train(model, wrapper, make_data()[rank], 0, 2)
    file = io.BytesIO()
    torch.save(wrapper.state_dict(), file)
    return file.getvalue()


def test_window_opened_on_two_ranks_is_closed_on_one_with_the_mean_gradient() -> None:
    state = torch.load(io.BytesIO(run_distributed(_save_open_window)[0]), weights_only=True)
    net, wrapper = make_run('plain', accumulative_counts=WINDOW)
    wrapper.load_state_dict(state)

    expected_net = make_net()
    joined = make_data().transpose(0, 1).flatten(1, 2)
    sum(expected_net(batch).square().mean() for batch in joined[:2]).backward()
    torch.testing.assert_close(net.weight.grad, expected_net.weight.grad / WINDOW)


def _flush(rank: int, world_size: int) -> list[float]:
    net, wrapper = make_run('plain', accumulative_counts=WINDOW)
    model = DistributedDataParallel(net)
    train(model, wrapper, make_data()[rank], 0, 5)
    wrapper.flush()
    return values(net)


def test_flush_averages_the_open_window_over_the_ranks() -> None:
    by_rank = run_distributed(_flush)
    net, wrapper = make_run('plain', accumulative_counts=WINDOW)
    wrapper.initialize_count_status(net, 0, 5)
    train(net, wrapper, make_data().transpose(0, 1).flatten(1, 2), 0, 5)
    assert by_rank[0] == by_rank[1]
    assert by_rank[0] == pytest.approx(values(net), rel=1e-5, abs=1e-7)


def _one_rank_is_not_finite(rank: int, world_size: int, bad_batch: int) -> list[float]:
    net, wrapper = make_run('plain', accumulative_counts=WINDOW)
    wrapper.skip_non_finite = True
    model = DistributedDataParallel(net)
    wrapper.initialize_count_status(model, 0, NUM_BATCHES)
    data = make_data()[rank].clone()
    if rank == 1:
        data[bad_batch, 0, 0] = float('nan')
    train(model, wrapper, data, 0, NUM_BATCHES)
    return values(net)


@pytest.mark.parametrize('bad_batch', [1, 2], ids=['inside_a_window', 'last_of_a_window'])
def test_all_ranks_leave_out_a_batch_that_is_not_finite_on_one(bad_batch: int) -> None:
    by_rank = run_distributed(_one_rank_is_not_finite, 2, bad_batch)

    net, wrapper = make_run('plain', accumulative_counts=WINDOW)
    wrapper.initialize_count_status(net, 0, NUM_BATCHES)
    joined = make_data().transpose(0, 1).flatten(1, 2)
    for index, batch in enumerate(joined):
        loss = net(batch).square().mean()
        wrapper.update_params(loss * 0 if index == bad_batch else loss)

    assert by_rank[0] == by_rank[1]
    assert by_rank[0] == pytest.approx(values(net), rel=1e-5, abs=1e-7)


def _zero(rank: int, world_size: int) -> tuple[list[float], list[str]]:
    net = make_net()
    model = DistributedDataParallel(net)
    optimizer = dict(type='ZeroRedundancyOptimizer', optimizer_type='AdamW', lr=0.01)
    wrapper = build_optim_wrapper(model, dict(optimizer=optimizer))
    train(model, wrapper, make_data()[rank], 0, 3)
    return values(net), sorted(wrapper.state_dict())


def test_optimizer_with_its_state_spread_over_ranks_steps_as_the_plain_one() -> None:
    by_rank = run_distributed(_zero)
    net = make_net()
    wrapper = OptimWrapper(torch.optim.AdamW(net.parameters(), lr=0.01))
    train(net, wrapper, make_data().transpose(0, 1).flatten(1, 2), 0, 3)
    assert by_rank[0][0] == pytest.approx(values(net), rel=1e-5, abs=1e-7)
    assert by_rank[0][1] == ['param_groups', 'state']
    assert by_rank[1][1] == []
