"""Windows of accumulated gradients: their ends, their sizes, and what a resumed run finds."""

import io
import logging

import pytest
import torch
from torch import Tensor, nn

from mmengine.logging import MessageHub
from mmengine.optim import AmpOptimWrapper, OptimWrapper, OptimWrapperDict
from mmengine.optim.optimizer._run import Standalone


class RecordingSGD(torch.optim.SGD):
    """Remembers the gradient of each step, and does not move."""

    def __init__(self, params) -> None:
        super().__init__(params, lr=0.0)
        self.gradients: list[float] = []

    def step(self, closure=None) -> None:
        self.gradients += [p.grad.item() for g in self.param_groups for p in g['params']]


class CountingRun(Standalone):
    """A run that counts its iterations."""

    finished_iters = 0

    def __init__(self) -> None:
        self.hub = MessageHub('test_accumulation')

    @property
    def message_hub(self) -> MessageHub:
        return self.hub


def make_wrapper(**kwargs) -> tuple[nn.Parameter, OptimWrapper]:
    param = nn.Parameter(torch.tensor(1.0))
    return param, OptimWrapper(RecordingSGD([param]), **kwargs)


def train_calls(
    param: Tensor, wrapper: OptimWrapper, run: CountingRun, slopes: list[list[float]]
) -> None:
    """One iteration for each entry of ``slopes``, with a batch for each slope in it."""
    for of_iteration in slopes:
        feed(param, wrapper, of_iteration)
        run.finished_iters += 1


def feed(param: Tensor, wrapper: OptimWrapper, slopes: list[float]) -> None:
    """Batches whose gradients are ``slopes``."""
    for slope in slopes:
        wrapper.update_params(param * slope)


