"""Resuming from a checkpoint that holds no schedulers, as other engines and old runs leave them."""

from typing import Any

import pytest
import torch
from torch import nn

from mmengine.strategy import SingleDeviceStrategy

SGD = {'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}}
LENGTHS = {'epoch_length': 5, 'max_epochs': 6, 'max_iters': 30}
WARM_UP_AND_STEPS = [
    {'type': 'LinearLR', 'start_factor': 0.1, 'begin': 0, 'end': 8, 'by_epoch': False},
    {'type': 'MultiStepLR', 'milestones': [2, 4], 'by_epoch': True},
]
COSINE = {'type': 'CosineAnnealingLR', 'T_max': 6, 'eta_min': 0.01, 'convert_to_iter_based': True}


def _prepared(work_dir: Any, scheduler: Any, wrapper: Any = SGD) -> SingleDeviceStrategy:
    strategy = SingleDeviceStrategy(work_dir=str(work_dir), log_kwargs={'log_level': 'ERROR'})
    model = nn.Linear(1, 1, bias=False)
    strategy.prepare(
        model, optim_wrapper=wrapper, param_scheduler=scheduler, dispatch_kwargs=LENGTHS
    )
    return strategy


def _train(strategy: SingleDeviceStrategy, first: int, last: int) -> list[float]:
    """Iterations ``first`` to ``last``, five an epoch; the rate of each."""
    rates = []
    for iteration in range(first, last):
        rates.append(strategy.optim_wrapper.param_groups[0]['lr'])
        strategy.optim_wrapper.update_params(strategy.model(torch.ones(1, 1)).square().sum())
        for scheduler in strategy.param_schedulers:
            if not scheduler.by_epoch or (iteration + 1) % 5 == 0:
                scheduler.step()
    return rates


def _checkpoint(strategy: SingleDeviceStrategy, path: Any, iteration: int) -> str:
    strategy.save_checkpoint(
        str(path),
        save_param_scheduler=False,
        extra_ckpt={'meta': {'epoch': iteration // 5, 'iter': iteration}},
    )
    return str(path)


@pytest.mark.parametrize('scheduler', [WARM_UP_AND_STEPS, COSINE])
@pytest.mark.parametrize('stopped', [5, 7, 20])
def test_fresh_schedulers_go_on_at_the_iteration_of_the_checkpoint(tmp_path, scheduler, stopped):
    whole = _prepared(tmp_path / 'whole', scheduler)
    _train(whole, 0, stopped)
    path = _checkpoint(whole, tmp_path / 'stopped.pth', stopped)
    expected = _train(whole, stopped, 30)

    resumed = _prepared(tmp_path / 'resumed', scheduler)
    resumed.resume(path, map_location='cpu')
    assert _train(resumed, stopped, 30) == pytest.approx(expected, rel=1e-12)
    assert torch.equal(resumed.model.weight, whole.model.weight)


def test_the_rate_of_the_schedule_wins_over_a_rate_saved_before_it_moved_on(tmp_path):
    scheduler = {'type': 'MultiStepLR', 'milestones': [2], 'by_epoch': True}
    strategy = _prepared(tmp_path / 'a', scheduler)
    _train(strategy, 0, 10)
    strategy.optim_wrapper.param_groups[0]['lr'] = (
        0.1  # as MMCV 1.x leaves it until the epoch begins
    )
    path = _checkpoint(strategy, tmp_path / 'stopped.pth', 10)

    resumed = _prepared(tmp_path / 'b', scheduler)
    resumed.resume(path, map_location='cpu')
    # One milestone of a tenth each lies behind.
    assert resumed.optim_wrapper.param_groups[0]['lr'] == pytest.approx(0.01)
    state = resumed.optim_wrapper.optimizer.state[resumed.model.weight]
    saved = strategy.optim_wrapper.optimizer.state[strategy.model.weight]
    assert torch.equal(state['momentum_buffer'], saved['momentum_buffer'])


def test_momenta_of_adam_are_scheduled_on_too(tmp_path):
    wrapper = {'optimizer': {'type': 'Adam', 'lr': 0.1, 'betas': (0.9, 0.99)}}
    scheduler = {'type': 'LinearMomentum', 'start_factor': 0.5, 'end': 9, 'by_epoch': False}
    strategy = _prepared(tmp_path / 'a', scheduler, wrapper)
    _train(strategy, 0, 4)
    expected = strategy.optim_wrapper.param_groups[0]['betas']
    path = _checkpoint(strategy, tmp_path / 'stopped.pth', 4)
    resumed = _prepared(tmp_path / 'b', scheduler, wrapper)
    resumed.resume(path, map_location='cpu')
    # From 0.45 to 0.9 in 8 steps, of which 4 are done.
    assert resumed.optim_wrapper.param_groups[0]['betas'] == pytest.approx((0.675, 0.99))
    assert resumed.optim_wrapper.param_groups[0]['betas'] == pytest.approx(expected)


def test_a_scheduler_that_waits_for_metrics_stays(tmp_path):
    scheduler = {'type': 'ReduceOnPlateauLR', 'monitor': 'loss', 'by_epoch': True}
    strategy = _prepared(tmp_path / 'a', scheduler)
    path = _checkpoint(strategy, tmp_path / 'stopped.pth', 20)
    resumed = _prepared(tmp_path / 'b', scheduler)
    before = resumed.param_schedulers[0].state_dict()
    resumed.resume(path, map_location='cpu')
    assert resumed.param_schedulers[0].state_dict() == before


def test_without_param_schedulers_being_resumed_they_start_afresh(tmp_path):
    strategy = _prepared(tmp_path / 'a', WARM_UP_AND_STEPS)
    _train(strategy, 0, 10)
    path = _checkpoint(strategy, tmp_path / 'stopped.pth', 10)
    resumed = _prepared(tmp_path / 'b', WARM_UP_AND_STEPS)
    resumed.resume(path, map_location='cpu', resume_param_scheduler=False)
    assert [scheduler.last_step for scheduler in resumed.param_schedulers] == [0, 0]
