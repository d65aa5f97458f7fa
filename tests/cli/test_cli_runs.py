"""mmengine runs stop, and what `mmengine train` returns when its run is stopped."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmengine.cli.__main__ import main
from mmengine.testing._internal.forked_python import PythonProcess

ROOT = Path(__file__).parents[2]
LIMIT_S = 120.0
HOOK = """\
import time
from pathlib import Path
from mmengine.hooks import Hook


class Slow(Hook):
    def after_train_iter(self, runner, **kwargs):
        Path(runner.work_dir, 'ready').touch()
        time.sleep(0.05)
"""


@pytest.fixture
def started(project: Path) -> Iterator[PythonProcess]:
    """A training of the command line, within its first epochs."""
    (project / 'slow_hook.py').write_text(HOOK)
    config = project / 'toy.py'
    config.write_text(
        config.read_text().replace('max_epochs=1', 'max_epochs=1000')
        + "from slow_hook import Slow\ncustom_hooks = [dict(type=Slow)]\nwork_dir = 'run'\n"
    )
    process = PythonProcess(
        ['-m', 'mmengine', 'train', 'toy.py'],
        project / 'output.txt',
        cwd=project,
        env={
            **os.environ,
            'PYTHONPATH': os.pathsep.join([str(ROOT), str(Path(__file__).parent), str(project)]),
            'OMP_NUM_THREADS': '1',
        },
    )
    deadline = time.monotonic() + LIMIT_S
    try:
        while not (project / 'run' / 'ready').exists():
            assert time.monotonic() < deadline
            if process.poll() is not None:
                raise AssertionError((project / 'output.txt').read_text())
            time.sleep(0.05)
        yield process
    finally:
        process.kill(LIMIT_S)


def test_a_run_is_stopped_by_its_work_dir(started, project, capsys):
    assert main(['runs', 'stop', 'run', '--reason', 'a bug', '--wait', str(LIMIT_S)]) == 0
    assert 'saves its state and ends' in capsys.readouterr().out
    code = started.wait(LIMIT_S)
    text = (project / 'output.txt').read_text()
    assert code == 0, text
    assert 'The run stops for the stop file (a bug)' in text
    assert len(list((project / 'run').glob('*.pth'))) >= 1


@pytest.mark.skipif(os.name != 'posix', reason='signals of POSIX')
def test_ctrl_c_saves_and_exits_with_0(started, project):
    started.send_signal(signal.SIGINT)
    code = started.wait(LIMIT_S)
    text = (project / 'output.txt').read_text()
    assert code == 0, text
    assert 'Interrupted' not in text
    assert 'Traceback' not in text


def test_a_folder_without_a_run_is_a_mistake(project, capsys):
    (project / 'empty').mkdir()
    assert main(['runs', 'stop', 'empty']) == 2
    assert main(['runs', 'stop', 'nowhere']) == 2
    errors = capsys.readouterr().err
    assert 'empty is not the work dir of a run' in errors
    assert 'nowhere' in errors
    assert not (project / 'empty' / 'stop').exists()


def test_waiting_for_a_run_that_is_not_at_work_fails(project, capsys):
    log = project / 'run' / '20260101_000000' / '20260101_000000.log'
    log.parent.mkdir(parents=True)
    log.touch()
    assert main(['runs', 'stop', 'run', '--wait', '0.1']) == 1
    assert 'No run has seen' in capsys.readouterr().out
    (project / 'run' / 'stop').unlink()
    seen = threading.Timer(0.3, (project / 'run' / 'stop').unlink)
    seen.start()
    assert main(['runs', 'stop', 'run', '--wait', str(LIMIT_S)]) == 0
    seen.join()
