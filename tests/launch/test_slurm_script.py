"""The batch script of a job: what Slurm is asked for, and words that bash takes as they are."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from mmengine.launch import SlurmJob, slurm_script, submit

# A stand-in for the scheduler: srun runs its command here, after the options.
SRUN = """\
#!/bin/sh
while [ "${1#--}" != "$1" ]; do shift; done
shift 4  # python -m mmengine launch
for word; do printf '%s\\n' "$word"; done > "$WORDS"
exit "$CODE"
"""
# As Slurm does, it ends the script of a job that goes back into the queue.
SCONTROL = '#!/bin/sh\necho "$@" >> "$WORDS"\nkill -TERM $PPID\n'


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The present folder, with a config and a script, and programs of Slurm on the path."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'net.py').write_text('model = dict(type="Net")\n')
    (tmp_path / 'train.py').write_text('if __name__ == "__main__":\n    pass\n')
    programs = tmp_path / 'programs'
    programs.mkdir()
    for name, text in (('srun', SRUN), ('scontrol', SCONTROL)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    monkeypatch.setenv('PATH', f'{programs}{os.pathsep}{os.environ["PATH"]}')
    return tmp_path


def _directives(script: str) -> list[str]:
    return [line.removeprefix('#SBATCH ') for line in script.splitlines() if '#SBATCH ' in line]


def _run(script: str, folder: Path, code: int = 0) -> tuple[int, list[str]]:
    """The exit code of the script, and the words that reach ``mmengine launch``."""
    env = {'WORDS': str(folder / 'words'), 'CODE': str(code), 'SLURM_JOB_ID': '7'}
    done = subprocess.run(
        ['bash', '-c', script], env={**os.environ, 'SLURM_CPUS_ON_NODE': '4', **env}, check=False
    )
    return done.returncode, (folder / 'words').read_text().splitlines()


def test_slurm_is_asked_for_what_was_given(folder: Path) -> None:
    job = SlurmJob(
        'net.py', nodes=2, gpus_per_node=8, time='24:00:00', requeue=True,
        options=['--partition=long', '--comment=a "b" c\\d', '--mem', '0', '-J', 'a b'],
    )  # fmt: skip
    assert _directives(slurm_script(job)) == [
        '--job-name=net', '--nodes=2', '--ntasks-per-node=1', '--gpus-per-node=8',
        '--time=24:00:00', '--signal=B:USR1@120', '--requeue',
        f'--chdir={folder}/work_dirs/net/slurm', '--output=slurm-%j.out', '--open-mode=append',
        '--partition=long', r'--comment="a \"b\" c\\d"', '--mem 0', '-J "a b"',
    ]  # fmt: skip


def test_a_job_of_one_machine_without_gpus(folder: Path) -> None:
    asked = _directives(slurm_script(SlurmJob('net.py', time='10')))
    assert '--no-requeue' in asked
    assert not any('gpus' in option for option in asked)


@pytest.mark.parametrize('option', ['--array=1-8', '-a'])
def test_elements_of_an_array_have_outputs_of_their_own(folder: Path, option: str) -> None:
    assert '--output=slurm-%A_%a.out' in slurm_script(SlurmJob('net.py', options=[option, '1-8']))


def test_words_reach_the_launcher_as_they_are(folder: Path) -> None:
    odd = ["it's", 'a b', '$HOME', '`date`', '"x"', 'c\\d', '#1', '*', 'work_dir=x y']
    job_dir = folder / "it's $HOME"
    job = SlurmJob('net.py', ['--cfg-options', *odd], nodes=2, nproc=4, job_dir=job_dir)
    code, words = _run(slurm_script(job), folder)
    assert code == 0
    assert words == [
        'local', '--nnodes', '2', '--nproc', '4', '--max-restarts', '0',
        '--rdzv', f'file:{job_dir}/meeting-7-0', '--stopped-code', '75',
        'net.py', '--cfg-options', *odd, '--resume', 'auto',
    ]  # fmt: skip


def test_a_resume_of_the_user_stays_and_a_script_gets_none(folder: Path) -> None:
    _, words = _run(slurm_script(SlurmJob('net.py', ['--resume', 'a.pth'])), folder)
    assert words[words.index('net.py') :] == ['net.py', '--resume', 'a.pth']
    _, words = _run(slurm_script(SlurmJob('train.py', ['--lr', '1'])), folder)
    assert words[words.index('train.py') :] == ['train.py', '--lr', '1']


@pytest.mark.parametrize('code', [0, 1, 75])
def test_without_a_signal_the_exit_code_passes_and_nothing_is_requeued(
    folder: Path, code: int
) -> None:
    found, words = _run(slurm_script(SlurmJob('net.py', requeue=True)), folder, code)
    assert found == code
    assert words[0] == 'local'  # scontrol would have added a line
    assert 'requeue 7' not in words


@pytest.mark.parametrize(
    ('name', 'code', 'requeues'),
    [('USR1', 75, True), ('USR1', 138, True), ('USR1', 0, False), ('TERM', 75, False)],
)
def test_a_run_that_stopped_for_its_time_limit_is_requeued(
    folder: Path, name: str, code: int, requeues: bool
) -> None:
    # srun sends the signal to the script, waits until it comes back, and ends.
    (folder / 'programs' / 'srun').write_text(
        f'#!/bin/bash\ntrap "exit {code}" {name}\ntouch "$WORDS"\nkill -{name} $PPID\n'
        'while :; do sleep 0.05; done\n'
    )
    found, words = _run(slurm_script(SlurmJob('net.py', requeue=True)), folder)
    # A script that ended by itself could end the next start of its job.
    assert found == (-signal.SIGTERM if requeues else code)
    assert words == (['requeue 7'] if requeues else [])


def test_a_requeue_that_is_refused_ends_the_job(folder: Path) -> None:
    (folder / 'programs' / 'scontrol').write_text('#!/bin/sh\nexit 1\n')
    (folder / 'programs' / 'srun').write_text(
        '#!/bin/bash\ntrap "exit 75" USR1\ntouch "$WORDS"\nkill -USR1 $PPID\n'
        'while :; do sleep 0.05; done\n'
    )
    assert _run(slurm_script(SlurmJob('net.py', requeue=True)), folder) == (75, [])


def test_an_option_with_a_line_break_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match='line break'):
        slurm_script(SlurmJob('net.py', options=['--comment=a\n#SBATCH --nodes=9']))


def test_a_folder_that_slurm_would_rename_is_refused(folder: Path) -> None:
    with pytest.raises(ValueError, match='Slurm replaces %'):
        slurm_script(SlurmJob('net.py', job_dir='runs/%j'))


def test_a_missing_target_is_told_before_anything_is_written(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r'none\.py'):
        submit(SlurmJob('none.py'))
    assert not (folder / 'work_dirs').exists()


def test_a_machine_without_slurm_keeps_the_script(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv('PATH', str(folder / 'programs'))
    with pytest.raises(FileNotFoundError, match='sbatch is not on this machine'):
        submit(SlurmJob('net.py'))
    assert sys.executable in (folder / 'work_dirs/net/slurm/net.sbatch').read_text()


def test_a_refusal_of_sbatch_is_told(folder: Path) -> None:
    (folder / 'programs' / 'sbatch').write_text('#!/bin/sh\necho "no partition" >&2\nexit 1\n')
    (folder / 'programs' / 'sbatch').chmod(0o755)
    with pytest.raises(RuntimeError, match='no partition'):
        submit(SlurmJob('net.py'))


def test_the_script_is_bash(folder: Path) -> None:
    script = slurm_script(SlurmJob('net.py', nodes=2, requeue=True))
    done = subprocess.run(['bash', '-n'], input=script, text=True, check=False)
    assert done.returncode == 0
    assert shlex.quote(sys.executable) in script
