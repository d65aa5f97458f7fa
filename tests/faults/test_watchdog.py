"""Runs that hang, as real processes: the watchdog says who waits for what, and ends them or not."""

from __future__ import annotations

import os
import re
import signal
import time
from pathlib import Path
from typing import Any

import pytest
from hung_run import make
from rank_processes import RankProcesses, wait_until

from mmengine.process.watchdog import WatchdogSettings
from mmengine.utils.errors import ArgumentError

SCRIPT = Path(__file__).with_name('hung_run.py')
ROOT = SCRIPT.parents[2]
LIMIT_S = 240.0
# The start may take long where the machine is busy.
STOP = {'timeout_s': 4, 'action': 'stop', 'first_batch_s': 200}
WARN = {**STOP, 'action': 'warn'}

pytestmark = pytest.mark.skipif(os.name != 'posix', reason='signals of POSIX')


class Hung(RankProcesses):
    """The processes of a run."""

    def __init__(self, work_dir: Path, num_ranks: int = 1, **settings: Any) -> None:
        super().__init__(SCRIPT, work_dir, num_ranks, settings, LIMIT_S)

    def codes(self) -> list[int]:
        deadline = time.monotonic() + LIMIT_S
        return [process.wait(max(deadline - time.monotonic(), 0)) for process in self.processes]

    def text(self, rank: int = 0) -> str:
        return self.outputs[rank].read_text()

    def log(self) -> str:
        return ''.join(path.read_text() for path in self.work_dir.glob('*/*.log'))

    def report(self, rank: int = 0) -> str:
        return ''.join(
            path.read_text() for path in self.work_dir.glob(f'*/watchdog_rank{rank}.txt')
        )

    def until(self, is_true: Any) -> None:
        wait_until(is_true, self.processes[:1], self.text, LIMIT_S)


@pytest.mark.parametrize('how', ['spin_for_ever', 'sleep_for_ever'])
def test_a_run_that_hangs_is_ended_with_its_stacks(tmp_path, how):
    with Hung(tmp_path, how=how, watchdog=STOP) as run:
        assert run.codes() == [1], run.text()
    assert 'RunHungError' in run.text()
    assert 'No batch was finished for ' in run.log()
    assert 'rank 0, train after 4 iterations: is at work in ' in run.log()
    report = run.report()
    assert f'in {how}' in report
    assert 'in run_epoch' in report


def test_code_that_keeps_the_lock_of_python_is_seen_too(tmp_path):
    with Hung(tmp_path, how='match_for_ever', watchdog=STOP) as run:
        assert run.codes() == [1], run.text()
    assert 'in match_for_ever' in run.report()


def test_a_hang_of_a_dataset_in_this_process_names_the_sample(tmp_path):
    with Hung(tmp_path, how='dataset', watchdog=STOP) as run:
        assert run.codes() == [1], run.text()
    assert 'rank 0, train after 4 iterations: loads a sample, at work in ' in run.log()
    assert 'this process loads the sample with index 9 of Photos since ' in run.log()
    assert 'path: photos/9.jpg' in run.log()
    assert 'in read_from_a_dead_disk' in run.report()


@pytest.mark.parametrize('method', ['fork', 'spawn', 'forkserver'])
def test_a_worker_that_hangs_names_its_sample_and_shows_its_stack(tmp_path, method):
    with Hung(tmp_path, how='dataset', workers=2, method=method, watchdog=STOP) as run:
        assert run.codes() == [1], run.text()
    # Batches are loaded in turn by the two workers; index 9 is in batch 4, so of worker 0.
    expected = (
        'waits for a batch of its dataloader workers; worker 0 loads the sample with index 9 of '
        'Photos since '
    )
    assert expected in run.log()
    assert '(path: photos/9.jpg)' in run.log()
    _, _, of_worker = run.report().partition('Stacks of the worker:\n')
    assert 'in read_from_a_dead_disk' in of_worker
    _until_gone(tmp_path)


def test_a_hang_in_a_validation_is_told_as_such(tmp_path):
    with Hung(tmp_path, how='sleep_for_ever', stage='val', watchdog=STOP) as run:
        assert run.codes() == [1], run.text()
    assert 'rank 0, train after 12 iterations and 4 batches of an evaluation' in run.log()


def test_a_warning_lets_the_run_go_on(tmp_path):
    with Hung(tmp_path, how='sleep_for_ever', watchdog=WARN) as run:
        run.until(lambda: 'No batch was finished' in run.log())
        (tmp_path / 'release').touch()
        assert run.codes() == [0], run.text()
    assert run.log().count('No batch was finished') == 1
    assert 'The run goes on, after ' in run.log()
    assert run.text().endswith('ENDED\n')


def test_a_run_that_does_not_hang_leaves_nothing(tmp_path):
    runner = make(str(tmp_path), {'watchdog': {'timeout_s': 100}})
    runner.train()
    assert not list(tmp_path.glob('*/watchdog*'))
    assert make(str(tmp_path / 'other'), {}).watchdog is None