@pytest.fixture
def warnings_logged(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    messages: list[str] = []

    def record(msg, logger=None, level=logging.INFO) -> None:
        if level >= logging.WARNING:
            messages.append(msg)

    monkeypatch.setattr('mmengine.optim.optimizer.optimizer_wrapper.print_log', record)
    return messages


def test_a_window_takes_the_mean_of_its_gradients() -> None:
    param, wrapper = make_wrapper(accumulative_counts=4)
    feed(param, wrapper, [1, 2, 3, 6, 10, 20, 30, 40])
    assert wrapper.optimizer.gradients == [3.0, 25.0]  # 12 / 4, 100 / 4


def test_last_window_is_averaged_over_its_true_size() -> None:
    param, wrapper = make_wrapper(accumulative_counts=4)
    wrapper.initialize_count_status(nn.Identity(), 0, 6)
    feed(param, wrapper, [1, 2, 3, 6, 10, 20])
    assert wrapper.optimizer.gradients == [3.0, 15.0]  # 12 / 4, 30 / 2


def test_run_shorter_than_a_window_makes_one_step() -> None:
    param, wrapper = make_wrapper(accumulative_counts=8)
    wrapper.initialize_count_status(nn.Identity(), 0, 2)
    feed(param, wrapper, [2, 4])
    assert wrapper.optimizer.gradients == [3.0]


@pytest.mark.parametrize('num_batches', [3, 2])
def test_gradient_of_a_window_equals_that_of_the_big_batch(num_batches: int) -> None:
    torch.manual_seed(0)
    net = nn.Linear(6, 3).double()
    data = torch.randn(num_batches, 4, 6, dtype=torch.double)
    big_gradient = torch.autograd.grad(net(data.flatten(0, 1)).square().mean(), net.weight)[0]
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    wrapper = OptimWrapper(optimizer, accumulative_counts=3)
    wrapper.initialize_count_status(net, 0, num_batches)
    before = net.weight.detach().clone()
    for batch in data:
        wrapper.update_params(net(batch).square().mean())
    torch.testing.assert_close(before - net.weight, big_gradient, rtol=1e-12, atol=1e-14)


def test_updates_and_syncs_fall_on_the_last_batch_of_each_window() -> None:
    param, wrapper = make_wrapper(accumulative_counts=3)
    wrapper.initialize_count_status(nn.Identity(), 0, 8)
    syncs, updates = [], []
    for _ in range(8):
        syncs.append(wrapper.should_sync())
        wrapper.backward(wrapper.scale_loss(param * 1))
        updates.append(wrapper.should_update())
    # windows: 0 1 2 | 3 4 5 | 6 7
    expected = [False, False, True, False, False, True, False, True]
    assert syncs == expected
    assert updates == expected


def test_loss_is_not_touched_without_accumulation() -> None:
    _, wrapper = make_wrapper()
    loss = torch.tensor(2.0)
    assert wrapper.scale_loss(loss) is loss


def test_resume_without_gradients_averages_what_is_left_of_the_window(warnings_logged) -> None:
    param, wrapper = make_wrapper(accumulative_counts=4)
    wrapper.initialize_count_status(nn.Identity(), 2, 10)  # windows: (0 1) 2 3 | 4 5 6 7 | 8 9
    assert len(warnings_logged) == 1
    assert 'iteration 2' in warnings_logged[0]
    feed(param, wrapper, [1, 3, 4, 4, 4, 8, 5, 9])
    assert wrapper.optimizer.gradients == [2.0, 5.0, 7.0]  # 4 / 2, 20 / 4, 14 / 2


def test_batch_norm_in_an_accumulating_run_is_warned_of(warnings_logged) -> None:
    _, wrapper = make_wrapper(accumulative_counts=2)
    wrapper.initialize_count_status(nn.Sequential(nn.BatchNorm1d(3)), 0, 10)
    assert len(warnings_logged) == 1
    assert 'BatchNorm' in warnings_logged[0]


def test_batch_norm_without_accumulation_is_fine(warnings_logged) -> None:
    _, wrapper = make_wrapper()
    wrapper.initialize_count_status(nn.Sequential(nn.BatchNorm1d(3)), 0, 10)
    assert warnings_logged == []


def test_flush_makes_the_step_of_an_open_window() -> None:
    param, wrapper = make_wrapper(accumulative_counts=4)
    feed(param, wrapper, [1, 2, 3, 6, 10, 20, 60])
    wrapper.flush()
    assert wrapper.optimizer.gradients == pytest.approx([3.0, 30.0])  # 90 / 3
    assert param.grad is None


def test_flush_does_nothing_when_the_windows_came_out_even() -> None:
    param, wrapper = make_wrapper(accumulative_counts=2)
    wrapper.flush()
    feed(param, wrapper, [1, 3])
    wrapper.flush()
    assert wrapper.optimizer.gradients == [2.0]


def test_after_flush_a_new_window_begins() -> None:
    param, wrapper = make_wrapper(accumulative_counts=4)
    feed(param, wrapper, [2])
    wrapper.flush()
    feed(param, wrapper, [3, 6, 9])  # batches 1 to 3, up to the next multiple of four
    assert wrapper.optimizer.gradients == [2.0, 6.0]


def test_wrapper_called_twice_an_iteration_keeps_its_windows_full_to_the_end() -> None:
    # 5 iterations of two batches each: windows 0-3, 4-7 and, flushed at the end, 8-9.
    # The announced end, 5, must not cut the second window.
    param, wrapper = make_wrapper(accumulative_counts=4)
    run = CountingRun()
    wrapper.attach_run(run)
    wrapper.initialize_count_status(nn.Identity(), 0, 5)
    train_calls(param, wrapper, run, [[1, 2], [3, 6], [4, 4], [4, 8], [10, 30]])
    wrapper.flush()
    assert wrapper.optimizer.gradients == pytest.approx([3.0, 5.0, 20.0])


def test_wrapper_called_twice_in_a_run_shorter_than_a_window_makes_one_exact_step() -> None:
    # The first batch is divided by 2, the announced size of the window, before it is known that
    # the window gets four.
    param, wrapper = make_wrapper(accumulative_counts=4)
    run = CountingRun()
    wrapper.attach_run(run)
    wrapper.initialize_count_status(nn.Identity(), 0, 2)
    train_calls(param, wrapper, run, [[2, 4], [6, 8]])
    assert wrapper.optimizer.gradients == [5.0]  # 20 / 4


def test_wrapper_called_every_second_iteration_keeps_its_windows_full() -> None:
    # Batches in iterations 0, 2, 4, 6 and 8 of 10, in windows of 3: 0-2, and 3-4 by the flush.
    param, wrapper = make_wrapper(accumulative_counts=3)
    run = CountingRun()
    wrapper.attach_run(run)
    wrapper.initialize_count_status(nn.Identity(), 0, 10)
    train_calls(param, wrapper, run, [[1], [], [2], [], [6], [], [10], [], [30], []])
    assert wrapper.optimizer.gradients == [3.0]
    wrapper.flush()
    assert wrapper.optimizer.gradients == pytest.approx([3.0, 20.0])


def test_iteration_that_is_left_out_late_moves_the_last_step_to_the_flush() -> None:
    param, wrapper = make_wrapper(accumulative_counts=4)
    run = CountingRun()
    wrapper.attach_run(run)
    wrapper.initialize_count_status(nn.Identity(), 0, 7)
    # Batch 4 was divided by 3, as its window was to end with the run; it gets two batches.
    train_calls(param, wrapper, run, [[1], [2], [3], [6], [10], [], [30]])
    assert wrapper.optimizer.gradients == [3.0]
    wrapper.flush()
    assert wrapper.optimizer.gradients == pytest.approx([3.0, 20.0])


def test_run_that_is_stopped_inside_its_last_window_averages_the_batches_it_had() -> None:
    param, wrapper = make_wrapper(accumulative_counts=4)
    run = CountingRun()
    wrapper.attach_run(run)
    wrapper.initialize_count_status(nn.Identity(), 0, 7)
    train_calls(param, wrapper, run, [[1], [2], [3], [6], [10], [30]])
    wrapper.flush()
    assert wrapper.optimizer.gradients == pytest.approx([3.0, 20.0])


def test_wrapper_called_once_an_iteration_steps_in_the_last_one_without_a_flush() -> None:
    param, wrapper = make_wrapper(accumulative_counts=4)
    run = CountingRun()
    wrapper.attach_run(run)
    wrapper.initialize_count_status(nn.Identity(), 0, 6)
    train_calls(param, wrapper, run, [[1], [2], [3], [6], [10], [20]])
    assert wrapper.optimizer.gradients == [3.0, 15.0]


def test_other_runs_hub_says_nothing_about_this_run() -> None:
    param, wrapper = make_wrapper(accumulative_counts=4)
    run = CountingRun()
    wrapper.attach_run(run)
    wrapper.initialize_count_status(nn.Identity(), 0, 6)
    MessageHub.get_instance('other').update_info('iter', 100)
    train_calls(param, wrapper, run, [[1], [2], [3], [6], [10], [20]])
    assert wrapper.optimizer.gradients == [3.0, 15.0]


def test_run_may_be_attached_after_its_end_was_announced() -> None:
    param, wrapper = make_wrapper(accumulative_counts=4)
    wrapper.initialize_count_status(nn.Identity(), 0, 6)
    run = CountingRun()
    run.finished_iters = 50  # of an earlier stage
    wrapper.attach_run(run)
    train_calls(param, wrapper, run, [[1], [2], [3], [6], [10], [20]])
    assert wrapper.optimizer.gradients == [3.0, 15.0]


def test_questions_out_of_order_do_not_drop_the_announced_end() -> None:
    # A train_step that asks for the next batch before the present iteration is finished.
    param, wrapper = make_wrapper(accumulative_counts=4)
    run = CountingRun()
    wrapper.attach_run(run)
    wrapper.initialize_count_status(nn.Identity(), 0, 6)
    asked = []
    for slope in [1, 2, 3, 6, 10, 20]:
        wrapper.update_params(param * slope)
        asked.append(wrapper.should_sync())
        wrapper.state_dict()
        run.finished_iters += 1
    assert asked[:5] == [False, False, True, False, True]
    assert wrapper.optimizer.gradients == [3.0, 15.0]


def test_subclass_that_counts_its_batches_itself_keeps_its_windows() -> None:
    class Engine(OptimWrapper):
        def backward(self, loss, **kwargs) -> None:
            loss.backward(**kwargs)
            self._inner_count += 1

    param = nn.Parameter(torch.tensor(1.0))
    wrapper = Engine(RecordingSGD([param]), accumulative_counts=4)
    run = CountingRun()
    wrapper.attach_run(run)
    wrapper.initialize_count_status(nn.Identity(), 0, 2)
    train_calls(param, wrapper, run, [[2, 4], [6, 8]])
    assert wrapper.optimizer.gradients == [5.0]
    assert wrapper._inner_count == wrapper.inner_count == 4


def test_fields_of_the_window_can_be_read_and_written() -> None:
    param, wrapper = make_wrapper(accumulative_counts=2)
    assert (wrapper._accumulative_counts, wrapper._inner_count, wrapper._max_counts) == (2, 0, -1)
    wrapper._accumulative_counts = 4
    wrapper._max_counts = 6
    feed(param, wrapper, [1, 2, 3, 6, 10, 20])
    assert wrapper.optimizer.gradients == [3.0, 15.0]
    assert (wrapper._accumulative_counts, wrapper._inner_count, wrapper._max_counts) == (4, 6, 6)
    wrapper._max_counts = -1
    wrapper._inner_count = 0
    feed(param, wrapper, [1, 2, 3, 6])
    assert wrapper.optimizer.gradients == [3.0, 15.0, 3.0]


def test_accumulation_that_is_switched_on_later_averages_what_its_window_has() -> None:
    # A hook that starts to accumulate at batch 3: windows 0, 1, 2, 3 and 4-7.
    param, wrapper = make_wrapper()
    feed(param, wrapper, [1, 2, 3])
    wrapper._accumulative_counts = 4
    feed(param, wrapper, [5, 1, 2, 3, 6])
    assert wrapper.optimizer.gradients == [1.0, 2.0, 3.0, 5.0, 3.0]


def test_flush_twice_makes_one_step() -> None:
    param, wrapper = make_wrapper(accumulative_counts=4)
    steps = []
    wrapper.optimizer.register_step_pre_hook(lambda *args: steps.append(1))
    feed(param, wrapper, [2])
    wrapper.flush()
    wrapper.flush()
    assert len(steps) == 1


def test_run_that_goes_on_after_its_end_averages_over_the_batches_left() -> None:
    # Windows 0-2, 3-4 (the end), and then 5 and 6-8.
    param, wrapper = make_wrapper(accumulative_counts=3)
    wrapper.initialize_count_status(nn.Identity(), 0, 5)
    feed(param, wrapper, [1, 2, 3, 10, 30])
    resumed_param, resumed = make_wrapper(accumulative_counts=3)
    resumed.load_state_dict(wrapper.state_dict())
    resumed.initialize_count_status(nn.Identity(), 5, 9)
    feed(resumed_param, resumed, [7, 1, 2, 6])
    assert resumed.optimizer.gradients == [7.0, 3.0]


def test_tail_windows_of_several_optimizers_are_flushed() -> None:
    a, wrapper_a = make_wrapper(accumulative_counts=4)
    b, wrapper_b = make_wrapper(accumulative_counts=2)
    wrappers = OptimWrapperDict(a=wrapper_a, b=wrapper_b)
    wrappers.initialize_count_status(nn.Identity(), 0, 5)
    for slope in [1, 2, 3, 6, 10]:
        wrappers['a'].update_params(a * slope)
        wrappers['b'].update_params(b * slope)
    assert wrapper_a.optimizer.gradients == [3.0, 10.0]
    assert wrapper_b.optimizer.gradients == [1.5, 4.5, 10.0]


# Resuming


def train(net: nn.Module, wrapper: OptimWrapper, data: Tensor, first: int, last: int) -> None:
    for batch in data[first:last]:
        with wrapper.optim_context(net):
            loss = net(batch).square().mean()
        wrapper.update_params(loss)


def make_run(kind: str) -> tuple[nn.Module, OptimWrapper]:
    torch.manual_seed(1)
    net = nn.Linear(4, 3)
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.05)
    if kind == 'plain':
        return net, OptimWrapper(optimizer, accumulative_counts=3)
    return net, AmpOptimWrapper(
        optimizer=optimizer,
        accumulative_counts=3,
        dtype='float16',
        loss_scale=dict(init_scale=64.0, growth_interval=2),
    )


