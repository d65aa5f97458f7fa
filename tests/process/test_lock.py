"""One training at a time in a work dir: who is refused, what is taken over, what is left."""

import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mmengine.cli.__main__ import main
from mmengine.process import WorkDirInUseError, _lock
from mmengine.strategy.checkpoint_io import FileCheckpointIO
from mmengine.testing._internal.forked_python import PythonProcess, run_python
from mmengine.utils._process_identity import ProcessIdentity, parse_identity, this_process

ROOT = Path(__file__).parents[2]
HOLD = """\
import os, sys, time
from mmengine.process._lock import holding
with holding(sys.argv[1]):
    print('held', flush=True)
    while not os.path.exists(sys.argv[2]):
        time.sleep(0.01)
print('given back', flush=True)
"""
LIMIT_S = 120.0


class Other(PythonProcess):
    """Another process that holds the lock of ``work_dir``; ``folder`` is for its output."""

    def __init__(self, work_dir: Path, folder: Path) -> None:
        self._go_on, self._output = folder / 'go_on', folder / 'output.txt'
        super().__init__(['-c', HOLD, str(work_dir), str(self._go_on)], self._output)
        _until(lambda: 'held\n' in self.text())

    def text(self) -> str:
        return self._output.read_text()

    def go_on(self) -> None:
        """Let it leave the block of the lock, and end."""
        self._go_on.touch()
        assert self.wait(LIMIT_S) == 0, self.text()


@pytest.fixture
def other(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Other]:
    process = Other(tmp_path, tmp_path_factory.mktemp('other'))
    yield process
    process.kill()


def _until(is_true: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not is_true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def _content(work_dir: Path) -> dict[str, object]:
    return json.loads((work_dir / _lock.LOCK_FILE).read_text())


def _write(work_dir: Path, identity: ProcessIdentity, host: str = 'there') -> Path:
    path = work_dir / _lock.LOCK_FILE
    content = {
        'host': host, 'pid': identity.pid, 'process': str(identity), 'since': 'then', 'key': 'k'
    }  # fmt: skip
    path.write_text(json.dumps(content))
    return path


def test_a_second_process_is_refused_with_the_first_ones_name(tmp_path, other):
    with pytest.raises(WorkDirInUseError, match=f'in use by process {other.pid} on .*--force'):
        with _lock.holding(str(tmp_path)):
            raise AssertionError
    with pytest.raises(WorkDirInUseError, match=str(other.pid)):
        _lock.refuse_if_held(tmp_path)
    assert _content(tmp_path)['pid'] == other.pid
    assert [path.name for path in tmp_path.iterdir()] == [_lock.LOCK_FILE]


def test_the_lock_is_free_after_its_holder_has_given_it_back(tmp_path, other):
    other.go_on()
    assert other.text() == 'held\ngiven back\n'
    assert list(tmp_path.iterdir()) == []
    _lock.refuse_if_held(tmp_path)
    with _lock.holding(str(tmp_path)):
        assert _content(tmp_path)['pid'] == os.getpid()


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path, other, capsys):
    other.kill()
    with _lock.holding(str(tmp_path)):
        assert _content(tmp_path)['pid'] == os.getpid()
    assert f'from process {other.pid} on' in capsys.readouterr().out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(sys.platform != 'linux', reason='a zombie is seen in /proc')
