"""Jobs of Slurm: a batch script that a person can read, and its submission."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mmengine.fileio._atomic import atomic_write
from mmengine.launch._notes import FROM_SIGNAL
from mmengine.launch._target import is_script, words_of
from mmengine.utils.errors import ArgumentError

STOPPED_CODE = 75
"""Exit code of a run that stopped on request within a job (EX_TEMPFAIL: try again)."""

_SCRIPT = """\
#!/bin/bash
{directives}

# Slurm sends USR1 to this script {signal_before_s} s before the time limit. The script passes it to
# the run, which saves its state and ends with the exit code {stopped_code}.
step=
signals=0
latest=
is_time_up=no
pass_on() {{
  signals=$((signals + 1))
  latest=$1
  [ "$1" = USR1 ] && is_time_up=yes
  [ -n "$step" ] && kill "-$1" "$step" 2>/dev/null
}}
trap 'pass_on USR1' USR1
trap 'pass_on TERM' TERM

cd {folder} || exit 1
srun --kill-on-bad-exit=0 --ntasks-per-node=1 \\
  --cpus-per-task="${{SLURM_CPUS_PER_TASK:-$SLURM_CPUS_ON_NODE}}" \\
  {command} &
step=$!
# One that came before this line.
[ -n "$latest" ] && kill "-$latest" "$step" 2>/dev/null

# A signal interrupts `wait`: what it returns is the exit code of the run only if none has come.
while :; do
  seen=$signals
  wait "$step"
  code=$?
  [ "$signals" -eq "$seen" ] && break
