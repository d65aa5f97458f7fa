"""A training by epochs over a stream that does not say how long it is."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from runner_toy import NO_TEST, NO_VALIDATION, Recorder, parameters, toy_runner, trained_by_hand
from torch.utils.data import IterableDataset

from mmengine.runner import Runner


class Stream(IterableDataset[Any]):
    """The first ``length`` points of the toy line, without a length."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __iter__(self) -> Iterator[Any]:
        for index in range(self.length):
            x = torch.tensor([index / 10])
            yield {'x': x, 'y': 2 * x + 1}


BATCHES = [[0, 1], [2, 3], [4]]


def stream_runner(folder: Path, length: int = 5, **changes: Any) -> Runner:
    arguments: dict[str, Any] = {**NO_VALIDATION, **NO_TEST}
    loader = {'dataset': Stream(length), 'batch_size': 2}
    return toy_runner(folder, **{**arguments, 'train_dataloader': loader, **changes})


def test_each_epoch_is_a_pass(tmp_path: Path) -> None:
    runner = stream_runner(tmp_path)
    runner.train()
    assert (runner.epoch, runner.iter) == (2, 6)
    assert parameters(runner.model) == pytest.approx(trained_by_hand(BATCHES * 2), abs=1e-6)


def test_the_log_shows_that_the_length_is_unknown(tmp_path: Path) -> None:
    hooks = {'checkpoint': None, 'logger': {'type': 'LoggerHook', 'interval': 1}}
    runner = stream_runner(tmp_path, default_hooks=hooks, log_level='INFO')
    runner.train()
    log = Path(runner.log_dir, f'{runner.timestamp}.log').read_text()
    assert re.findall(r'Epoch\(train\) +(\[\d\]\[\d/\S\])', log)[:4] == [
        '[1][1/?]', '[1][2/?]', '[1][3/?]', '[2][1/?]'
    ]  # fmt: skip


def test_schedules_by_epoch_and_validations_follow_the_passes(tmp_path: Path) -> None:
    recorder = Recorder()
    loader = {'dataset': {'type': 'ToyLine'}, 'batch_size': 2}
    runner = stream_runner(
        tmp_path,
        param_scheduler={'type': 'StepLR', 'step_size': 1, 'gamma': 0.5},
        val_dataloader=loader,
        val_cfg={},
        val_evaluator={'type': 'ToyError'},
        custom_hooks=[recorder],
    )
    runner.train()
    assert recorder.validations == [(1, 3), (2, 6)]
    # The window ends with the second epoch, so only the end of the first one changes the value.
    assert runner.optim_wrapper.param_groups[0]['lr'] == 0.05


def test_the_last_accumulation_window_makes_its_step(tmp_path: Path) -> None:
    # 3 iterations in one epoch, a window of 2: steps after [0, 1, 2, 3] and [4].
    config = {'optimizer': {'type': 'SGD', 'lr': 0.1}, 'accumulative_counts': 2}
    runner = stream_runner(
        tmp_path, optim_wrapper=config, train_cfg={'by_epoch': True, 'max_epochs': 1}
    )
    runner.train()
    expected = trained_by_hand([[0, 1, 2, 3], [4]])
    assert parameters(runner.model) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize('hook', [{'type': 'EMAHook', 'begin_iter': 2}])
def test_hooks_that_compare_with_the_end_run(tmp_path: Path, hook: dict[str, Any]) -> None:
    runner = stream_runner(tmp_path, custom_hooks=[hook])
    runner.train()
    assert runner.iter == 6


def test_a_resumed_run_equals_an_unbroken_one(tmp_path: Path) -> None:
    hooks = {'checkpoint': {'type': 'CheckpointHook', 'interval': 1}, 'logger': None}
    stream_runner(
        tmp_path, default_hooks=hooks, train_cfg={'by_epoch': True, 'max_epochs': 1}
    ).train()
    resumed = stream_runner(tmp_path, default_hooks=hooks, resume=True)
    resumed.train()
    assert (resumed.epoch, resumed.iter) == (2, 6)
    assert parameters(resumed.model) == pytest.approx(trained_by_hand(BATCHES * 2), abs=1e-6)


def test_a_resume_within_an_epoch_goes_on_at_its_batch(tmp_path: Path) -> None:
    hooks = {'checkpoint': {'type': 'CheckpointHook', 'interval': 2, 'by_epoch': False}}
    stream_runner(tmp_path, default_hooks={**hooks, 'logger': None}).train()
    resumed = stream_runner(tmp_path, load_from=str(tmp_path / 'iter_4.pth'), resume=True)
    resumed.train()
    assert (resumed.epoch, resumed.iter) == (2, 6)
    assert parameters(resumed.model) == pytest.approx(trained_by_hand(BATCHES * 2), abs=1e-6)


def test_an_empty_stream_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match='no batch in a whole pass'):
        stream_runner(tmp_path, length=0).train()