def test_a_killed_process_that_nobody_has_waited_for_is_dead(tmp_path):
    # A child of this process itself; another's is waited for by the server that has forked it.
    with subprocess.Popen(
        [sys.executable, '-c', HOLD, str(tmp_path), str(tmp_path / 'never')],
        env={**os.environ, 'PYTHONPATH': str(ROOT)},
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == 'held\n'
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        with _lock.holding(str(tmp_path)):
            assert _content(tmp_path)['pid'] == os.getpid()


def test_a_process_id_that_is_used_again_is_another_process(tmp_path, other):
    alive = parse_identity(str(_content(tmp_path)['process']))
    assert alive is not None
    assert alive.is_alive()
    other.kill()
    (tmp_path / _lock.LOCK_FILE).unlink()
    mine = this_process()
    _write(tmp_path, ProcessIdentity(mine.pid, '1', mine.host))  # started with the system
    with _lock.holding(str(tmp_path)):
        assert _content(tmp_path)['key'] != 'k'


def test_force_takes_the_lock_and_the_former_holder_leaves_it_alone(tmp_path, other):
    with _lock.holding(str(tmp_path), 'force'):
        mine = _content(tmp_path)
        assert mine['pid'] == os.getpid()
        other.go_on()
        assert _content(tmp_path) == mine
    assert list(tmp_path.iterdir()) == []


def test_without_a_lock_nothing_is_written_and_nobody_refused(tmp_path, other):
    with _lock.holding(str(tmp_path), False):
        assert _content(tmp_path)['pid'] == other.pid


def test_one_process_holds_it_as_often_as_it_likes(tmp_path):
    link = tmp_path / 'link'
    (tmp_path / 'run').mkdir()
    link.symlink_to('run')
    with _lock.holding(str(tmp_path / 'run')):
        with _lock.holding(str(link)):
            assert (link / _lock.LOCK_FILE).exists()
        assert (link / _lock.LOCK_FILE).exists()
        _lock.refuse_if_held(link)
    assert not (link / _lock.LOCK_FILE).exists()
    with _lock.holding(str(link)):
        pass
    assert not any(thread.name == 'work-dir-lock' for thread in threading.enumerate())


def test_a_forked_child_is_another_process(tmp_path):
    if not hasattr(os, 'fork'):
        pytest.skip('no fork')
    script = (
        'import os, sys\n'
        'from mmengine.process._lock import WorkDirInUseError, holding\n'
        'with holding(sys.argv[1]):\n'
        '    if os.fork() == 0:\n'
        '        try:\n'
        '            with holding(sys.argv[1]):\n'
        '                os._exit(1)\n'
        '        except WorkDirInUseError:\n'
        '            os._exit(0)\n'
        '    assert os.wait()[1] == 0\n'
    )
    done = run_python(['-c', script, str(tmp_path)])
    assert done.returncode == 0, done.stderr


def test_a_silent_holder_on_another_host_is_dead(tmp_path, monkeypatch):
    path = _write(tmp_path, ProcessIdentity(1, '1', 'elsewhere'))
    long_ago = time.time() - 2 * _lock._DEAD_AFTER_S
    os.utime(path, (long_ago, long_ago))
    with _lock.holding(str(tmp_path)):
        assert _content(tmp_path)['pid'] == os.getpid()


def test_a_holder_on_another_host_that_gives_a_sign_of_life_is_alive(tmp_path, monkeypatch):
    path = _write(tmp_path, ProcessIdentity(1, '1', 'elsewhere'))
    moments = iter(range(1, 100))

    def beat(seconds: float) -> None:  # while this process waits
        os.utime(path, (time.time(), time.time() + next(moments)))

    monkeypatch.setattr(_lock.time, 'sleep', beat)
    with pytest.raises(WorkDirInUseError, match='process 1 on there, since then'):
        _lock.refuse_if_held(tmp_path)
    with pytest.raises(WorkDirInUseError):
        with _lock.holding(str(tmp_path)):
            raise AssertionError


def test_a_holder_on_another_host_that_falls_silent_is_waited_for(tmp_path, monkeypatch):
    path = _write(tmp_path, ProcessIdentity(1, '1', 'elsewhere'))
    monkeypatch.setattr(_lock, '_DEAD_AFTER_S', 0.2)
    monkeypatch.setattr(_lock, '_POLL_S', 0.01)
    with _lock.holding(str(tmp_path)):
        assert _content(tmp_path)['key'] != 'k'
    assert not path.exists()


@pytest.mark.parametrize('content', ['', '{', '[]', '{"host": 1}'])
def test_a_lock_file_that_nobody_can_read_is_judged_by_its_age(tmp_path, content, monkeypatch):
    monkeypatch.setattr(_lock, '_POLL_S', 0.01)
    monkeypatch.setattr(_lock, '_DEAD_AFTER_S', 0.05)
    (tmp_path / _lock.LOCK_FILE).write_text(content)
    with _lock.holding(str(tmp_path)):
        assert _content(tmp_path)['pid'] == os.getpid()


def test_the_holder_moves_the_time_and_notices_a_loss(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(_lock, '_BEAT_S', 0.01)
    path = tmp_path / _lock.LOCK_FILE
    with _lock.holding(str(tmp_path)):
        os.utime(path, (1, 1))
        deadline = time.monotonic() + 60
        while path.stat().st_mtime == 1:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        path.unlink()
        while any(thread.name == 'work-dir-lock' for thread in threading.enumerate()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
    assert 'was taken by another run' in capsys.readouterr().out


def test_of_many_processes_that_find_a_dead_holder_one_gets_the_lock(tmp_path):
    """They start together; whoever has the lock keeps it until all others were refused."""
    _write(tmp_path, ProcessIdentity(this_process().pid, '1', this_process().host))
    script = (
        'import sys, time\n'
        'from pathlib import Path\n'
        'from mmengine.process._lock import WorkDirInUseError, holding\n'
        'def until(name):\n'
        '    while not (folder / name).exists():\n'
        '        time.sleep(0.001)\n'
        'folder = Path(sys.argv[1])\n'
        'print("ready", flush=True)\n'
        'until("start")\n'
        'try:\n'
        '    with holding(str(folder / "run")):\n'
        '        print("held", flush=True)\n'
        '        until("end")\n'
        'except WorkDirInUseError:\n'
        '    print("refused", flush=True)\n'
    )
    (tmp_path / 'run').mkdir()
    (tmp_path / _lock.LOCK_FILE).rename(tmp_path / 'run' / _lock.LOCK_FILE)
    outputs = [tmp_path / f'output_{number}.txt' for number in range(4)]
    processes = [PythonProcess(['-c', script, str(tmp_path)], output) for output in outputs]
    answers: list[set[str]] = []

    def all_have(*words: str) -> bool:
        answers[:] = [set(output.read_text().splitlines()) & set(words) for output in outputs]
        return all(answers)

    try:
        _until(lambda: all_have('ready'))
        (tmp_path / 'start').touch()
        _until(lambda: all_have('held', 'refused'))
        (tmp_path / 'end').touch()
        assert [process.wait(LIMIT_S) for process in processes] == [0] * 4
    finally:
        for process in processes:
            process.kill()
    assert sorted(answers, key=str) == [{'held'}] + [{'refused'}] * 3
    assert list((tmp_path / 'run').iterdir()) == []


@pytest.mark.parametrize(('value', 'expected'), [('on', True), ('off', False), ('force', 'force')])
def test_the_environment_decides(value, expected, monkeypatch):
    monkeypatch.setenv(_lock.FORCE_VARIABLE, value)
    assert _lock.check_lock_setting(False) == expected


def test_wrong_settings_are_refused(monkeypatch):
    with pytest.raises(ValueError, match="lock is True, False or 'force', got 'yes'"):
        _lock.check_lock_setting('yes')
    monkeypatch.setenv(_lock.FORCE_VARIABLE, 'yes')
    with pytest.raises(ValueError, match='MMENGINE_LOCK is on, off or force'):
        _lock.check_lock_setting(True)


def test_checkpoints_of_a_run_at_work_are_removed_by_force_only(tmp_path, other, capsys):
    io = FileCheckpointIO()
    paths = [str(tmp_path / f'epoch_{epoch}.pth') for epoch in (1, 2, 3)]
    for path in paths:
        io.write({'state_dict': {}, 'meta': {}}, path)
    assert main(['ckpt', 'rm', paths[0]]) == 2
    assert f'in use by process {other.pid} on' in capsys.readouterr().err
    assert os.path.exists(paths[0])
    assert main(['ckpt', 'rm', paths[0], '--force']) == 0
    other.go_on()
    assert main(['ckpt', 'rm', paths[1]]) == 0
    assert sorted(path.name for path in tmp_path.glob('*.pth')) == ['epoch_3.pth']
