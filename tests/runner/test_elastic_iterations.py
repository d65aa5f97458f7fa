"""A launch goes on with 1 or 2 ranks: iterations have the same samples and take the same steps."""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from elastic_toy import Seeing, flat, make
from torch import nn

from mmengine.dist._dtensor import full_tensor
from mmengine.hooks import Hook
from mmengine.process.failure import RankFailedError
from mmengine.runner import _elastic
from mmengine.testing._internal.distributed import run_distributed

LENGTH, BATCH = 22, 4
# 22 samples are 3 iterations of 2 ranks with 4 samples each: 8, 8 and 6. Each run begins on the
# first number of ranks, is stopped within its second pass, and goes on on the second number.
STOP, ITERS = 5, 11
WINDOWS = {'optimizer': {'type': 'SGD', 'lr': 0.1, 'momentum': 0.9}, 'accumulative_counts': 2}
SCHEDULE = {'type': 'LinearLR', 'start_factor': 0.1, 'end': 8, 'by_epoch': False}
RUNS: dict[str, dict[str, Any]] = {
    'epochs': {'epochs': 3},
    'iterations': {'iters': ITERS},
    'windows': {'iters': ITERS, 'optim_wrapper': WINDOWS},
    'sharded': {'iters': ITERS, 'cfg': {'strategy': 'fsdp'}},
}


class Calls(Hook):
    """Notes the iterations, and ends the run after ``stop`` of them like a rank that is killed."""

    priority = 'LOWEST'

    def __init__(self, stop: int | None) -> None:
        self.stop = stop
        self.iters: list[int] = []

    def after_train_iter(self, runner: Any, batch_idx: int, **kwargs: Any) -> None:
        self.iters.append(runner.iter)
        if runner.iter + 1 == self.stop:
            raise InterruptedError


def _start(folder: Path, name: str, batch_size: int, stop: int | None) -> dict[str, Any]:
    """One start of a run on this rank."""
    torch.manual_seed(3)
    model, calls = Seeing(), Calls(stop)
    runner = make(
        folder, batch_size, model=model, length=LENGTH, launcher='pytorch',
        custom_hooks=[calls], param_scheduler=SCHEDULE, **RUNS[name],
    )  # fmt: skip
    try:
        runner.train()
    except (InterruptedError, RankFailedError):
        assert stop is not None
    return {
        'seen': [[sample[0] for sample in batch] for batch in model.seen],
        'iters': calls.iters,
        'lr': runner.optim_wrapper.get_lr()['lr'][0],
        'weights': [full_tensor(param).detach().clone() for param in runner.model.parameters()],
    }


def _starts(rank: int, world_size: int, folder: str, kinds: dict[str, Any]) -> dict[str, Any]:
    """Starts on these ranks: of each kind, a batch size and the iteration at which it ends."""
    os.environ['TORCHELASTIC_RUN_ID'] = 'run'
    _elastic.parent_process = lambda: 'agent'  # type: ignore[assignment]  # of all starts
    return {
        f'{kind} {name}': _start(Path(folder, f'{kind} {name}'), name, *kinds[kind])
        for kind in kinds
        for name in RUNS
    }


def _expected(batches: list[list[int]], counts: int, momentum: float) -> tuple[float, list[Any]]:
    """The learning rate and the parameters after these global batches, in plain PyTorch."""
    torch.manual_seed(3)
    linear = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(linear.parameters(), lr=0.1, momentum=momentum)
    for begin in range(0, len(batches), counts):
        window = batches[begin : begin + counts]
        optimizer.zero_grad()
        for batch in window:
            x = torch.tensor(batch, dtype=torch.float32)[:, None] * 0.01
            (linear(x).square().mean() / len(window)).backward()
        optimizer.param_groups[0]['lr'] = _rate(begin + len(window) - 1)
        optimizer.step()
    return _rate(len(batches)), [param.detach() for param in linear.parameters()]


def _rate(iteration: int) -> float:
    """From a tenth to the whole of 0.1 in iterations 0 to 7."""
    return 0.1 * (0.1 + 0.9 * min(iteration, 7) / 7)


@pytest.mark.shows(['DDP', 'FSDP'], 'another number of ranks', 'works')
@pytest.mark.distributed
def test_an_iteration_keeps_its_samples_with_fewer_and_with_more_ranks(tmp_path):
    def start(world_size: int, **kinds: Any) -> list[dict[str, Any]]:
        return run_distributed(_starts, world_size, str(tmp_path), kinds)

    (alone,) = start(1, grows=(8, STOP), whole=(8, None))
    of_two = start(2, grows=(8, None), shrinks=(4, STOP))
    (at_last,) = start(1, shrinks=(4, None))

    for name in RUNS:
        whole = alone[f'whole {name}']['seen']
        assert [len(batch) for batch in whole[:3]] == [8, 8, 6]
        assert Counter(flat(whole[:9])) == dict.fromkeys(range(LENGTH), 3)
        counts, momentum = (2, 0.9) if name == 'windows' else (1, 0.0)
        lr, weights = _expected(whole, counts, momentum)

        shared = [
            [
                sorted(flat(parts))
                for parts in zip(*(each[key]['seen'] for each in of_two), strict=True)
            ]
            for key in (f'grows {name}', f'shrinks {name}')
        ]
        # The first number of ranks, then the second one.
        grown = [*map(sorted, alone[f'grows {name}']['seen']), *shared[0]]
        parts = at_last[f'shrinks {name}']['seen']
        assert [len(part) for part in parts[:2]] == [3, 3]  # the rest of the second pass
        shrunk = [
            *shared[1],
            *(sorted(a + b) for a, b in zip(parts[::2], parts[1::2], strict=True)),
        ]
        assert grown == shrunk == [sorted(batch) for batch in whole]

        for ended in (of_two[0][f'grows {name}'], at_last[f'shrinks {name}']):
            assert ended['iters'] == list(range(STOP, len(whole)))  # a hook is called once
            assert ended['lr'] == pytest.approx(lr)
            torch.testing.assert_close(ended['weights'], weights, rtol=0, atol=1e-6)