@pytest.mark.parametrize('initialize_first', [True, False], ids=['init_first', 'load_first'])
@pytest.mark.parametrize('stop_at', range(1, 8))
@pytest.mark.parametrize('kind', ['plain', 'fp16'])
def test_run_resumed_at_any_step_equals_the_run_never_stopped(
    kind: str, stop_at: int, initialize_first: bool
) -> None:
    data = torch.randn(8, 5, 4, generator=torch.Generator().manual_seed(2))
    net, wrapper = make_run(kind)
    wrapper.initialize_count_status(net, 0, 8)
    train(net, wrapper, data, 0, 8)

    stopped_net, stopped = make_run(kind)
    stopped.initialize_count_status(stopped_net, 0, 8)
    train(stopped_net, stopped, data, 0, stop_at)
    file = io.BytesIO()
    torch.save(dict(net=stopped_net.state_dict(), optimizer=stopped.state_dict()), file)
    file.seek(0)
    checkpoint = torch.load(file, weights_only=True)

    resumed_net, resumed = make_run(kind)
    resumed_net.load_state_dict(checkpoint['net'])
    if initialize_first:
        resumed.initialize_count_status(resumed_net, stop_at, 8)
    resumed.load_state_dict(checkpoint['optimizer'])
    if not initialize_first:
        resumed.initialize_count_status(resumed_net, stop_at, 8)
    train(resumed_net, resumed, data, stop_at, 8)

    assert torch.equal(resumed_net.weight, net.weight)
    assert torch.equal(resumed_net.bias, net.bias)
    assert resumed.inner_count == 8


