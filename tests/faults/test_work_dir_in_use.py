"""Two runs in one work dir, as real processes and on the command line."""

from __future__ import annotations

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from rank_processes import ScriptProcess, wait_until
from stoppable_run import make

from mmengine.cli.__main__ import main
from mmengine.hooks import Hook
from mmengine.process import WorkDirInUseError

SCRIPT = Path(__file__).with_name('stoppable_run.py')
ROOT = SCRIPT.parents[2]
LIMIT_S = 120.0

pytestmark = pytest.mark.skipif(os.name != 'posix', reason='signals of POSIX')


def _start(work_dir: Path, output: Path, **settings: object) -> ScriptProcess:
    return ScriptProcess(SCRIPT, [str(work_dir), json.dumps(settings)], output)


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    return tmp_path / 'run'


@pytest.fixture
def first(work_dir: Path) -> Iterator[ScriptProcess]:
    """A training that is at work, and goes on until it is stopped."""
    output = work_dir.with_name('first.txt')
    process = _start(work_dir, output, at=3, epochs=100_000, interval=1, max_keep=1)
    try:
        wait_until((work_dir / 'ready').exists, [process], output.read_text, LIMIT_S)
        (work_dir / 'go').touch()  # it waits for this file after it is ready
        yield process
    finally:
        process.kill(LIMIT_S)


def _written_at_a_start(folder: Path) -> list[str]:
    """What a start writes first: a folder for its log, and its config."""
    return sorted(path.name for path in folder.iterdir() if re.match(r'\d{8}_|.*\.py$', path.name))


def test_a_second_training_is_refused_and_the_first_goes_on(work_dir, first):
    output = work_dir.with_name('second.txt')
    second = _start(work_dir, output, resume=True)
    second.wait(LIMIT_S)
    text = output.read_text()
    assert second.returncode == 1, text
    assert f'is in use by process {first.pid} on' in text
    assert not (work_dir / 'stop').exists()
    # A test does not train: it may run beside the training.
    runner = make(str(work_dir), {})
    assert 'mean' in runner.test()
    with pytest.raises(WorkDirInUseError):
        runner.train()
    assert runner.iter == 0
    os.kill(first.pid, signal.SIGTERM)
    assert first.wait(LIMIT_S) == 0
    assert not (work_dir / 'run.lock').exists()
    runner.train()
    assert runner.iter == 40
    assert not (work_dir / 'run.lock').exists()


def test_the_command_line_refuses_with_2_before_it_writes(work_dir, first, monkeypatch, capsys):
    monkeypatch.chdir(work_dir.parent)
    Path('late.py').write_text(
        'from mmengine.model import BaseModel\n'
        'class Late(BaseModel):\n'
        '    def __init__(self):\n'
        "        raise ValueError('was built')\n"
        '    def forward(self, x, mode):\n'
        '        return x\n'
    )
    Path('config.py').write_text("model = dict(type='late.Late')\nwork_dir = 'run'\n")
    before = _written_at_a_start(work_dir)
    assert len(before) == 2
    assert main(['train', 'config.py']) == 2
    assert f'in use by process {first.pid} on' in capsys.readouterr().err
    assert _written_at_a_start(work_dir) == before
    assert main(['train', 'config.py', '--force']) == 2
    assert 'was built' in capsys.readouterr().err


def test_after_kill_9_the_next_start_takes_over(work_dir, first):
    os.killpg(first.pid, signal.SIGKILL)
    first.wait(LIMIT_S)
    assert (work_dir / 'run.lock').exists()
    runner = make(str(work_dir), {'resume': True, 'epochs': 4})
    runner.train()
    assert not (work_dir / 'run.lock').exists()
    logs = ''.join(path.read_text() for path in work_dir.glob('*/*.log'))
    assert 'which has ended without giving it back' in logs


def test_a_failed_run_gives_the_lock_back(work_dir):
    runner = make(str(work_dir), {})

    def fail(*args: object, **kwargs: object) -> None:
        assert (work_dir / 'run.lock').exists()
        raise ZeroDivisionError

    runner.model.forward = fail
    with pytest.raises(ZeroDivisionError):
        runner.train()
    assert not (work_dir / 'run.lock').exists()


def test_a_test_needs_no_lock_in_a_work_dir_that_takes_none(work_dir, monkeypatch):
    """A lock that cannot be made must fail a training, and nothing else."""

    def refuse(*args: object) -> bool:
        raise PermissionError(13, 'read-only')

    monkeypatch.setattr('mmengine.process._lock._create', refuse)
    runner = make(str(work_dir), {})
    assert 'mean' in runner.test()
    assert 'mean' in runner.val()
    with pytest.raises(PermissionError):
        runner.train()


def test_a_training_within_a_training_and_a_test_after_it_work(work_dir):
    outer = make(str(work_dir), {})

    class Nested(Hook):
        def after_train_epoch(self, runner: object) -> None:
            if outer.epoch == 0:
                make(str(work_dir), {'epochs': 1, 'val': False}).train()
                assert (work_dir / 'run.lock').exists()
                outer.test()

    outer.register_hook(Nested())
    outer.train()
    assert outer.iter == 40
    assert not (work_dir / 'run.lock').exists()
