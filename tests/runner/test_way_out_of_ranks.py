"""Two ranks, of which one fails: both leave, also where closing hooks wait for each other."""

import time
from typing import Any

import pytest
import torch
import torch.distributed as dist
from runner_toy import toy_config

from mmengine.hooks import Hook
from mmengine.process.failure import RankFailedError
from mmengine.runner import Runner
from mmengine.testing._internal.distributed import run_distributed

pytestmark = pytest.mark.distributed


class Meets(Hook):
    """Closes with a collective."""

    priority = 'LOWEST'

    def __init__(self) -> None:
        self.calls: list[str] = []

    def on_exception(self, runner: Any, error: BaseException) -> None:
        self.calls.append(type(error).__name__)

    def after_run(self, runner: Any) -> None:
        total = torch.ones(())
        dist.all_reduce(total)
        self.calls.append(f'{total.item():g}')


class FailsOnOne(Hook):
    """On the other rank Python is at work meanwhile."""

    def __init__(self, rank: int) -> None:
        self.rank = rank

    def before_train_iter(self, runner: Any, **kwargs: Any) -> None:
        if runner.iter == 1:
            if runner.rank == self.rank:
                raise ZeroDivisionError('on one rank')
            end = time.monotonic() + 60
            while time.monotonic() < end:
                time.sleep(0.01)


def _run(rank: int, world_size: int, folder: str, failing: int) -> tuple[str, list[str]]:
    meets = Meets()
    runner = Runner(
        **toy_config(folder, launcher='pytorch', custom_hooks=[FailsOnOne(failing), meets]),
    )
    with pytest.raises((ZeroDivisionError, RankFailedError)) as caught:
        runner.train()
    return caught.type.__name__, meets.calls


@pytest.mark.parametrize('failing', [0, 1])
def test_both_ranks_close_together(tmp_path, failing):
    results = run_distributed(_run, 2, str(tmp_path), failing, backend=None)
    for rank, (kind, calls) in enumerate(results):
        name = 'ZeroDivisionError' if rank == failing else 'RankFailedError'
        assert kind == name
        assert calls == [name, '2']