@pytest.mark.distributed
@pytest.mark.parametrize('rank', [0, 1])
def test_a_rank_that_hangs_is_told_from_one_that_waits_for_it(tmp_path, rank):
    with Hung(tmp_path, 2, how='spin_for_ever', rank=rank, watchdog=STOP) as run:
        assert all(code != 0 for code in run.codes()), run.text()
    for text in (run.log(), run.text(0) + run.text(1)):
        assert f'rank {rank}, train after 4 iterations: is at work in ' in text
        waiting = f'rank {1 - rank}, train after 4 iterations: waits for other ranks in all_reduce'
        assert f'{waiting}, called by meet_the_other_ranks (tests/faults/hung_run.py:' in text
        place = r'all_reduce, called by meet_the_other_ranks \(tests/faults/hung_run\.py:\d+\)'
        assert re.search(f'{place}, waits for rank {rank}, which did not come', text)
    assert 'in spin_for_ever' in run.report(rank)
    assert 'in meet_the_other_ranks' in run.report(1 - rank)


@pytest.mark.distributed
def test_ranks_in_different_collectives_are_told(tmp_path):
    settings = {'how': 'wait_in_another_collective', 'rank': 1, 'watchdog': STOP}
    with Hung(tmp_path, 2, **settings) as run:
        assert all(code != 0 for code in run.codes()), run.text()
    assert 'in meet_the_other_ranks' in run.report(0)
    assert 'in wait_in_another_collective' in run.report(1)


@pytest.mark.distributed
@pytest.mark.skipif(not Path('/proc/self/stat').exists(), reason='reads states of processes there')
@pytest.mark.parametrize(('rank', 'stage'), [(0, 'train'), (1, 'val')])
def test_a_rank_that_is_stopped_by_a_signal_is_named_with_its_last_stack(tmp_path, rank, stage):
    # Rank 0 holds the store, through which the ranks tell where they are.
    settings = {'how': 'stop_by_a_signal', 'rank': rank, 'stage': stage, 'watchdog': STOP}
    with Hung(tmp_path, 2, **settings) as run:
        other, stopped = run.processes[1 - rank], run.processes[rank]
        assert other.wait(LIMIT_S) == 1, run.text(1 - rank)
        assert stopped.poll() is None
        text = run.text(1 - rank)
        place = r'all_reduce, called by meet_the_other_ranks \(tests/faults/hung_run\.py:\d+\)'
        assert re.search(f'{place}, waits for rank {rank}, which did not come', text)
        done = '6 iterations and 4 batches of an evaluation' if stage == 'val' else '4 iterations'
        assert f'rank {1 - rank}, train after {done}: waits for other ranks in' in text
        known = f'rank {rank} does not answer: process {stopped.pid} on .* is stopped by a signal'
        assert re.search(known, text)
        assert f'kill -CONT {stopped.pid}' in text
        # It goes on alone, and finds that the others have gone.
        os.kill(stopped.pid, signal.SIGCONT)
        assert stopped.wait(LIMIT_S) != 0, run.text(rank)
    assert 'in meet_the_other_ranks' in run.report(1 - rank)
    report = run.report(rank)
    assert f'written by rank {1 - rank}' in report
    assert 'Its stack then:' in report
    assert 'in train\n' in report


@pytest.mark.distributed
def test_a_rank_that_hangs_in_a_save_is_named(tmp_path):
    with Hung(tmp_path, 2, how='sleep_for_ever', stage='save', rank=0, watchdog=STOP) as run:
        assert all(code != 0 for code in run.codes()), run.text()
    place = r'barrier, called by save_checkpoint \(mmengine/strategy/single_device\.py:\d+\)'
    for text in (run.log(), run.text(0) + run.text(1)):
        assert re.search(f'{place}, waits for rank 0, which did not come', text)
    assert 'in sleep_for_ever' in run.report(0)
    assert 'in write' in run.report(0)
    assert 'in save_checkpoint' in run.report(1)


@pytest.mark.parametrize(
    ('settings', 'message'),
    [
        ({'timeout': 3}, "Did you mean 'timeout_s'"),
        ({'timeout_s': 0}, 'timeout_s must be positive, got 0'),
        ({'first_batch_s': -1}, 'first_batch_s must be positive, got -1'),
        ({'action': 'end'}, "action is 'warn' or 'stop', got 'end'"),
        (600, 'got int'),
    ],
)
def test_a_wrong_setting_is_refused(settings, message):
    with pytest.raises(ArgumentError, match=message):
        WatchdogSettings.of(settings)


def _until_gone(work_dir: Path) -> None:
    """Wait until no process has the folder in its command line."""
    deadline = time.monotonic() + LIMIT_S
    while _with_arguments(str(work_dir)):
        assert time.monotonic() < deadline, 'a worker is left behind'
        time.sleep(0.05)


def _with_arguments(text: str) -> list[int]:
    found = []
    for path in Path('/proc').glob('[0-9]*/cmdline'):
        try:
            content = path.read_bytes().decode(errors='replace')
        except OSError:
            continue
        if text in content and int(path.parent.name) != os.getpid():
            found.append(int(path.parent.name))
    return found
