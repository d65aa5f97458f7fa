"""Wrappers in two real processes."""

import io

import pytest
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from mmengine.logging import MessageHub
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


# Parameters that are DTensors


def make_sharded() -> nn.Sequential:
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    torch.manual_seed(0)
    # Three rows over two ranks: the shards are uneven.
    net = nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))
    mesh = init_device_mesh('cpu', (2,))
    for layer in net:
        fully_shard(layer, mesh=mesh)
    return fully_shard(net, mesh=mesh)


def plain_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 3), nn.Linear(3, 2))


def full_values(net: nn.Module) -> list[float]:
    return [x for p in net.parameters() for x in p.detach().full_tensor().flatten().tolist()]


def sharded_wrapper(net: nn.Module, **kwargs) -> OptimWrapper:
    return OptimWrapper(torch.optim.SGD(net.parameters(), lr=0.1), **kwargs)


def joined_data() -> Tensor:
    return make_data().transpose(0, 1).flatten(1, 2)


def _sharded_run(rank: int, world_size: int) -> tuple[list[float], list[float]]:
    net = make_sharded()
    wrapper = sharded_wrapper(net, accumulative_counts=WINDOW, clip_grad=dict(max_norm=0.1))
    wrapper.message_hub = MessageHub('sharded')
    wrapper.initialize_count_status(net, 0, NUM_BATCHES)
    train(net, wrapper, make_data()[rank], 0, NUM_BATCHES)
    norms = wrapper.message_hub.get_scalar('train/grad_norm').data[0].tolist()
    return full_values(net), norms


def test_sharded_run_clips_and_logs_as_one_process_on_the_joined_batch() -> None:
    by_rank = run_distributed(_sharded_run)

    net, data, norms = plain_net(), joined_data(), []
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    for window in ((0, 3), (3, 6), (6, 8)):
        big_batch = data[slice(*window)].flatten(0, 1)
        net(big_batch).square().mean().backward()
        norms.append(float(nn.utils.clip_grad_norm_(net.parameters(), max_norm=0.1)))
        optimizer.step()
        optimizer.zero_grad()

    assert by_rank[0] == by_rank[1]
    assert by_rank[0][0] == pytest.approx(values(net), rel=1e-5, abs=1e-6)
    assert by_rank[0][1] == pytest.approx(norms, rel=1e-5)


def _sharded_resume(
    rank: int, world_size: int, stop_at: int
) -> tuple[list[float], list[float], list[str], bytes]:
    data = make_data()[rank]
    net = make_sharded()
    wrapper = sharded_wrapper(net, accumulative_counts=WINDOW)
    train(net, wrapper, data, 0, stop_at)
    own = wrapper.own_state_dict()
    kinds = [type(grad).__name__ for grad in own['accumulation']['gradients'][0].values()]
    file = io.BytesIO()
    torch.save(own, file)

    resumed_net = make_sharded()
    with torch.no_grad():
        for param, trained in zip(resumed_net.parameters(), net.parameters(), strict=True):
            param.copy_(trained)
    resumed = sharded_wrapper(resumed_net, accumulative_counts=WINDOW)
    file.seek(0)
    resumed.load_own_state_dict(torch.load(file, weights_only=True))
    for run_net, run_wrapper in ((net, wrapper), (resumed_net, resumed)):
        train(run_net, run_wrapper, data, stop_at, NUM_BATCHES)
        run_wrapper.flush()
    return full_values(net), full_values(resumed_net), kinds, file.getvalue()


def test_sharded_run_resumes_inside_a_window_from_plain_tensors() -> None:
    by_rank = run_distributed(_sharded_resume, 2, 5)
    for never_stopped, resumed, kinds, _ in by_rank:
        assert resumed == never_stopped
        assert kinds == ['Tensor'] * 4

    # Every rank saved the same whole gradients, which load into one process too.
    net = plain_net()
    wrapper = sharded_wrapper(net, accumulative_counts=WINDOW)
    train(net, wrapper, joined_data(), 0, 5)
    for *_, file in by_rank:
        saved = torch.load(io.BytesIO(file), weights_only=True)
        other = sharded_wrapper(plain_net(), accumulative_counts=WINDOW)
        other.load_own_state_dict(saved)
        for param, ours in zip(
            other.param_groups[0]['params'], wrapper.param_groups[0]['params'], strict=True
        ):
            torch.testing.assert_close(param.grad, ours.grad, rtol=1e-5, atol=1e-7)


def _gathered(rank: int, world_size: int) -> tuple[int, list[float]]:
    from mmengine.optim.optimizer._accumulation import gather_gradients

    net = make_sharded()
    net(make_data()[rank][0]).square().mean().backward()
    by_rank = gather_gradients([dict(params=list(net.parameters()))])
    return len(by_rank), [x for grad in by_rank[0].values() for x in grad.flatten().tolist()]


def test_gradients_that_are_one_for_all_ranks_are_gathered_once() -> None:
    net = plain_net()
    net(joined_data()[0]).square().mean().backward()
    expected = [x for p in net.parameters() for x in p.grad.flatten().tolist()]
    for count, gathered in run_distributed(_gathered):
        assert count == 1
        assert gathered == pytest.approx(expected, rel=1e-5, abs=1e-7)


def _flags(rank: int, world_size: int) -> list[bool]:
    from mmengine.optim.optimizer._run import Standalone

    run = Standalone()
    return [
        run.all_ranks_agree(torch.tensor(True)),
        run.all_ranks_agree(torch.tensor(rank == 0)),
        run.all_ranks_agree(torch.tensor(False)),
    ]


def test_ranks_agree_only_if_the_flag_is_true_on_each() -> None:
    assert run_distributed(_flags) == [[True, False, False]] * 2
