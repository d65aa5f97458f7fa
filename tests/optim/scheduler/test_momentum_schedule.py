"""Momentum under its two names: ``momentum`` and the first of ``betas``."""

import pytest
import torch

from mmengine.optim import scheduler
from mmengine.utils.errors import ArgumentError


def test_sgd_momentum_is_scheduled(make_optimizer, record):
    optimizer = make_optimizer([0.1, 0.1])
    fall = scheduler.LinearMomentum(optimizer, start_factor=0.5, end=3)
    got = record(optimizer, [fall], 4, key='momentum')
    assert [row[1] for row in got] == pytest.approx([0.45, 0.675, 0.9, 0.9])
    assert [group['lr'] for group in optimizer.param_groups] == [0.1, 0.1]


@pytest.mark.parametrize('kind', ['Adam', 'AdamW', 'NAdam', 'Adamax', 'RAdam'])
def test_adams_first_beta_is_scheduled_and_its_second_kept(kind, make_optimizer, record):
    optimizer = make_optimizer([0.1], kind=getattr(torch.optim, kind), betas=(0.8, 0.95))
    halving = scheduler.ExponentialMomentum(optimizer, gamma=0.5)
    got = [row[0] for row in record(optimizer, [halving], 3, key='betas')]
    assert got == [(0.8, 0.95), (0.4, 0.95), (0.2, 0.95)]


def test_two_momentum_schedules_in_a_row_share_the_base_value(make_optimizer, record):
    optimizer = make_optimizer([0.1], kind=torch.optim.Adam)
    schedules = [
        scheduler.LinearMomentum(optimizer, start_factor=0.5, end=3),
        scheduler.MultiStepMomentum(optimizer, milestones=[1], gamma=0.5, begin=3),
    ]
    got = [row[0][0] for row in record(optimizer, schedules, 6, key='betas')]
    assert got == pytest.approx([0.45, 0.675, 0.9, 0.9, 0.45, 0.45])
    assert schedules[1].base_values == [0.9]


def test_plateau_writes_betas(make_optimizer):
    optimizer = make_optimizer([0.1], kind=torch.optim.Adam)
    plateau = scheduler.ReduceOnPlateauMomentum(optimizer, patience=0, factor=0.5)
    plateau.step({'loss': 1.0})
    plateau.step({'loss': 1.0})
    assert optimizer.param_groups[0]['betas'] == (0.45, 0.999)


def test_an_optimizer_without_momentum_is_refused(make_optimizer):
    optimizer = make_optimizer([0.1], kind=torch.optim.Adagrad)
    with pytest.raises(ArgumentError, match='momentum or betas; the groups of Adagrad have lr'):
        scheduler.StepMomentum(optimizer, 3)