def test_run_that_is_resumed_for_longer_divides_its_open_window_anew() -> None:
    param, wrapper = make_wrapper(accumulative_counts=3)
    wrapper.initialize_count_status(nn.Identity(), 0, 5)
    feed(param, wrapper, [1, 2, 3, 10])  # the fourth was divided by 2: its window was to be 3-4
    resumed_param, resumed = make_wrapper(accumulative_counts=3)
    resumed.load_state_dict(wrapper.state_dict())
    resumed.initialize_count_status(nn.Identity(), 4, 9)
    feed(resumed_param, resumed, [20, 60])
    assert resumed.optimizer.gradients == pytest.approx([30.0])  # 90 / 3


def test_state_saved_between_windows_holds_no_gradients() -> None:
    param, wrapper = make_wrapper(accumulative_counts=2)
    feed(param, wrapper, [1, 2])
    assert wrapper.state_dict()['accumulation']['gradients'] == []


def test_state_without_accumulation_is_that_of_the_optimizer() -> None:
    param, wrapper = make_wrapper()
    feed(param, wrapper, [1, 2])
    assert wrapper.state_dict().keys() == {'state', 'param_groups'}


def test_state_can_be_loaded_into_a_plain_optimizer() -> None:
    net, wrapper = make_run('plain')
    train(net, wrapper, torch.ones(4, 5, 4), 0, 4)
    optimizer = torch.optim.AdamW(net.parameters(), lr=1.0)
    optimizer.load_state_dict(wrapper.state_dict())
    assert optimizer.param_groups[0]['lr'] == 0.05