done
{ending}
exit "$code"
"""

_REQUEUE = (
    '\n# Time is up before the run has ended: back into the queue, and the run is resumed.\n'
    f'if [ "$is_time_up" = yes ] && {{ [ "$code" -eq {STOPPED_CODE} ] || '
    f'[ "$code" -gt {FROM_SIGNAL} ]; }}; then\n'
    '  # Slurm ends this script. If it ended by itself, its code could count for the next start.\n'
    '  trap - TERM\n'
    '  scontrol requeue "$SLURM_JOB_ID" && exec sleep 600\n'
    'fi'
)


@dataclass(frozen=True)
class SlurmJob:
    """What a job of Slurm trains, and with what.

    Attributes:
        target: A config file, or a Python script.
        arguments: Options of ``mmengine train``, or arguments of the script. A config without
            ``--resume`` gets ``--resume auto``, so that a job that comes back goes on.
        nodes: Machines.
        gpus_per_node: GPUs of each machine; None asks for none.
        nproc: Ranks on each machine; None: one for each GPU, or one.
        time: Time limit, such as ``24:00:00``; None takes the limit of the partition.
        requeue: Put the job back into the queue when its time is over, or a machine fails.
        signal_before_s: Seconds before the time limit at which the run is stopped.
        max_restarts: How often the ranks are started again after one has failed.
        name: Of the job; None takes the name of the target.
        job_dir: Folder for the output of the job (``slurm-<job>.out``) and the file by which its
            machines meet; all of them must see it. None: ``work_dirs/<name of the target>/slurm``.
        folder: Where the job runs; None: the present folder.
        options: Further options of ``sbatch``, such as ``--partition=long``.
        as_script: See :func:`launch_local`.
    """

    target: str
    arguments: Sequence[str] = ()
    nodes: int = 1
    gpus_per_node: int | None = None
    nproc: int | None = None
    time: str | None = None
    requeue: bool = False
    signal_before_s: int = 120
    max_restarts: int = 0
    name: str | None = None
    job_dir: str | Path | None = None
    folder: str | Path | None = None
    options: Sequence[str] = ()
    as_script: bool | None = None

    @property
    def own_dir(self) -> Path:
        """``job_dir`` or its default, as an absolute path."""
        given = self.job_dir or Path('work_dirs', Path(self.target).stem, 'slurm')
        return (Path(self.folder or '.').absolute() / given).absolute()


def slurm_script(job: SlurmJob) -> str:
    """The batch script of ``job``.

    Raises:
        FileNotFoundError: If there is no file ``job.target`` in ``job.folder``.
        ArgumentError: If a value cannot be written to a batch script.
    """
    folder = Path(job.folder or '.').absolute()
    if '%' in str(job.own_dir):
        raise ArgumentError(
            f'Slurm replaces % in the path of an output, so the job dir cannot be {job.own_dir}.'
        )
    directives = [
        f'--job-name={job.name or Path(job.target).stem}',
        f'--nodes={job.nodes}',
        '--ntasks-per-node=1',
        *([] if job.gpus_per_node is None else [f'--gpus-per-node={job.gpus_per_node}']),
        *([] if job.time is None else [f'--time={job.time}']),
        f'--signal=B:USR1@{job.signal_before_s}',
        '--requeue' if job.requeue else '--no-requeue',
        f'--chdir={job.own_dir}',
        '--output=slurm-%A_%a.out' if _is_array(job.options) else '--output=slurm-%j.out',
        '--open-mode=append',
    ]
    lines = [*map(_directive, directives), *_given_directives(job.options)]
    return _SCRIPT.format(
        directives='\n'.join(f'#SBATCH {line}' for line in lines),
        signal_before_s=job.signal_before_s,
        stopped_code=STOPPED_CODE,
        folder=shlex.quote(str(folder)),
        command=' \\\n  '.join(_command(job, folder)),
        ending=_REQUEUE if job.requeue else '',
    )


def submit(job: SlurmJob) -> tuple[str, Path]:
    """Write the script of ``job`` to ``job.own_dir``, and give it to Slurm.

    Returns:
        The number of the job, and the path of the script.

    Raises:
        FileNotFoundError: If this machine has no ``sbatch``, or there is no target.
        RuntimeError: If ``sbatch`` refuses the job; the message has its reason.
    """
    text = slurm_script(job)
    job.own_dir.mkdir(parents=True, exist_ok=True)
    path = job.own_dir / f'{Path(job.target).stem}.sbatch'
    with atomic_write(path, 'w') as file:
        file.write(text)
    try:
        done = subprocess.run(
            ['sbatch', '--parsable', str(path)], capture_output=True, text=True, check=False
        )
    except FileNotFoundError:
        raise FileNotFoundError(
            2, f'sbatch is not on this machine. The script was written to {path}', 'sbatch'
        ) from None
    if done.returncode != 0:
        raise RuntimeError(f'sbatch refuses {path}: {done.stderr.strip() or done.stdout.strip()}')
    return done.stdout.strip().partition(';')[0], path


def _command(job: SlurmJob, folder: Path) -> list[str]:
    """The command of each machine, in lines of shell words."""
    as_script = is_script(folder / job.target, job.as_script)
    words_of(str(folder / job.target), (), as_script)  # there has to be such a file
    arguments = list(job.arguments)
    if not as_script and not any(word.partition('=')[0] == '--resume' for word in arguments):
        arguments = [*arguments, '--resume', 'auto']
    meeting = []
    if job.nodes > 1:
        prefix = shlex.quote(f'file:{job.own_dir}/meeting-')
        meeting = [f'--rdzv {prefix}"$SLURM_JOB_ID-${{SLURM_RESTART_COUNT:-0}}"']
    nproc = job.nproc or job.gpus_per_node or 1
    return [
        f'{shlex.quote(sys.executable)} -m mmengine launch local',
        f'--nnodes {job.nodes} --nproc {nproc} --max-restarts {job.max_restarts}',
        *meeting,
        f'--stopped-code {STOPPED_CODE}' + (' --script' if job.as_script else ''),
        shlex.join([job.target, *arguments]),
    ]


def _is_array(options: Sequence[str]) -> bool:
    return any(re.match(r'(--array\b|-a)', option) for option in options)


def _given_directives(options: Sequence[str]) -> list[str]:
    """A line for each option, with the value in the word after it: ``--mem 0``."""
    lines: list[str] = []
    for word in options:
        if lines and not word.startswith('-'):
            lines[-1] += f' {_directive(word)}'
        else:
            lines.append(_directive(word))
    return lines


def _directive(option: str) -> str:
    """An option as Slurm reads it in a line of a script.

    Raises:
        ArgumentError: If it has a line break.
    """
    if '\n' in option or '\r' in option:
        raise ArgumentError(f'An option of sbatch cannot have a line break: {option!r}.')
    name, is_given, value = option.partition('=')
    if not is_given or re.fullmatch(r'[\w@%+=:,./\-\[\]]*', value):
        if re.fullmatch(r'[\w@%+=:,./\-\[\]]+', option):
            return option
        name, value, is_given = '', option, ''
    escaped = value.replace('\\', '\\\\').replace('"', '\\"')
    return f'{name}{is_given}"{escaped}"'
