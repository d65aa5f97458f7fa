"""Profiles of real runs, and the profiler of an NPU by a stand-in."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from mmengine.hooks import NPUProfilerHook, ProfilerHook
from mmengine.hooks.profiler_hook import _path_of_rank, check_kineto
from mmengine.runner import Runner


def _train(make_run: Any, **arguments: Any) -> Runner:
    runner = make_run([ProfilerHook(**arguments)], log_level='INFO')
    runner.train()
    return runner


def _log(runner: Runner) -> str:
    return Path(runner.log_dir, f'{runner.timestamp}.log').read_text()


def test_kineto_is_in_this_build():
    assert check_kineto() is torch.profiler.kineto_available() is True


@pytest.mark.parametrize(
    ('settings', 'calls'),
    [
        ({'by_epoch': False, 'profile_times': 3}, 3),
        ({'by_epoch': True, 'profile_times': 1}, 4),
        ({'by_epoch': True, 'profile_times': 2}, 8),
    ],
)
def test_the_table_counts_the_steps_that_were_profiled(make_run, settings, calls):
    log = _log(_train(make_run, **settings))
    row = next(line for line in log.splitlines() if 'Optimizer.step#SGD.step' in line)
    assert int(row.split()[-1]) == calls


def test_a_trace_is_written_where_asked(make_run, tmp_path):
    path = tmp_path / 'traces' / 'trace.json'
    _train(make_run, by_epoch=False, profile_times=2, json_trace_path=str(path))
    names = [event.get('name') for event in json.loads(path.read_text())['traceEvents']]
    assert names.count('Optimizer.step#SGD.step') == 2


def test_other_ranks_write_other_traces():
    assert _path_of_rank('a/trace.json', 0) == Path('a/trace.json')
    assert _path_of_rank('a/trace.json', 3) == Path('a/trace_rank3.json')


def test_a_schedule_says_which_steps_are_recorded(make_run):
    recorded: list[int] = []
    _train(
        make_run, schedule={'wait': 1, 'warmup': 1, 'active': 2, 'repeat': 1},
        on_trace_ready=lambda profiler: recorded.extend(
            event.count for event in profiler.key_averages() if 'SGD.step' in event.key
        ),
    )  # fmt: skip
    assert recorded == [2]


def test_log_trace_takes_order_and_rows(make_run):
    log = _log(
        _train(make_run, on_trace_ready={'type': 'log_trace', 'sort_by': 'count', 'row_limit': 1})
    )
    table = log[log.index('Profile:') :].split('-  \n')
    assert len(table[2].splitlines()) == 2  # one row, and the line that ends the table


def test_tb_trace_writes_into_a_folder_beside_the_log(make_run):
    runner = _train(make_run, on_trace_ready={'type': 'tb_trace', 'worker_name': 'w'})
    files = list(Path(runner.log_dir, 'tf_tracing_logs').iterdir())
    assert [file.name.split('.')[0] for file in files] == ['w']


def test_a_validation_alone_is_profiled(make_run, accs):
    seen: list[Any] = []
    hook = ProfilerHook(by_epoch=False, profile_times=1, on_trace_ready=seen.append)
    runner = make_run([hook], scores=accs(1))
    runner.val()
    assert len(seen) == 1
    assert hook.profiler is None


def test_a_training_that_ends_early_still_hands_over_its_profile(make_run, accs):
    seen: list[Any] = []
    hook = ProfilerHook(profile_times=2, on_trace_ready=seen.append)
    stop = {'type': 'EarlyStoppingHook', 'monitor': 'acc', 'stopping_threshold': 0.1}
    make_run([hook, stop], scores=accs(1)).train()
    assert len(seen) == 1


@pytest.mark.parametrize(
    ('arguments', 'error', 'message'),
    [
        ({'profile_times': 0}, ValueError, 'got 0'),
        ({'activity_with_cpu': False}, ValueError, 'nothing to profile'),
        ({'schedule': 3}, ValueError, 'schedule must be a dict of wait'),
        ({'schedule': {'warm_up': 1}}, TypeError, "no 'warm_up'. Did you mean 'warmup'"),
        ({'on_trace_ready': {'type': 'logtrace'}}, ValueError, "Did you mean 'log_trace'"),
        ({'on_trace_ready': 3}, ValueError, 'got int'),
    ],
)
def test_wrong_arguments_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        ProfilerHook(**arguments)


def test_more_than_there_is_to_train_is_refused(make_run):
    with pytest.raises(ValueError, match='profile_times=5 epochs are more than the 2'):
        _train(make_run, profile_times=5)


# -- NPU -----------------------------------------------------------------------------------------


class _Profile:
    def __init__(self, path: str, use_e2e_profiler: bool) -> None:
        self.path, self.use_e2e_profiler = path, use_e2e_profiler
        self.calls: list[str] = []

    def __enter__(self) -> None:
        self.calls.append('enter')

    def __exit__(self, *args: Any) -> None:
        self.calls.append('exit')


@pytest.fixture
def npu(monkeypatch):
    made: list[_Profile] = []

    def profile(path: str, use_e2e_profiler: bool) -> _Profile:
        made.append(_Profile(path, use_e2e_profiler))
        return made[-1]

    module = SimpleNamespace(npu=SimpleNamespace(profile=profile))
    monkeypatch.setitem(sys.modules, 'torch_npu', module)
    return made


def test_an_npu_profile_spans_its_iterations(make_run, npu, tmp_path):
    hook = NPUProfilerHook(
        begin=1, end=3, result_path=str(tmp_path / 'cann'), exit_after_profiling=False
    )
    runner = make_run([hook])
    runner.train()
    assert runner.iter == 8
    assert [profile.calls for profile in npu] == [['enter', 'exit']]
    assert npu[0].path == str(tmp_path / 'cann')


def test_an_npu_profile_can_end_the_process(make_run, npu, tmp_path):
    runner = make_run([NPUProfilerHook(result_path=str(tmp_path / 'cann'))])
    with pytest.raises(SystemExit):
        runner.train()
    assert runner.iter == 0


def test_without_torch_npu_the_install_line_is_given(monkeypatch):
    monkeypatch.setitem(sys.modules, 'torch_npu', None)
    with pytest.raises(ImportError, match='pip install torch-npu'):
        NPUProfilerHook()


def test_an_npu_profile_beyond_the_end_is_refused(make_run, npu, tmp_path):
    hook = NPUProfilerHook(end=100, result_path=str(tmp_path / 'cann'))
    with pytest.raises(
        ValueError, match='stops at iteration 100, but the training ends at iteration 8'
    ):
        make_run([hook]).train()
