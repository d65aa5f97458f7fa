"""The last bit of every value is the one that mmengine 0.10.7 computes, so that logs compare."""

from typing import Any

import pytest
import torch

from mmengine.optim import scheduler

# Values of a learning rate of 0.1 by step, recorded from mmengine 0.10.7 (torch 2.13).
RECORDED: list[tuple[str, dict[str, Any], dict[int, str]]] = [
    (
        'LinearLR',
        {'start_factor': 0.001, 'end': 500},
        {
            3: '0x1.6f511a03d2cfap-11',
            5: '0x1.209efe66722aep-10',
            13: '0x1.623c61fc4a9b9p-9',
            29: '0x1.830b13c736d3ep-8',
            45: '0x1.2a7bfb48242cfp-7',
            75: '0x1.ef4a0fe4a49a8p-7',
        },
    ),
    (
        'LinearLR',
        {'start_factor': 0.1, 'end_factor': 0.5, 'begin': 3, 'end': 40},
        {
            3: '0x1.47ae147ae147cp-7',
            5: '0x1.907f6e5d4c3b5p-7',
            13: '0x1.59e26af37c04ap-6',
            29: '0x1.3e93e93e93e96p-5',
        },
    ),
    (
        'LinearLR',
        {'start_factor': 1.0, 'end_factor': 0.0, 'end': 30},
        {
            3: '0x1.6f3a4316f3a45p-4',
            5: '0x1.52fab4152fab6p-4',
            13: '0x1.c3f8f01c3f8f5p-5',
            29: '0x0.0p+0',
        },
    ),
    (
        'PolyLR',
        {'power': 0.9, 'eta_min': 0.0001, 'end': 160},
        {
            3: '0x1.92a517096f9fdp-4',
            5: '0x1.8e002f0125c87p-4',
            13: '0x1.7b5ce15ce5b5ap-4',
            29: '0x1.55c5e7c0dfcf5p-4',
            45: '0x1.2fb771218531ep-4',
            75: '0x1.cda88a5b4687dp-5',
        },
    ),
    (
        'PolyLR',
        {'power': 2.0, 'eta_min': 1e-05, 'end': 77},
        {
            3: '0x1.79e790e8fe062p-4',
            5: '0x1.657bbb6b2d8bap-4',
            13: '0x1.19789288a58abp-4',
            29: '0x1.3959658157027p-5',
            45: '0x1.10bb012890634p-6',
            75: '0x1.ca3516d2b04fap-16',
        },
    ),
    (
        'CosineAnnealingLR',
        {'T_max': 40, 'eta_min': 0.0001, 'begin': 3, 'end': 90},
        {
            3: '0x1.999999999999ap-4',
            5: '0x1.9714c28c89728p-4',
            13: '0x1.5dacea8237b88p-4',
            29: '0x1.c07b6a5b6bbf0p-6',
            45: '0x1.76d94c5e4c1fap-11',
            75: '0x1.72869a6b9c16cp-4',
        },
    ),
    (
        'CosineAnnealingLR',
        {'T_max': 40, 'eta_min_ratio': 0.05},
        {
            3: '0x1.94396b2e8242bp-4',
            5: '0x1.8aca3d8f99c15p-4',
            13: '0x1.3cb2839cdcf27p-4',
            29: '0x1.62bbc9fd59f10p-6',
            45: '0x1.1a51ea8d6f6aap-7',
            75: '0x1.8aca3d8f99d07p-4',
        },
    ),
    (
        'CosineRestartLR',
        {'periods': [20, 30, 40], 'restart_weights': [1, 0.5, 0.3], 'eta_min': 0.0001},
        {
            3: '0x1.834cead10f841p-4',
            5: '0x1.5dacea8237b88p-4',
            13: '0x1.c07b6a5b6bbf2p-6',
            29: '0x1.4558e63782a6cp-5',
            45: '0x1.c33cb54532e79p-9',
            75: '0x1.31b05705c91e3p-7',
        },
    ),
    (
        'CosineRestartLR',
        {'periods': [20, 30, 40], 'restart_weights': [1, 0.5, 0.3], 'eta_min_ratio': 0.1},
        {
            3: '0x1.8582a47f74d6ep-4',
            5: '0x1.639d29fc76770p-4',
            13: '0x1.1b3370f24a5d5p-5',
            29: '0x1.56100f72fcaffp-5',
            45: '0x1.9f7b4992893a0p-7',
            75: '0x1.08fb2c69c5fc7p-6',
        },
    ),
]

COMBINED = {
    2: '0x1.c6043d0be0207p-8',
    5: '0x1.157ebd5e5ee86p-6',
    17: '0x1.bba7e22c1b409p-5',
    31: '0x1.5fe5a3e40df8dp-4',
    59: '0x1.2ab4806c550aap-4',
    61: '0x1.d7d3587775d45p-8',
    150: '0x1.7b9040c0fdd6cp-9',
    199: '0x1.a36e2eb1c432dp-14',
}


@pytest.mark.parametrize(('name', 'arguments', 'expected'), RECORDED)
def test_the_bits_of_a_schedule(name, arguments, expected, make_optimizer, record):
    optimizer = make_optimizer([0.1, 0.01])
    schedule = getattr(scheduler, name)(optimizer, **arguments)
    values = record(optimizer, [schedule], max(expected) + 1)
    assert {step: values[step][0].hex() for step in expected} == expected


def test_the_bits_of_schedules_that_overlap(make_optimizer, record):
    optimizer = make_optimizer([0.1])
    schedules = [
        scheduler.LinearLR(optimizer, start_factor=0.001, end=30, by_epoch=False),
        scheduler.PolyLR(optimizer, power=0.9, eta_min=1e-4, end=200, by_epoch=False),
        scheduler.MultiStepLR(optimizer, milestones=[60], by_epoch=False),
    ]
    values = record(optimizer, schedules, 200)
    assert {step: values[step][0].hex() for step in COMBINED} == COMBINED


def test_a_linear_warm_up_has_the_bits_of_torch(make_optimizer, record):
    ours, theirs = make_optimizer([0.1]), make_optimizer([0.1])
    mine = scheduler.LinearLR(ours, start_factor=1e-3, end=501)
    torchs = torch.optim.lr_scheduler.LinearLR(theirs, start_factor=1e-3, total_iters=500)
    assert record(ours, [mine], 500) == record(theirs, [torchs], 500)
