"""A hook may move the end of a training; accumulation windows follow it."""

from __future__ import annotations

from typing import Any

import pytest
from runner_toy import NO_VALIDATION, parameters, toy_runner, trained_by_hand

from mmengine.hooks import Hook


class Moves(Hook):
    """Writes a length of the train loop after an iteration."""

    def __init__(self, iteration: int, **lengths: int) -> None:
        self.iteration, self.lengths = iteration, lengths

    def after_train_iter(self, runner: Any, *args: Any, **kwargs: Any) -> None:
        if runner.iter + 1 == self.iteration:
            for name, value in self.lengths.items():
                setattr(runner.train_loop, f'_{name}', value)


@pytest.mark.parametrize(
    ('train_cfg', 'moves', 'batches'),
    [
        ({'by_epoch': False, 'max_iters': 7}, Moves(2, max_iters=12), 12),
        ({'by_epoch': False, 'max_iters': 12}, Moves(2, max_iters=7), 7),
        ({'by_epoch': True, 'max_epochs': 1}, Moves(2, max_epochs=3), 12),
        ({'by_epoch': True, 'max_epochs': 2}, Moves(6, max_epochs=3), 12),
    ],
    ids=['longer', 'shorter', 'more epochs', 'more epochs in the last'],
)
def test_no_window_is_cut_at_the_old_end(tmp_path, train_cfg, moves, batches):
    """Batches of two samples, four in a pass; three batches make a step, the last window fewer."""
    runner = toy_runner(
        tmp_path,
        train_cfg=train_cfg,
        optim_wrapper={'optimizer': {'type': 'SGD', 'lr': 0.1}, 'accumulative_counts': 3},
        **NO_VALIDATION,
        custom_hooks=[moves],
    )
    runner.train()
    samples = [[2 * (batch % 4), 2 * (batch % 4) + 1] for batch in range(batches)]
    windows = [
        [index for batch in samples[first : first + 3] for index in batch]
        for first in range(0, batches, 3)
    ]
    assert (runner.iter, runner.optim_wrapper.num_steps) == (batches, len(windows))
    assert parameters(runner.model) == pytest.approx(trained_by_hand(windows), abs=1e-6)
