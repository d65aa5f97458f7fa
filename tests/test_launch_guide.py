"""docs/launch.md keeps its word: its commands are those of the command line, and run."""

import os
import re
import shlex
from pathlib import Path

import pytest

from mmengine.cli.__main__ import build_parser, main
from mmengine.testing._internal.forked_python import run_python

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / 'docs' / 'launch.md').read_text(encoding='utf-8')
COMMANDS = re.findall(r'^    (\S.*)$', GUIDE, re.M)
TOY = (ROOT / 'tests' / 'cli' / 'conftest.py').read_text(encoding='utf-8')
SCRIPT = """\
import sys

from mmengine.config import Config
from mmengine.runner import Runner

if __name__ == '__main__':
    cfg = Config.fromfile('config.py')
    cfg.update(work_dir='runs/script', launcher='pytorch')
    Runner.from_cfg(cfg).train()
    sys.stdout.write(f'ARGUMENTS {sys.argv}\\n')
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, with the files that the commands name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'config.py').write_text(re.search(r'CONFIG = """\\\n(.*?)"""', TOY, re.S).group(1))
    (tmp_path / 'train.py').write_text(SCRIPT)
    return tmp_path


def _run(words: list[str], folder: Path) -> str:
    path = os.pathsep.join([str(ROOT), str(ROOT / 'tests' / 'cli')])
    done = run_python(
        ['-W', 'ignore', '-m', *words],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': path, 'OMP_NUM_THREADS': '1'},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_it_has_commands() -> None:
    assert len(COMMANDS) >= 12


@pytest.mark.parametrize('command', COMMANDS)
def test_each_command_is_one(
    command: str, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(command)
    assert words[0] in ('mmengine', 'torchrun', 'srun', 'mpirun')
    if 'slurm' in words[:3]:
        at = words.index('--') if '--' in words else len(words)
        assert main([*words[1:at], '--dry-run', *words[at:]]) == 0
        assert capsys.readouterr().out.startswith('#!/bin/bash\n')
        return
    own = words[words.index('mmengine') + 1 :] if 'mmengine' in words else []
    options = build_parser(own[:1]).parse_args(own)
    if own[0] == 'launch':
        build_parser(['train']).parse_args(['train', options.config, *options.rest])
        assert (project / options.config).exists()


@pytest.mark.distributed
def test_two_ranks_train_the_config(project: Path) -> None:
    (command,) = [one for one in COMMANDS if '--nproc 2 config.py' in one]
    output = _run(shlex.split(command), project)
    # Eight samples in batches of four are one iteration for each of two ranks.
    assert '[1][1/1]' in output
    assert output.count('Last checkpoint') == 1
    assert (project / 'runs' / 'a' / 'epoch_1.pth').exists()


@pytest.mark.distributed
def test_two_ranks_run_the_script(project: Path) -> None:
    (command,) = [one for one in COMMANDS if '--nproc 2 train.py' in one]
    output = _run([*shlex.split(command), '--lr', '-1', 'a b'], project)
    assert output.count("ARGUMENTS ['train.py', '--lr', '-1', 'a b']") == 2
    assert (project / 'runs' / 'script' / 'epoch_1.pth').exists()