def test_loading_leaves_the_state_dict_as_it_was() -> None:
    net, wrapper = make_run('fp16')
    train(net, wrapper, torch.ones(4, 5, 4), 0, 4)
    state = wrapper.state_dict()
    keys = set(state)
    gradient = state['accumulation']['gradients'][0][0].clone()
    other_net, other = make_run('fp16')
    other.load_state_dict(state)
    train(other_net, other, torch.ones(1, 5, 4), 0, 1)
    assert set(state) == keys
    assert torch.equal(state['accumulation']['gradients'][0][0], gradient)


def test_gradients_of_another_window_size_are_dropped_with_a_warning(warnings_logged) -> None:
    param, wrapper = make_wrapper(accumulative_counts=4)
    feed(param, wrapper, [100])
    other_param, other = make_wrapper(accumulative_counts=2)
    other.load_state_dict(wrapper.state_dict())
    feed(other_param, other, [3, 5, 7])
    assert other.optimizer.gradients == [3.0, 6.0]  # batch 1 alone, then 2 and 3
    assert len(warnings_logged) == 1


def test_training_begun_anew_after_loading_forgets_the_open_window() -> None:
    param, wrapper = make_wrapper(accumulative_counts=2)
    feed(param, wrapper, [100])
    other_param, other = make_wrapper(accumulative_counts=2)
    other.load_state_dict(wrapper.state_dict())
    other.initialize_count_status(nn.Identity(), 0, 2)
    feed(other_param, other, [1, 3])
    assert other.optimizer.gradients == [2.0]


@pytest.mark.parametrize('init_first', [True, False], ids=['init_first', 'load_first'])
@pytest.mark.parametrize('stop_at', range(1, 5))
def test_wrapper_called_twice_resumes_to_the_bits_of_the_run_never_stopped(
    stop_at: int, init_first: bool
) -> None:
    data = torch.randn(10, 5, 4, generator=torch.Generator().manual_seed(2))

    def go(net, wrapper, run, first, last) -> None:
        for iteration in range(first, last):
            train(net, wrapper, data, 2 * iteration, 2 * iteration + 2)
            run.finished_iters += 1

    def begin() -> tuple[nn.Module, OptimWrapper, CountingRun]:
        net, wrapper = make_run('plain')
        run = CountingRun()
        wrapper.attach_run(run)
        return net, wrapper, run

    net, wrapper, run = begin()
    wrapper.initialize_count_status(net, 0, 5)
    go(net, wrapper, run, 0, 5)
    wrapper.flush()

    stopped_net, stopped, run = begin()
    stopped.initialize_count_status(stopped_net, 0, 5)
    go(stopped_net, stopped, run, 0, stop_at)

    resumed_net, resumed, run = begin()
    resumed_net.load_state_dict(stopped_net.state_dict())
    run.finished_iters = stop_at
    if init_first:
        resumed.initialize_count_status(resumed_net, stop_at, 5)
    resumed.load_state_dict(stopped.state_dict())
    if not init_first:
        resumed.initialize_count_status(resumed_net, stop_at, 5)
    go(resumed_net, resumed, run, stop_at, 5)
    resumed.flush()

    assert torch.equal(resumed_net.weight, net.weight)
    assert resumed.inner_count == 10
