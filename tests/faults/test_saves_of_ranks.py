"""Saves in a thread with signals and ranks, saves that fail on rank 0, a work dir in use."""

from __future__ import annotations

import os
import signal

import pytest
from test_stop_requests import Run

from mmengine._checkpoint._verify import fault_of
from mmengine.process._lock import holding

pytestmark = [
    pytest.mark.distributed,
    pytest.mark.skipif(os.name != 'posix', reason='signals of POSIX'),
]


@pytest.mark.parametrize('is_async', [False, True], ids=['synchronous', 'asynchronous'])
def test_a_save_that_fails_on_rank_0_is_left_out_by_all(tmp_path, is_async):
    """The second of four; the bits are those of a run without checkpoints."""
    hook = {
        'interval': 1, 'save_best': 'mean', 'rule': 'greater', 'on_save_error': 'warn',
        'async_save': is_async, 'max_keep_ckpts': 2,
    }  # fmt: skip
    with Run(tmp_path / 'run', 2, hook=hook, failing_saves=[2]) as run:
        states = [run.state(0), run.state(1)]
        assert 'could not be written, and the run goes on (on_save_error)' in run.text(0)
        names = run.checkpoints()
    with Run(tmp_path / 'plain', 2, hook={'interval': -1, 'save_last': False}) as run:
        assert [run.state(0), run.state(1)] == states
    assert [name for name in names if name.startswith('epoch')] == ['epoch_3.pth', 'epoch_4.pth']
    assert all(fault_of(tmp_path / 'run' / name) is None for name in names)


@pytest.mark.parametrize('is_async', [False, True], ids=['synchronous', 'asynchronous'])
def test_a_save_that_fails_on_rank_0_ends_all(tmp_path, is_async):
    hook = {'interval': 1, 'async_save': is_async}
    with Run(tmp_path / 'run', 2, hook=hook, failing_saves=[2]) as run:
        assert run.codes() == [1, 1], run.text()
        assert all('a broken disk' in run.text(rank) for rank in (0, 1))
        assert run.checkpoints() == ['epoch_1.pth']


def test_a_work_dir_in_use_is_refused_on_all_ranks(tmp_path):
    (tmp_path / 'run').mkdir()
    with holding(str(tmp_path / 'run')):
        with Run(tmp_path / 'run', 2) as run:
            assert run.codes() == [1, 1], run.text()
            for rank in (0, 1):
                assert f'is in use by process {os.getpid()} on' in run.text(rank)
                assert 'WorkDirInUseError' in run.text(rank)


def test_a_run_that_stops_for_a_signal_waits_for_the_thread(tmp_path):
    hook = {'async_save': True, 'interval': 1, 'max_keep_ckpts': 1}
    with Run(tmp_path / 'run', at=13, hook=hook) as run:
        run.until_ready().send(signal.SIGTERM)
        assert run.codes() == [0], run.text()
        (interim,) = (name for name in run.checkpoints() if name.startswith('iter_'))
        pointer = (tmp_path / 'run' / 'last_checkpoint').read_text()
        assert pointer.endswith(interim)
        assert fault_of(pointer) is None
    with Run(tmp_path / 'run', resume=True, hook=hook) as run:
        resumed = run.state()
        assert run.checkpoints() == ['epoch_4.pth']
    with Run(tmp_path / 'unbroken') as run:
        assert run.state() == resumed
