"""Completion in real shells, and the words that it gives."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from mmengine.cli.__main__ import main
from mmengine.cli._completing import keys_of, leaves
from mmengine.cli.completion import completion_script
from mmengine.utils.errors import ArgumentError

ROOT = Path(__file__).parents[2]
# Loads the script, and prints what the shell offers for a line.
ASK = {
    'bash': """\
source ./script
COMP_LINE=$1 COMP_POINT=${#1} COMP_TYPE=9
read -ra COMP_WORDS <<< "$1"
[[ $1 == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_python_argcomplete mmengine
printf '%s\\n' "${COMPREPLY[@]}"
""",
    'fish': 'source ./script; complete --do-complete $argv[1]\n',
}


@pytest.fixture
def shell_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a command ``mmengine`` on the path, and two configs."""
    command = tmp_path / 'bin' / 'mmengine'
    command.parent.mkdir()
    command.write_text(
        f'#!{sys.executable}\nimport sys\nsys.path.insert(0, {str(ROOT)!r})\n'
        'from mmengine.cli.__main__ import main\nsys.exit(main())\n'
    )
    command.chmod(0o755)
    monkeypatch.setenv('PATH', f'{command.parent}:{Path("/usr/bin")}:/bin')
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'base.py').write_text(
        'import torch\ntrain_cfg = dict(max_epochs=3)\nsteps = [dict(lr=1)]\n'
        "open('executed', 'w')\n"
    )
    (tmp_path / 'child.py').write_text("_base_ = 'base.py'\ntrain_cfg = dict(val_interval=1)\n")
    (tmp_path / 'notes.txt').write_text('not a config\n')
    return tmp_path


def offered(shell: str, line: str, folder: Path) -> set[str]:
    (folder / 'script').write_text(completion_script(shell))
    found = shutil.which(shell)
    if found is None:
        pytest.skip(f'there is no {shell} here')
    options = ['--norc', '-c'] if shell == 'bash' else ['-c']
    words = [found, *options, ASK[shell], *(['bash'] if shell == 'bash' else []), line]
    done = subprocess.run(
        words, cwd=folder, capture_output=True, text=True, timeout=60, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return {word.split('\t')[0].strip() for word in done.stdout.splitlines()} - {''}


@pytest.mark.parametrize('shell', ASK)
def test_a_shell_completes_commands_and_options(shell: str, shell_folder: Path) -> None:
    assert offered(shell, 'mmengine t', shell_folder) == {'train', 'test'}
    assert offered(shell, 'mmengine compl', shell_folder) == {'completion'}
    assert '--work-dir' in offered(shell, 'mmengine train --wo', shell_folder)
    assert offered(shell, 'mmengine config che', shell_folder) == {'check'}
    assert {'bash', 'zsh', 'fish'} <= offered(shell, 'mmengine completion ', shell_folder)


def test_files_and_keys_of_a_config_are_offered(shell_folder: Path) -> None:
    assert {'base.py', 'child.py'} <= offered('bash', 'mmengine train ', shell_folder)
    assert 'notes.txt' not in offered('bash', 'mmengine train ', shell_folder)
    line = 'mmengine train child.py --cfg-options train_cfg.'
    assert offered('bash', line, shell_folder) == {
        'train_cfg.max_epochs=', 'train_cfg.val_interval='
    }  # fmt: skip
    assert not (shell_folder / 'executed').exists()


@pytest.mark.skipif(shutil.which('zsh') is None, reason='there is no zsh here')
def test_zsh_loads_the_script(shell_folder: Path) -> None:
    (shell_folder / 'script').write_text(completion_script('zsh'))
    code = (
        'autoload -Uz compinit && compinit -u -d dump && source ./script && print $_comps[mmengine]'
    )
    done = subprocess.run(
        ['zsh', '-f', '-c', code], cwd=shell_folder, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip().startswith('_python_argcomplete'), done.stderr


def test_the_command_prints_the_script(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['completion', 'bash']) == 0
    assert capsys.readouterr().out.strip() == completion_script('bash').strip()


def test_another_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(['completion', 'tcl'])
    assert 'bash' in capsys.readouterr().err
    with pytest.raises(ArgumentError, match='bash, zsh, fish'):
        completion_script('tcl')


def test_keys_are_those_of_the_file_and_of_what_it_inherits(shell_folder: Path) -> None:
    keys = keys_of('child.py')
    assert keys == {'train_cfg': {'max_epochs': 3, 'val_interval': 1}, 'steps': [{'lr': 1}]}
    assert list(leaves(keys)) == ['train_cfg.max_epochs', 'train_cfg.val_interval', 'steps.0.lr']


@pytest.mark.parametrize(
    ('name', 'text'),
    [('a.yaml', 'lr: 1\nmodel: {depth: 3}\n'), ('a.json', '{"lr": 1, "model": {"depth": 3}}')],
)
def test_keys_of_data_files(shell_folder: Path, name: str, text: str) -> None:
    Path(name).write_text(text)
    assert list(leaves(keys_of(name))) == ['lr', 'model.depth']


@pytest.mark.parametrize('text', ['model = dict(', "_base_ = 'none.py'\n", '_base_ = 3\n'])
def test_a_file_that_cannot_be_read_offers_nothing(shell_folder: Path, text: str) -> None:
    Path('broken.py').write_text(text)
    assert keys_of('broken.py') == {}
    assert keys_of('none.py') == {}


def test_files_that_inherit_each_other_end(shell_folder: Path) -> None:
    Path('ring.py').write_text("_base_ = 'ring.py'\nlr = 1\n")
    assert keys_of('ring.py') == {'lr': 1}
