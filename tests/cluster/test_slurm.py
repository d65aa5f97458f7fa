"""Runs in a real Slurm: tasks of srun join, jobs are submitted, requeued and resumed."""

from __future__ import annotations

import re
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from runs_of_launchers import State, states_in, words
from slurm_cluster import Cluster

LIMIT_S = 240.0
CONFIG = (Path(__file__).parents[1] / 'cli' / 'conftest.py').read_text()
LAUNCH = (sys.executable, '-m', 'mmengine', 'launch', 'slurm')

pytestmark = pytest.mark.distributed


class Job:
    """A job that ``mmengine launch slurm`` has submitted."""

    def __init__(self, cluster: Cluster, folder: Path, *options: str) -> None:
        self.cluster = cluster
        told = cluster.call(*LAUNCH, *options, cwd=folder)
        self.number = re.search(r'Submitted job (\d+): ', told).group(1)
        self.job_dir = Path(re.search(r'Its output is in (.*)\.$', told, re.M).group(1))

    def states(self) -> list[str]:
        """The states of the job, or of its elements."""
        return re.findall(r'JobState=(\w+)', self.shown())

    def shown(self) -> str:
        """What Slurm says of the job."""
        return self.cluster.call('scontrol', '--oneliner', 'show', 'job', self.number)

    def text(self) -> str:
        return '\n'.join(path.read_text() for path in sorted(self.job_dir.glob('*.out')))

    def until(self, is_true: Callable[[], bool]) -> None:
        deadline = time.monotonic() + LIMIT_S
        while not is_true():
            assert time.monotonic() < deadline, f'{self.text()}\n{self.cluster.logs()}'
            shown = self.shown()
            assert not re.search('JobState=(FAILED|CANCELLED|TIMEOUT)', shown), (
                f'{shown}\n{self.text()}\n{self.cluster.logs()}'
            )
            time.sleep(0.2)

    def until_completed(self) -> None:
        self.until(lambda: set(self.states()) == {'COMPLETED'})


def test_two_tasks_of_srun_join(cluster: Cluster, expected: State, tmp_path: Path) -> None:
    # Without it they look for the name of the first node, which this machine does not know.
    address = '--export=ALL,MASTER_ADDR=127.0.0.1'
    output = cluster.call('srun', '--ntasks=2', address, *words(tmp_path / 'run', 'slurm'))
    assert states_in(output) == [expected, expected]


def test_a_job_whose_time_is_up_is_requeued_and_goes_on_to_the_same_bits(
    cluster: Cluster, expected: State, tmp_path: Path
) -> None:
    """On two nodes, in folders whose names need quoting."""
    folder = tmp_path / 'it\'s a "run" $HOME #1'
    folder.mkdir()
    work_dir = folder / 'work dir'
    _, script, *arguments = words(work_dir, 'pytorch', at=13, resume='auto')
    options = ['--nodes', '2', '--requeue', '--job-dir', str(folder / 'job dir')]
    job = Job(cluster, folder, script, *options, *arguments)
    job.until(lambda: all((work_dir / f'pid_{rank}').exists() for rank in (0, 1)))
    # What Slurm does at the time of --signal=B:USR1@120.
    cluster.call('scancel', '--signal=USR1', '--batch', job.number)
    job.until(lambda: 'SIGUSR1: the run stops' in job.text())
    (work_dir / 'go').touch()
    job.until(lambda: job.states() == ['PENDING'])
    # Slurm would wait for two minutes. A start in the very second of the end is refused by the
    # node: "Job credential revoked".
    cluster.call('scontrol', 'update', f'JobId={job.number}', 'StartTime=now+2')
    job.until_completed()
    assert 'exit code 75' in job.text()
    assert 'The run stops for signal SIGUSR1 after ' in job.text()
    assert states_in(job.text()) == [expected, expected]
    assert not list(job.job_dir.glob('meeting-*'))


def test_an_array_of_jobs_trains_a_config_in_a_work_dir_each(
    cluster: Cluster, tmp_path: Path
) -> None:
    config = re.search(r'CONFIG = """\\\n(.*?)"""', CONFIG, re.S).group(1)
    work_dir = "work_dir = 'runs/{{$SLURM_ARRAY_TASK_ID:none}}'\n"
    (tmp_path / 'toy.py').write_text(config + work_dir)
    options = ['--time', '10', '--cfg-options', 'model.slope=0.25', '--', '--array=1-2']
    job = Job(cluster, tmp_path, 'toy.py', *options)
    job.until(lambda: len(job.states()) == 2)
    job.until_completed()
    for element in (1, 2):
        assert (tmp_path / 'runs' / str(element) / 'epoch_1.pth').exists(), job.text()
        assert 'slope=0.25' in (tmp_path / 'runs' / str(element) / 'toy.py').read_text()
    assert len(list(job.job_dir.glob('slurm-*_[12].out'))) == 2
    assert shlex.quote(str(tmp_path)) in (job.job_dir / 'toy.sbatch').read_text()
