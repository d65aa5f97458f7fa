"""Signals and exit codes of launched ranks that train nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mmengine.launch import launch_local
from mmengine.testing._internal.forked_python import PythonProcess
from mmengine.utils._process_identity import ProcessIdentity, parse_identity

ROOT = Path(__file__).parents[2]
LIMIT_S = 120.0
LAUNCH = ['-W', 'ignore', '-m', 'mmengine', 'launch', 'local', '--script']
# Says that it is there, and does what it is told. It imports torch only where it has to.
SCRIPT = """\
import os, sys, time
from pathlib import Path
from mmengine.utils._process_identity import this_process

folder, what = Path(sys.argv[1]), sys.argv[2]
rank, start = os.environ['RANK'], os.environ['TORCHELASTIC_RESTART_COUNT']
(folder / 'draft').write_text(str(this_process()))
(folder / 'draft').rename(folder / f'rank_{rank}_{start}')
if what == 'wait':
    while True:
        time.sleep(0.05)
if what == 'fail once' and start == '0':
    os._exit(3)
if what == 'fail':
    os._exit(3)
if what == 'stop':
    from mmengine.process import RunStopped
    raise RunStopped('the stop file', 85)
"""

pytestmark = pytest.mark.skipif(os.name != 'posix', reason='signals of POSIX')


@contextmanager
def _launched(folder: Path, what: str, *options: str) -> Iterator[PythonProcess]:
    (folder / 'run.py').write_text(SCRIPT)
    process = PythonProcess(
        [*LAUNCH, *options, 'run.py', str(folder), what],
        folder / 'output.txt',
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1'},
    )
    try:
        yield process
    finally:
        process.kill()


def _until(is_true: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def _rank(folder: Path, rank: int, start: int = 0) -> ProcessIdentity:
    path = folder / f'rank_{rank}_{start}'
    _until(path.exists)
    identity = parse_identity(path.read_text())
    assert identity is not None
    return identity


def _starts(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob('rank_*'))


@pytest.mark.parametrize(
    ('what', 'options', 'code', 'starts'),
    [
        ('end', [], 0, ['rank_0_0']),
        ('fail', [], 3, ['rank_0_0']),
        ('fail once', ['--max-restarts', '1'], 0, ['rank_0_0', 'rank_0_1']),
        ('stop', ['--max-restarts', '1'], 85, ['rank_0_0']),
        ('stop', ['--stopped-code', '75'], 75, ['rank_0_0']),
    ],
)
def test_exit_codes_and_starts(
    tmp_path: Path, what: str, options: list[str], code: int, starts: list[str]
) -> None:
    with _launched(tmp_path, what, *options) as process:
        process.wait(LIMIT_S)
    error = (tmp_path / 'output.txt').read_text()
    assert process.returncode == code, error
    assert _starts(tmp_path) == starts
    assert ('failed with exit code 3' in error) == (what == 'fail')


def test_ranks_that_a_signal_has_ended_are_not_started_again(tmp_path: Path) -> None:
    options = ['--nproc', '2', '--max-restarts', '3']
    with _launched(tmp_path, 'wait', *options) as process:
        for rank in (0, 1):
            _rank(tmp_path, rank)
        process.send_signal(signal.SIGUSR1)
        process.wait(LIMIT_S)
    assert process.returncode == 128 + signal.SIGUSR1
    assert _starts(tmp_path) == ['rank_0_0', 'rank_1_0']


def test_ranks_end_with_a_launcher_that_is_killed(tmp_path: Path) -> None:
    with _launched(tmp_path, 'wait') as process:
        rank = _rank(tmp_path, 0)
        os.kill(process.pid, signal.SIGKILL)
        process.wait(LIMIT_S)
    _until(lambda: not rank.is_alive())


def test_a_launcher_that_waits_for_other_machines_can_be_stopped(tmp_path: Path) -> None:
    options = ['--nnodes', '2', '--node-rank', '0', '--rdzv', f'file:{tmp_path}/meet']
    with _launched(tmp_path, 'end', *options) as process:
        _until((tmp_path / 'meet').exists)
        process.send_signal(signal.SIGTERM)
        process.wait(LIMIT_S)
    assert process.returncode == 128 + signal.SIGTERM
    assert _starts(tmp_path) == []


def test_a_file_that_is_missing_is_told() -> None:
    with pytest.raises(FileNotFoundError, match='no config file or script'):
        launch_local('none.py')
