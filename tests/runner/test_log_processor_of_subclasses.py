"""Methods of LogProcessor that subclasses of projects call and override.

Numbers are recorded from MMEngine 0.10.7: at the end of the second batch of the first epoch.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from runner_toy import NO_TEST, NO_VALIDATION, toy_runner

from mmengine.runner import LogProcessor, Runner

LOGGED = {'checkpoint': None, 'logger': {'type': 'LoggerHook', 'interval': 1}}


def run(folder: Path, processor: LogProcessor, **changes: Any) -> Runner:
    runner = toy_runner(
        folder,
        log_processor=processor,
        default_hooks=LOGGED,
        train_cfg={'by_epoch': True, 'max_epochs': 1},
        log_level='INFO',
        **changes,
    )
    runner.train()
    return runner


def records(runner: Runner) -> list[dict[str, Any]]:
    path = Path(runner.log_dir, 'vis_data', 'scalars.json')
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_subclass_collects_scalars_by_itself(tmp_path: Path) -> None:
    seen: list[Any] = []

    class Own(LogProcessor):
        def get_log_after_iter(self, runner: Runner, batch_idx: int, mode: str) -> Any:
            if mode == 'train' and batch_idx == 1:
                parsed = self._parse_windows_size(runner, batch_idx, self.custom_cfg)
                seen.append([entry['window_size'] for entry in parsed])
                scalars = self._collect_scalars(parsed, runner, mode)
                seen.append({'loss', 'top', 'lr'} <= set(scalars))
                seen.append(self._get_iter(runner, batch_idx))
                seen.append(self._get_epoch(runner, mode))
            return super().get_log_after_iter(runner, batch_idx, mode)

        def get_log_after_epoch(self, *args: Any, **kwargs: Any) -> Any:
            seen.append(self._get_epoch(args[0], 'val'))
            return super().get_log_after_epoch(*args, **kwargs)

    custom = [
        {'data_src': 'loss', 'method_name': 'max', 'window_size': 'epoch', 'log_name': 'top'},
        {'data_src': 'lr', 'method_name': 'mean', 'window_size': 'global'},
    ]
    run(tmp_path, Own(custom_cfg=custom), **NO_TEST)
    assert seen == [[2, 2], True, 2, 1, 1]


def test_overridden_scalars_are_logged(tmp_path: Path) -> None:
    class Own(LogProcessor):
        def _collect_scalars(self, custom_cfg: Any, runner: Runner, mode: str) -> Any:
            return {**super()._collect_scalars(custom_cfg, runner, mode), 'extra': 1.0}

    found = records(run(tmp_path, Own(), **NO_TEST))
    assert [record['extra'] for record in found] == [1.0] * 5  # four batches, one validation


def test_overridden_numbers_are_in_the_line_and_the_record(tmp_path: Path) -> None:
    class Own(LogProcessor):
        def _get_iter(self, runner: Runner, batch_idx: int | None = None) -> int:
            return 77

        def _get_epoch(self, runner: Runner, mode: str) -> int:
            return 55

    runner = run(tmp_path, Own(), **NO_VALIDATION, **NO_TEST)
    assert [(record['iter'], record['epoch']) for record in records(runner)] == [
        (1, 55), (2, 55), (3, 55), (4, 55)
    ]  # fmt: skip
    log = Path(runner.log_dir, f'{runner.timestamp}.log').read_text()
    assert log.count('Epoch(train) [55][77/4]') == 4


def test_the_epoch_of_a_test_is_refused() -> None:
    with pytest.raises(ValueError, match="'train' or 'val', got 'test'"):
        LogProcessor()._get_epoch(None, 'test')  # type: ignore[arg-type]  # not read
