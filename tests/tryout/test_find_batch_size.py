"""find_batch_size: sizes are doubled until a step fails, and the run stays what it was."""

from pathlib import Path
from typing import Any

import pytest
import torch
from tryout_toy import POINTS, Line, tryout_config

from mmengine.config import Config
from mmengine.runner import Runner
from mmengine.tryout import find_batch_size
from mmengine.tryout._memory import Memory, host_limit, is_out_of_memory
from mmengine.utils.errors import ArgumentError


class Fussy(Line):
    """Its step fails above a batch size."""

    def __init__(self, most: int, error: type[Exception], words: str) -> None:
        super().__init__()
        self.most, self.error, self.words = most, error, words

    def forward(self, x: Any, y: Any = None, mode: str = 'tensor') -> Any:
        if len(x) > self.most:
            raise self.error(self.words)
        return super().forward(x, y, mode)


def fussy_config(work_dir: Path, most: int, error: type[Exception], words: str) -> Config:
    cfg = tryout_config(
        work_dir, model={'type': Fussy, 'most': most, 'error': error, 'words': words}
    )
    cfg.train_dataloader.dataset = POINTS * 16
    return cfg


def test_sizes_double_until_there_is_too_little_memory(tmp_path: Path) -> None:
    words = 'CUDA out of memory. Tried to allocate 2 GiB'
    runner = Runner.from_cfg(fussy_config(tmp_path, 20, RuntimeError, words))
    result = find_batch_size(runner, memory='1TB')
    assert [(trial.size, trial.fits) for trial in result.trials] == [
        (2, True), (4, True), (8, True), (16, True), (32, False)
    ]  # fmt: skip
    assert result.largest == 16
    assert result.trials[-1].outcome == 'out of memory'
    assert result.reason == '32 does not fit into 1 TB.'
    for trial in result.trials[:-1]:
        assert trial.samples_per_s == pytest.approx(trial.size / (trial.step_s or 0))
    assert 'Largest that fits: 16' in str(result)


def test_another_error_at_a_larger_size_ends_it_with_its_words(tmp_path: Path) -> None:
    runner = Runner.from_cfg(fussy_config(tmp_path, 4, ValueError, 'too many\npoints'))
    result = find_batch_size(runner, memory='1TB')
    assert result.largest == 4
    assert result.reason == 'ValueError: too many'


def test_an_error_at_the_first_size_is_the_users(tmp_path: Path) -> None:
    runner = Runner.from_cfg(fussy_config(tmp_path, 0, ValueError, 'broken'))
    with pytest.raises(ValueError, match='broken'):
        find_batch_size(runner, memory='1TB')


@pytest.mark.parametrize(
    ('configured', 'limit', 'sizes'),
    [(2, None, [2, 4, 8]), (24, 12, [3, 6, 12]), (1, 3, [1, 2]), (64, 5, [5])],
)
def test_it_begins_below_the_configured_size_and_ends_at_the_limit(
    configured: int, limit: int | None, sizes: list[int], tmp_path: Path
) -> None:
    cfg = tryout_config(tmp_path)
    cfg.train_dataloader.batch_size = configured
    result = find_batch_size(Runner.from_cfg(cfg), limit=limit, memory='1TB')
    assert [trial.size for trial in result.trials] == sizes
    assert 'limit' in result.reason


def test_a_size_that_would_not_fit_is_not_tried(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    peaks = iter([100, 200])  # 50 for each sample; the model has 2 numbers, which are copied
    monkeypatch.setattr(Memory, 'peak', lambda memory: next(peaks) * 10**9)
    result = find_batch_size(Runner.from_cfg(tryout_config(tmp_path)), memory='399GB')
    assert [(trial.size, trial.fits) for trial in result.trials] == [
        (2, True), (4, True), (8, False)
    ]  # fmt: skip
    assert result.trials[-1].outcome == 'would need about 400 GB'


def test_the_run_is_left_to_the_bit(tmp_path: Path) -> None:
    def trained(folder: str, tries: bool) -> Any:
        runner = Runner.from_cfg(tryout_config(tmp_path / folder))
        if tries:
            find_batch_size(runner, memory='1TB')
        return runner.train().state_dict()

    tried, plain = trained('tried', True), trained('plain', False)
    assert all(torch.equal(tried[name], plain[name]) for name in plain)


@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='needs Linux')
def test_the_system_refuses_more_memory_than_the_limit() -> None:
    from mmengine.tryout._memory import _status

    memory = Memory(torch.device('cpu'), (_status('VmRSS') or 0) + 2**26)
    with memory.limited(), pytest.raises(RuntimeError) as caught:
        torch.empty(2**30, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)
    assert torch.empty(2**27, dtype=torch.uint8).numel() == 2**27  # the limit is gone
    assert host_limit() > 0


@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='needs Linux')
def test_wrong_values_are_refused(tmp_path: Path) -> None:
    runner = Runner.from_cfg(tryout_config(tmp_path))
    with pytest.raises(ArgumentError, match='memory must be a positive number'):
        find_batch_size(runner, memory='much')
    with pytest.raises(ArgumentError, match='limit'):
        find_batch_size(runner, limit=0)
    with pytest.raises(ArgumentError, match=r'before the first step, and memory is 1 MB\.'):
        find_batch_size(runner, memory='1MB')
    nothing = tryout_config(tmp_path, train_cfg=None, train_dataloader=None, optim_wrapper=None)
    with pytest.raises(ArgumentError, match='needs a training'):
        find_batch_size(Runner.from_cfg(nothing))


def test_several_ranks_are_refused_with_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runner = Runner.from_cfg(tryout_config(tmp_path))
    monkeypatch.setattr('mmengine.tryout._batch_size.get_world_size', lambda: 4)
    with pytest.raises(ArgumentError) as caught:
        find_batch_size(runner)
    assert 'one process, but 4 ranks run. Start it without a launcher' in str(caught.value)
    assert 'mmengine plan CONFIG --world-size 4' in str(caught.value)
