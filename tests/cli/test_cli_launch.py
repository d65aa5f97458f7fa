"""`mmengine launch` reads its options, those of the training, and those of the scheduler."""

from __future__ import annotations

from pathlib import Path

import pytest

from mmengine.cli.__main__ import main


def _directives(text: str) -> list[str]:
    return [line.removeprefix('#SBATCH ') for line in text.splitlines() if '#SBATCH ' in line]


@pytest.mark.parametrize(
    'words',
    [
        ['--nodes', '2', '--requeue', 'toy.py', '--work-dir', 'a', '--resume', 'b.pth'],
        ['toy.py', '--nodes', '2', '--work-dir', 'a', '--requeue', '--resume', 'b.pth'],
        ['toy.py', '--work-dir', 'a', '--resume', 'b.pth', '--nodes', '2', '--requeue'],
    ],
)
def test_options_of_a_job_may_stand_before_and_after_the_config(
    project: Path, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    command = ['launch', 'slurm', *words, '--dry-run', '--', '--partition=long', '--mem', '0']
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert {'--nodes=2', '--requeue', '--partition=long', '--mem 0'} <= set(_directives(shown))
    assert '  toy.py --work-dir a --resume b.pth &\n' in shown
    assert not (project / 'work_dirs').exists()


@pytest.mark.parametrize('place', ['local', 'slurm'])
def test_an_option_that_the_training_does_not_have_is_told_once(
    project: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    assert main(['launch', place, 'toy.py', '--wrok-dir', 'a']) == 2
    assert 'mmengine train has no option --wrok-dir' in capsys.readouterr().err


def test_machines_without_a_place_to_meet_are_a_mistake(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(['launch', 'local', '--nnodes', '2', '--nproc', '1', 'toy.py']) == 2
    assert '--rdzv HOST:PORT' in capsys.readouterr().err


def test_a_job_without_slurm_is_a_mistake(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('PATH', '')
    assert main(['launch', 'slurm', 'toy.py']) == 2
    assert 'sbatch' in capsys.readouterr().err
