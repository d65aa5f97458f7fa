"""Ranks end a training together: one that stops, and ranks with different numbers of batches."""

from __future__ import annotations

from typing import Any

import pytest
from runner_toy import NO_VALIDATION, toy_config
from torch.utils.data import DataLoader

from mmengine.hooks import Hook
from mmengine.process.failure import RankFailedError
from mmengine.runner import Runner
from mmengine.runner._even_batches import UnevenBatchesError
from mmengine.testing._internal.distributed import run_distributed

pytestmark = pytest.mark.distributed


class StopsOn(Hook):
    """Sets ``stop_training`` on some ranks, at one point of the run."""

    def __init__(self, ranks: list[int], point: str, at: int) -> None:
        self.ranks, self.point, self.at = ranks, point, at

    def _stop(self, runner: Runner, point: str, finished: int) -> None:
        if point == self.point and runner.rank in self.ranks and finished == self.at:
            runner.train_loop.stop_training = True

    def after_train_iter(self, runner: Runner, **kwargs: Any) -> None:
        self._stop(runner, 'after_train_iter', runner.iter + 1)

    def after_train_epoch(self, runner: Runner) -> None:
        self._stop(runner, 'after_train_epoch', runner.iter)

    def after_val(self, runner: Runner) -> None:
        self._stop(runner, 'after_val', runner.iter)


def _train(rank: int, world_size: int, folder: str, cases: list[Any]) -> list[Any]:
    """(iterations, epochs, stop_training, window left open) of each case, in one process group."""
    results = []
    for number, (train_cfg, counts, *stop) in enumerate(cases):
        runner = Runner(
            **toy_config(
                f'{folder}/{number}',
                launcher='pytorch',
                train_cfg=train_cfg,
                custom_hooks=[StopsOn(*stop)],
                optim_wrapper={
                    'optimizer': {'type': 'SGD', 'lr': 0.1},
                    'accumulative_counts': counts,
                },
            )
        )
        runner.train()
        gradient = runner.model.module.linear.weight.grad
        is_open = gradient is not None and bool(gradient.abs().sum())
        results.append((runner.iter, runner.epoch, runner.train_loop.stop_training, is_open))
    return results


def test_stop_training_on_one_rank_ends_all_at_the_same_step(tmp_path):
    # 8 samples in batches of 2 over 2 ranks: an epoch has 2 iterations.
    epochs = {'by_epoch': True, 'max_epochs': 4}
    iters = {'by_epoch': False, 'max_iters': 400, 'val_interval': 4}
    cases: list[Any] = [
        (epochs, 1, [1], 'after_train_epoch', 4),
        (epochs, 1, [0], 'after_train_iter', 3),
        (epochs, 3, [1], 'after_val', 2),
        (iters, 1, [0, 1], 'after_train_iter', 7),
        (iters, 3, [0, 1], 'after_val', 8),
        (iters, 1, [1], 'after_train_iter', 7),
        (iters, 3, [0], 'after_val', 8),
        (iters, 3, [1], 'after_train_iter', 10),
    ]
    first, second = run_distributed(_train, 2, str(tmp_path), cases, backend=None)
    assert first == second
    assert all(stopped and not is_open for _, _, stopped, is_open in first)
    # By epoch, at the end of the epoch.
    assert [result[:2] for result in first[:3]] == [(4, 2), (4, 2), (2, 1)]
    # By iteration, at once where all ranks say so, else at the batch on which they agree.
    assert [result[0] for result in first[3:5]] == [7, 8]
    for (iteration, *_), begun in zip(first[5:], (7, 8, 10), strict=True):
        assert begun <= iteration < 400


class Announces(DataLoader):
    """Says that it has more batches than it gives."""

    announced = 0

    def __len__(self) -> int:
        return self.announced or super().__len__()


def _data(length: int, **sampler: Any) -> dict[str, Any]:
    return {
        'dataset': {'type': 'ToyLine', 'length': length},
        'batch_size': 1,
        'sampler': {'type': 'DefaultSampler', 'shuffle': False, **sampler},
    }


def _train_uneven(rank: int, world_size: int, folder: str, uneven: str) -> Any:
    runner = Runner(
        **toy_config(
            folder,
            launcher='pytorch',
            train_dataloader=_data(5, round_up=False),
            train_cfg={'by_epoch': True, 'max_epochs': 2, 'uneven': uneven},
            **NO_VALIDATION,
        )
    )
    try:
        runner.train()
    except (UnevenBatchesError, RankFailedError) as error:
        return str(error)
    return runner.iter, runner.epoch, runner.max_iters


def test_different_numbers_of_batches_are_an_error_that_says_who_has_how_many(tmp_path):
    for text in run_distributed(_train_uneven, 2, str(tmp_path), 'error', backend=None):
        assert 'rank 0 has 3, rank 1 has 2' in text
        assert "uneven='shortest'" in text


def test_an_epoch_may_end_with_the_shortest_rank(tmp_path):
    # 5 samples: rank 0 has 3 batches, rank 1 has 2.
    results = run_distributed(_train_uneven, 2, str(tmp_path), 'shortest', backend=None)
    assert results == [(4, 2, 4)] * 2


def _train_short(rank: int, world_size: int, folder: str) -> str:
    runner = Runner(
        **toy_config(
            folder,
            launcher='pytorch',
            train_dataloader=_data(8),
            train_cfg={'by_epoch': True, 'max_epochs': 2},
            **NO_VALIDATION,
        )
    )
    if rank == 1:  # it gives 2 of its 4 batches
        own = runner.train_loop.dataloader
        given = list(own)[:2]
        shorter = Announces(own.dataset, batch_sampler=[[0], [1]], collate_fn=lambda _: given[0])
        shorter.announced = 4
        runner.train_loop.dataloader = shorter
    with pytest.raises((UnevenBatchesError, RankFailedError)) as caught:
        runner.train()
    return str(caught.value)


def test_a_rank_with_fewer_batches_than_announced_is_told_instead_of_waited_for(tmp_path):
    for text in run_distributed(_train_short, 2, str(tmp_path), backend=None):
        assert 'rank 1 gave 2 batches, but its length is 4' in text
        assert 'rank 0 has more, rank 1 has 2' in text
