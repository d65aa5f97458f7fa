"""Further starts of a launch: how they are recognized, and the samples of a step on other ranks."""

from __future__ import annotations

import logging
import math
from pathlib import Path
from typing import Any, ClassVar

import pytest
from elastic_toy import Augmented, OwnBatches, make
from torch.utils.data import DataLoader

from mmengine.hooks import Hook
from mmengine.optim import OptimWrapper
from mmengine.runner import IterBasedTrainLoop, _elastic, _elastic_iteration, _elastic_step
from mmengine.runner._elastic_step import keep_samples

OWN = {'type': 'ToyOwnBatches'}
OWN_OBJECT = OwnBatches(range(16), 4)


class OwnLoop(IterBasedTrainLoop):
    """A loop of a project, which may do something with a batch."""

    def run_iter(self, data_batch: Any) -> None:
        super().run_iter(data_batch)


class Failing(Hook):
    """Ends the run in its first iteration."""

    priority = 'VERY_HIGH'

    def before_train_iter(self, runner: Any, batch_idx: int, data_batch: Any = None) -> None:
        raise RuntimeError('before a checkpoint')


@pytest.fixture
def ranks(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets the number of ranks that the run has now."""

    def set_number(number: int) -> None:
        for module in (_elastic_step, _elastic_iteration):
            monkeypatch.setattr(module, 'get_data_parallel_info', lambda: (0, number))

    return set_number


def _texts(runner: Any) -> list[str]:
    texts: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: texts.append(record.getMessage())
    runner.logger.setLevel('WARNING')
    runner.logger.addHandler(handler)
    return texts


SGD = {'optimizer': {'type': 'SGD', 'lr': 0.1}}
AS_CONFIG = 'Batches and accumulation are as the config says'


class TestIterations:
    """The samples of an iteration are kept."""

    @pytest.mark.parametrize(
        ('before', 'now', 'share', 'parts'),
        # share = 4 * before / now samples of a rank; parts = before / now, rounded up
        [(2, 1, 8, 2), (3, 2, 6, 2), (1, 2, 2, 1), (4, 1, 16, 4), (2, 4, 2, 1)],
    )
    @pytest.mark.parametrize('counts', ['epochs', 'iters'])
    def test_a_rank_has_its_share(
        self, tmp_path: Path, ranks: Any, before: int, now: int, share: int, parts: int, counts: str
    ) -> None:
        runner = make(tmp_path, 4, **{counts: 6})
        texts = _texts(runner)
        ranks(now)
        keep_samples(runner, before)
        loader = runner.train_loop.dataloader
        assert loader.batch_sampler.batch_size == loader.batch_size == share
        assert len(loader) == math.ceil(
            16 / share
        )  # the patched number of ranks does not split the data
        batch = next(iter(loader))
        if parts == 1:
            assert len(batch['x']) == share
        else:
            assert [len(part['x']) for part in batch.parts] == [share // parts] * parts
        (text,) = texts
        assert text.startswith(f'The run began on {before} ranks and goes on with {now}: a rank ')
        assert f'loads {share} samples for an iteration instead of 4' in text
        assert (f'in {parts} parts' in text) == (parts > 1)
        assert 'accumulative_counts' not in runner.optim_wrapper

    @pytest.mark.parametrize('is_built', [False, True], ids=['loader', 'loop'])
    def test_of_a_finished_dataloader(self, tmp_path: Path, ranks: Any, is_built: bool) -> None:
        runner = make(tmp_path, 4, train_dataloader=DataLoader(Augmented(16), 4))
        if is_built:
            assert runner.train_loop.max_iters == 8
        ranks(1)
        keep_samples(runner, 2)
        assert runner.train_loop.max_iters == 4  # 2 epochs of 16 samples in batches of 8
        assert next(iter(runner.train_loop.dataloader)).sizes == [4, 4]

    def test_of_a_batch_sampler(self, tmp_path: Path, ranks: Any) -> None:
        for config in ({}, {'batch_size': 4}):
            runner = make(tmp_path, 4, loader={'batch_sampler': {**OWN, **config}})
            ranks(1)
            keep_samples(runner, 2)
            assert runner.train_loop.dataloader.batch_sampler.batch_size == 8

    @pytest.mark.parametrize(
        ('changes', 'now', 'reason'),
        [
            ({}, 3, 'the 8 samples of an iteration cannot be divided by 3'),
            ({'loader': {'batch_size': None}}, 1, 'the size of its batches is not known'),
            ({'loader': {'batch_sampler': OWN_OBJECT}}, 1, 'the size of its batches cannot be'),
            ({'optim_wrapper': {**SGD, 'type': 'ClosureOptimWrapper'}}, 1, 'does not accumulate'),
            ({'train_cfg': {'type': OwnLoop, 'max_iters': 6}}, 1, 'OwnLoop has its own run_iter'),
        ],
        ids=['indivisible', 'no batches', 'batch sampler', 'closures', 'loop'],
    )
    def test_what_cannot_be_kept(
        self, tmp_path: Path, ranks: Any, changes: dict[str, Any], now: int, reason: str
    ) -> None:
        runner = make(tmp_path, 4, **{'iters': 6, **changes})
        texts = _texts(runner)
        ranks(now)
        keep_samples(runner, 2)
        assert reason in texts[0]
        assert AS_CONFIG in texts[0]


class TestSteps:
    """The samples of an optimizer step are kept, where an iteration cannot have as many."""

    LOADER: ClassVar[dict[str, Any]] = {'batch_sampler': OWN_OBJECT}

    @pytest.mark.parametrize(
        ('counts', 'before', 'now', 'expected'),
        # counts * before / now, where that is a whole number
        [(1, 2, 1, 2), (3, 4, 2, 6), (2, 2, 4, 1), (4, 3, 2, 6), (1, 2, 3, 1), (1, 1, 2, 1)],
    )
    def test_windows_keep_the_samples_if_they_can_be_divided(
        self, tmp_path: Path, ranks: Any, counts: int, before: int, now: int, expected: int
    ) -> None:
        runner = make(tmp_path, 4, loader=self.LOADER)
        runner.optim_wrapper = {**SGD, 'accumulative_counts': counts}
        texts = _texts(runner)
        ranks(now)
        keep_samples(runner, before)
        assert runner.optim_wrapper['accumulative_counts'] == expected
        (text,) = texts
        assert text.startswith(f'The run began on {before} ranks and goes on with {now}: ')
        if counts * before % now:
            assert f'nor can the {counts * before} batches of a step' in text
            assert AS_CONFIG in text
        else:
            assert f'accumulates {expected} batches of a rank instead of {counts}' in text

    def test_wrappers_and_configs_by_name(self, tmp_path: Path, ranks: Any) -> None:
        runner = make(tmp_path, 4, loader=self.LOADER)
        config = {'one': {**SGD}, 'two': {**SGD, 'accumulative_counts': 2}}
        runner.optim_wrapper = config
        ranks(1)
        keep_samples(runner, 2)
        found = [part['accumulative_counts'] for part in runner.optim_wrapper.values()]
        assert found == [2, 4]
        assert 'accumulative_counts' not in config['one']  # it belongs to the user

    def test_a_wrapper_that_is_built(self, tmp_path: Path, ranks: Any) -> None:
        runner = make(tmp_path, 4, loader=self.LOADER)
        runner.optim_wrapper = runner.build_optim_wrapper(dict(SGD))
        assert isinstance(runner.optim_wrapper, OptimWrapper)
        ranks(1)
        keep_samples(runner, 2)
        assert runner.optim_wrapper._accumulative_counts == 2

    def test_scaled_learning_rates_stay(self, tmp_path: Path, ranks: Any) -> None:
        scaling = {'base_batch_size': 16, 'enable': True}
        runner = make(tmp_path, 4, loader=self.LOADER, auto_scale_lr=scaling)
        ranks(1)
        keep_samples(runner, 2)
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
