"""A newcomer types the commands of the README, in their order, in an empty folder.

Ctrl-C is a SIGINT to the process. The training cannot be over by then: its output goes to a pipe
that nobody reads, which has room for little more than the first epoch.
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from mmengine.testing._internal.forked_python import PythonProcess

ROOT = Path(__file__).parents[1]
README = (ROOT / 'README.md').read_text(encoding='utf-8')
LIMIT_S = 120.0
# Bytes that the interrupted training can write: the header and the first epoch have about 1,500.
ROOM = 2200

pytestmark = pytest.mark.skipif(not hasattr(fcntl, 'F_SETPIPE_SZ'), reason='pipes of Linux')


@dataclass
class Command:
    """A line of the README that begins with ``$``."""

    words: list[str]
    is_interrupted: bool


def commands() -> list[Command]:
    (block,) = re.findall(r'```console\n(.*?)```', README, re.S)
    found: list[Command] = []
    for line in block.splitlines():
        if line == '^C':
            found[-1].is_interrupted = True
        else:
            assert line.startswith('$ '), line
            found.append(Command(shlex.split(line[2:], comments=True), False))
    return found


def test_the_commands_of_the_readme_work_one_after_the_other(tmp_path: Path) -> None:
    folder, said = tmp_path, ''
    for number, command in enumerate(commands()):
        program, *words = command.words
        if program == 'cd':
            folder /= words[0]
            continue
        assert program == 'mmengine'
        if said:  # by the interrupted training
            assert re.findall('^Go on with +(.*)$', said, re.M) == [shlex.join(command.words)]
        output = tmp_path / f'output_{number}'
        run = interrupted if command.is_interrupted else finished
        code, text = run(words, folder, output)
        assert code == 0, f'{command.words}\n{text}'
        said = text if command.is_interrupted else ''
        CHECKS.get(words[0], lambda folder, text: None)(folder, text)
    done = {command.words[1] for command in commands() if command.words[0] == 'mmengine'}
    assert done >= {'init', 'train', *CHECKS}


def finished(words: list[str], folder: Path, output: Path) -> tuple[int, str]:
    """The exit code of a command, and what it printed."""
    process = PythonProcess(['-m', 'mmengine', *words], output, cwd=folder, env=_environment())
    try:
        code = process.wait(LIMIT_S)
    finally:
        process.kill()
    return code, output.read_text()


def interrupted(words: list[str], folder: Path, output: Path) -> tuple[int, str]:
    """The same for a command that gets a SIGINT after the first epoch."""
    os.mkfifo(output)
    pipe = os.open(output, os.O_RDWR | os.O_NONBLOCK)
    filled = fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, 4096) - ROOM
    os.write(pipe, b' ' * filled)
    process = PythonProcess(['-m', 'mmengine', *words], output, cwd=folder, env=_environment())
    text = bytearray()
    try:
        _until(process, lambda: 'Epoch(val) [1]' in _log_of(folder))
        assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _until_ended(process, pipe, text)
        return process.wait(LIMIT_S), text.decode()
    finally:
        process.kill()
        os.close(pipe)


def _until(process: PythonProcess, is_true: Callable[[], bool]) -> None:
    for _ in range(int(LIMIT_S / 0.05)):
        if is_true():
            return
        assert process.poll() is None, 'It ended too early.'
        _pause(process)
    raise AssertionError('It did not begin.')


def _until_ended(process: PythonProcess, pipe: int, text: bytearray) -> None:
    for _ in range(int(LIMIT_S / 0.05)):
        has_ended = process.poll() is not None
        try:
            while part := os.read(pipe, 65536):
                text += part
        except BlockingIOError:
            pass
        if has_ended:
            return
        _pause(process)


def _pause(process: PythonProcess) -> None:
    """Wait for the end of the process, but not for long."""
    process._process.join(0.05)


def _log_of(folder: Path) -> str:
    return ''.join(path.read_text() for path in folder.glob('work_dirs/*/*/*.log'))


def _environment() -> dict[str, str]:
    return {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', 'COLUMNS': '80'}


def _check_test(folder: Path, text: str) -> None:
    (accuracy,) = re.findall(r'^accuracy +([\d.]+)$', text, re.M)
    assert float(accuracy) > 0.5  # three classes


def _check_report(folder: Path, text: str) -> None:
    (page,) = folder.rglob('report.html')
    assert 'accuracy' in page.read_text()
    # One checkpoint is left, and the best one.
    names = [path.name for path in folder.glob('work_dirs/config/*.pth')]
    assert sorted(name.startswith('best_') for name in names) == [False, True]


def _check_predict(folder: Path, text: str) -> None:
    (file,) = folder.glob('work_dirs/config/predictions/*.jsonl')
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(lines) == 240  # the test data of config.py
    right = 0
    for line in lines:
        scores, target = line['prediction']['preds'], line['prediction']['target']
        assert len(scores) == 3
        right += scores.index(max(scores)) == target
    assert right > len(lines) / 2  # three classes


def _check_export(folder: Path, text: str) -> None:
    (file,) = folder.glob('work_dirs/config/*.pt2')
    program = torch.export.load(file).module()
    scores = program(torch.zeros(2, 1, 16, 16))
    assert scores.shape == (2, 3)


CHECKS: dict[str, Callable[[Path, str], None]] = {
    'test': _check_test,
    'predict': _check_predict,
    'report': _check_report,
    'export': _check_export,
}
