"""EMAHook averages once per optimizer step, so accumulation does not change the average.

With rate 0.1 and gradient 1 the weight after each optimizer step is 0.9, 0.8, 0.7 ... The first
update copies, each later one gives ``average = (1 - momentum) * average + momentum * new``.
"""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import nn

from mmengine.hooks import EMAHook
from mmengine.model import BaseModel
from mmengine.optim import BaseOptimWrapper, OptimWrapper, OptimWrapperDict
from mmengine.utils.errors import ArgumentError


def _average_of(runner: Any) -> EMAHook:
    return next(hook for hook in runner.hooks if isinstance(hook, EMAHook))


def _wrapper(counts: int, **more: Any) -> dict[str, Any]:
    return {'optimizer': {'type': 'SGD', 'lr': 0.1}, 'accumulative_counts': counts, **more}


def _averaged(values: list[float], momentum: float = 0.5) -> float:
    average = values[0]
    for value in values[1:]:
        average = (1 - momentum) * average + momentum * value
    return average


@pytest.mark.parametrize('kind', ['OptimWrapper', 'AmpOptimWrapper'])
@pytest.mark.parametrize(('iters', 'counts', 'steps'), [(8, 1, 8), (8, 4, 2), (10, 4, 3)])
@pytest.mark.parametrize('by_epoch', [True, False])
def test_one_update_per_optimizer_step(make_run, kind, iters, counts, steps, by_epoch):
    more = {'type': kind, 'dtype': 'bfloat16'} if kind == 'AmpOptimWrapper' else {}
    length = {'epochs': 2, 'batches': iters // 2} if by_epoch else {'iters': iters}
    hook = {'type': 'EMAHook', 'momentum': 0.5}
    runner = make_run([hook], **length, optim_wrapper=_wrapper(counts, **more))
    runner.train()
    average = _average_of(runner).ema_model
    assert int(average.steps) == steps
    raw = [1 - 0.1 * (step + 1) for step in range(steps)]
    assert average.module.weight.item() == pytest.approx(_averaged(raw), abs=1e-6)
    assert runner.optim_wrapper.num_steps == steps


def test_unit_iter_averages_after_every_batch_as_the_api_does(make_run):
    hook = {'type': 'EMAHook', 'momentum': 0.5, 'unit': 'iter'}
    runner = make_run([hook], iters=4, optim_wrapper=_wrapper(2))
    runner.train()
    # The weights after the four batches: 1.0, 0.9, 0.9, 0.8.
    expected = _averaged([1.0, 0.9, 0.9, 0.8])
    assert _average_of(runner).ema_model.module.weight.item() == pytest.approx(expected)


def test_interval_counts_optimizer_steps(make_run):
    hook = {'type': 'EMAHook', 'momentum': 0.5, 'interval': 2}
    runner = make_run([hook], iters=8, optim_wrapper=_wrapper(2))
    runner.train()
    # Steps 0.9 (copied), 0.8, 0.7, 0.6: every second update after the first averages.
    expected = _averaged([0.9, 0.7])
    assert _average_of(runner).ema_model.module.weight.item() == pytest.approx(expected, abs=1e-6)


def test_a_step_after_an_early_stop_is_averaged(make_run):
    class Stop(EMAHook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            super().after_train_iter(runner, batch_idx, data_batch, outputs)
            runner.train_loop.stop_training = runner.iter + 1 == 6

    hook = Stop(momentum=0.5)
    runner = make_run([hook], iters=20, optim_wrapper=_wrapper(4))
    runner.train()
    # A step after batch 4, and one for the open window of batches 5 and 6.
    assert runner.model.weight.item() == pytest.approx(0.8)
    assert hook.ema_model.module.weight.item() == pytest.approx(_averaged([0.9, 0.8]))


def test_a_run_resumed_inside_a_window_has_the_average_of_the_whole_one(make_run):
    def run(**kwargs: Any) -> Any:
        hooks = {'checkpoint': {'type': 'CheckpointHook', 'interval': 6, 'by_epoch': False}}
        ema = {'type': 'EMAHook', 'momentum': 0.3}
        runner = make_run([ema], iters=14, optim_wrapper=_wrapper(4), default_hooks=hooks, **kwargs)
        runner.train()
        return runner

    whole = run(work_dir='whole')
    resumed = run(work_dir='resumed', resume=f'{whole.work_dir}/iter_6.pth')
    ours, theirs = (_average_of(each).ema_model.state_dict() for each in (resumed, whole))
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)
    assert resumed.optim_wrapper.num_steps == whole.optim_wrapper.num_steps == 4


class _Two(BaseModel):
    """Its second optimizer steps in every second iteration only."""

    def __init__(self) -> None:
        super().__init__()
        self.one = nn.Parameter(torch.tensor(1.0))
        self.other = nn.Parameter(torch.tensor(1.0))

    def forward(self, x: torch.Tensor, mode: str) -> Any:
        raise NotImplementedError

    def train_step(self, data: Any, optim_wrapper: OptimWrapperDict) -> dict[str, torch.Tensor]:
        wrapper = optim_wrapper['one']
        count = wrapper.inner_count + optim_wrapper['other'].inner_count
        name = 'one' if count % 2 else 'other'
        loss = getattr(self, name) * 1.0
        optim_wrapper[name].update_params(loss)
        return {'loss': loss}


def test_with_several_optimizers_each_iteration_with_a_step_counts(make_run):
    model = _Two()
    wrapper = OptimWrapperDict(
        one=OptimWrapper(torch.optim.SGD([model.one], lr=0.1), accumulative_counts=2),
        other=OptimWrapper(torch.optim.SGD([model.other], lr=0.1)),
    )
    hook = EMAHook(momentum=0.5)
    runner = make_run([hook], iters=8, model=model, optim_wrapper=wrapper)
    runner.train()
    # 'other' steps in batches 1, 3, 5 and 7, 'one' for its batches 2 and 4, and 6 and 8.
    assert [each.num_steps for each in wrapper.values()] == [2, 4]
    assert wrapper.num_steps == 4
    assert int(hook.ema_model.steps) == 6
    assert hook.ema_model.module.one.item() == pytest.approx(
        _averaged([1.0, 1.0, 0.9, 0.9, 0.9, 0.8])
    )


def test_an_unknown_unit_is_refused():
    with pytest.raises(ArgumentError, match="'step', 'iter', 'sample'"):
        EMAHook(unit='steps')


class _Uncounted(BaseOptimWrapper):
    """A wrapper that does not count its steps."""

    def optim_context(self, model: nn.Module) -> Any:
        return nullcontext()

    def update_params(self, loss: torch.Tensor) -> None:
        self.backward(loss)
        self.step()
        self.zero_grad()

    def backward(self, loss: torch.Tensor, **kwargs: Any) -> None:
        loss.backward()

    def step(self, **kwargs: Any) -> None:
        self.optimizer.step()

    def zero_grad(self, **kwargs: Any) -> None:
        self.optimizer.zero_grad()


def test_without_a_count_of_steps_every_batch_is_averaged(make_run):
    hook = EMAHook(momentum=0.5)
    runner = make_run([hook], iters=3)
    runner.optim_wrapper = _Uncounted(torch.optim.SGD(runner.model.parameters(), lr=0.1))
    runner.train()
    assert int(hook.ema_model.steps) == 3
    with pytest.raises(ArgumentError, match='does not count its optimizer steps'):
        runner.state.finished('step')


def test_unit_sample_averages_when_the_interval_is_reached(make_run):
    hook = {'type': 'EMAHook', 'momentum': 0.5, 'unit': 'sample', 'interval': 3}
    runner = make_run([hook], iters=8)
    runner.train()
    # One sample a batch: after 3 and 6 samples the weights are 0.7 (copied) and 0.4.
    expected = _averaged([0.7, 0.4])
    assert _average_of(runner).ema_model.module.weight.item() == pytest.approx(expected, abs=1e-6)
