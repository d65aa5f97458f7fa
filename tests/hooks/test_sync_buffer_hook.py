"""Buffers of several processes become their mean; counters stay."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from mmengine.hooks import SyncBuffersHook
from mmengine.testing._internal.distributed import run_distributed


def _model(rank: int) -> nn.Module:
    model = nn.Module()
    model.register_buffer('mean', torch.tensor([1.0, 2.0]) + 4 * rank)
    model.register_buffer('fraction', torch.tensor(0.5 + rank, dtype=torch.float16))
    model.register_buffer('count', torch.tensor(10 + rank))
    model.register_buffer('mask', torch.tensor(rank == 0))
    return model


def _after_an_epoch(rank: int, world_size: int) -> dict[str, list[float]]:
    model = _model(rank)
    runner = SimpleNamespace(model=model, iter=0, state=SimpleNamespace(stage='train'))
    hook = SyncBuffersHook()
    hook.before_train(runner)
    runner.iter = 5
    hook.after_train_epoch(runner)
    return {name: value.tolist() for name, value in model.named_buffers()}


@pytest.mark.distributed
def test_floats_are_averaged_and_counters_are_left_alone():
    first, second = run_distributed(_after_an_epoch, 2)
    assert first['mean'] == second['mean'] == [3.0, 4.0]
    assert first['fraction'] == second['fraction'] == 1.0
    assert (first['count'], second['count']) == (10, 11)
    assert (first['mask'], second['mask']) == (True, False)


def _before_a_validation(rank: int, world_size: int) -> list[list[float]]:
    model = _model(rank)
    runner = SimpleNamespace(model=model, iter=0, state=SimpleNamespace(stage='train'))
    hook = SyncBuffersHook()
    hook.before_val(runner)  # no training has begun
    states = [model.mean.tolist()]
    hook.before_train(runner)
    runner.iter = 2
    hook.before_val(runner)
    states.append(model.mean.tolist())
    hook.after_train(runner)
    return states


@pytest.mark.distributed
def test_a_validation_within_training_sees_the_mean():
    first, second = run_distributed(_before_a_validation, 2)
    assert first == [[1.0, 2.0], [3.0, 4.0]]
    assert second == [[5.0, 6.0], [3.0, 4.0]]


def test_one_process_alone_keeps_its_buffers(make_run):
    runner = make_run([{'type': 'SyncBuffersHook'}], epochs=1)
    runner.train()
    # 0.5 a step.
    assert runner.model.scale.item() == 2.0
    assert int(runner.model.seen) == 4
