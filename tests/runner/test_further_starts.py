"""Further starts of a launch: how they are recognized, and the windows on other ranks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from elastic_toy import make

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import _elastic, _elastic_step
from mmengine.runner._elastic_step import keep_step


class Failing(Hook):
    """Ends the run in its first iteration."""

    priority = 'VERY_HIGH'

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        raise RuntimeError('before a checkpoint')


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the number of ranks that the run has now."""

    def set_number(number: int) -> None:
        monkeypatch.setattr(_elastic_step, 'get_data_parallel_info', lambda: (0, number))

    return set_number


def _texts(runner: Any) -> list[str]:
    texts: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: texts.append(record.getMessage())
    runner.logger.setLevel('WARNING')
    runner.logger.addHandler(handler)
    return texts


SGD = {'optimizer': {'type': 'SGD', 'lr': 0.1}}


@pytest.mark.parametrize(
    ('counts', 'before', 'now', 'expected'),
    # counts * before / now, where that is a whole number
    [(1, 2, 1, 2), (3, 4, 2, 6), (2, 2, 4, 1), (4, 3, 2, 6), (1, 2, 3, 1), (1, 1, 2, 1)],
)
def test_windows_keep_the_samples_if_they_can_be_divided(
    tmp_path: Path, ranks: Any, counts: int, before: int, now: int, expected: int
) -> None:
    runner = make(tmp_path, 4)
    runner.optim_wrapper = {**SGD, 'accumulative_counts': counts}
    texts = _texts(runner)
    ranks(now)
    keep_step(runner, before)
    assert runner.optim_wrapper['accumulative_counts'] == expected
    (text,) = texts
    assert text.startswith(f'The run began on {before} ranks and goes on with {now}: ')
    if counts * before % now:
        assert f'the {counts * before} batches of a step cannot be divided by {now} ranks' in text
    else:
        assert f'accumulates {expected} batches of a rank instead of {counts}' in text


def test_wrappers_and_configs_by_name(tmp_path: Path, ranks: Any) -> None:
    runner = make(tmp_path, 4)
    config = {'one': {**SGD}, 'two': {**SGD, 'accumulative_counts': 2}}
    runner.optim_wrapper = config
    ranks(1)
    keep_step(runner, 2)
    found = [part['accumulative_counts'] for part in runner.optim_wrapper.values()]
    assert found == [2, 4]
    assert 'accumulative_counts' not in config['one']  # it belongs to the user


def test_a_wrapper_that_is_built(tmp_path: Path, ranks: Any) -> None:
    runner = make(tmp_path, 4)
    runner.optim_wrapper = runner.build_optim_wrapper(dict(SGD))
    assert isinstance(runner.optim_wrapper, OptimWrapper)
    ranks(1)
    keep_step(runner, 2)
    assert runner.optim_wrapper._accumulative_counts == 2


def test_a_run_in_iterations_stays_as_the_config_says(tmp_path: Path, ranks: Any) -> None:
    runner = make(tmp_path, 4, iters=6)
    texts = _texts(runner)
    ranks(1)
    keep_step(runner, 2)
    assert runner.optim_wrapper.get('accumulative_counts', 1) == 1
    assert 'it counts iterations' in texts[0]


@pytest.mark.parametrize('kind', ['DeepSpeedOptimWrapper', 'mmengine.ClosureOptimWrapper'])
def test_a_wrapper_without_windows_stays(tmp_path: Path, ranks: Any, kind: str) -> None:
    runner = make(tmp_path, 4)
    runner.optim_wrapper = {**SGD, 'type': kind}
    texts = _texts(runner)
    ranks(1)
    keep_step(runner, 2)
    assert 'accumulative_counts' not in runner.optim_wrapper
    assert 'does not accumulate' in texts[0]


def test_scaled_learning_rates_stay(tmp_path: Path, ranks: Any) -> None:
    runner = make(tmp_path, 4, auto_scale_lr={'base_batch_size': 16, 'enable': True})
    ranks(1)
    keep_step(runner, 2)
    # 2 ranks of 4 samples for a base of 16 are a half; so is 1 rank for a base of 8.
    assert runner.auto_scale_lr == {'base_batch_size': 8, 'enable': True}


class TestWhichStartItIs:
    """In one process, whose parent stands for the agent."""

    @pytest.fixture(autouse=True)
    def _agent(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv('TORCHELASTIC_RUN_ID', 'run')
        self.patch = monkeypatch

    def _start(self, folder: Path, name: str, **changes: Any) -> Any:
        """Train in a start with a process of this name."""
        self.patch.setattr(_elastic, 'this_process', lambda: name)
        runner = make(folder, 4, **changes)
        runner.train()
        return runner

    def test_a_further_start_goes_on(self, tmp_path: Path) -> None:
        self._start(tmp_path, 'one', epochs=1)
        runner = self._start(tmp_path, 'two', epochs=2)
        assert runner.state.resumed_at is not None
        assert runner.iter == 8  # 16 samples an epoch in batches of 4

    def test_a_second_training_of_the_same_process_begins(self, tmp_path: Path) -> None:
        self._start(tmp_path, 'one', epochs=1)
        assert self._start(tmp_path, 'one', epochs=1).state.resumed_at is None

    def test_another_launch_begins(self, tmp_path: Path) -> None:
        self._start(tmp_path, 'one', epochs=1)
        self.patch.setattr(_elastic, 'parent_process', lambda: 'another agent')
        assert self._start(tmp_path, 'two', epochs=1).state.resumed_at is None

    def test_checkpoints_from_before_the_launch_do_not_count(self, tmp_path: Path) -> None:
        self.patch.delenv('TORCHELASTIC_RUN_ID')
        self._start(tmp_path, 'before', epochs=1)
        self.patch.setenv('TORCHELASTIC_RUN_ID', 'run')
        with pytest.raises(RuntimeError, match='before a checkpoint'):
            self._start(tmp_path, 'one', epochs=1, custom_hooks=[Failing()])
        assert self._start(tmp_path, 'two', epochs=1).state.resumed_at is None

    def test_no_agent_leaves_no_note(self, tmp_path: Path) -> None:
        self.patch.delenv('TORCHELASTIC_RUN_ID')
        self._start(tmp_path, 'one', epochs=1)
        assert not (tmp_path / 'launch.json').exists()
