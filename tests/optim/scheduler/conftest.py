"""Optimizers small enough to see through, and the loop that steps them."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch


@pytest.fixture
def make_optimizer() -> Callable[..., torch.optim.Optimizer]:
    """An optimizer of one parameter a group; SGD with momentum unless another class is given."""

    def make(
        lrs: Sequence[Any] = (0.1,),
        kind: type[torch.optim.Optimizer] = torch.optim.SGD,
        **options: Any,
    ) -> torch.optim.Optimizer:
        if kind is torch.optim.SGD:
            options.setdefault('momentum', 0.9)
        groups = [{'params': [torch.nn.Parameter(torch.zeros(1))], 'lr': lr} for lr in lrs]
        return kind(groups, lr=0.1, **options)

    return make


@pytest.fixture
def record() -> Callable[..., list[list[float]]]:
    """The values of one key at each step of a run: first as built, then after every step."""

    def run(
        optimizer: torch.optim.Optimizer, schedules: Sequence[Any], steps: int, key: str = 'lr'
    ) -> list[list[float]]:
        values = []
        for _ in range(steps):
            values.append([group[key] for group in optimizer.param_groups])
            optimizer.step()
            for schedule in schedules:
                schedule.step()
        return values

    return run
