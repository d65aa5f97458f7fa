"""A Slurm cluster of this machine: munged, slurmctld and a slurmd for each of two nodes.

All of it lives in one temporary folder with ports that were free, and ends with the context. Run as
a script, it starts a shell in which ``sinfo``, ``sbatch`` and ``srun`` use the cluster:

    python tests/cluster/slurm_cluster.py
"""

from __future__ import annotations

import contextlib
import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

NODES = ('node1', 'node2')
PROGRAMS = ('munged', 'slurmctld', 'slurmd', 'sbatch', 'srun', 'scontrol')
LIMIT_S = 60.0
_ASKING_S = 10.0
# `sbin` is not on the path of everybody.
_PATH = os.pathsep.join([os.environ.get('PATH', ''), '/usr/sbin', '/sbin'])

_CONFIG = """\
ClusterName=test
SlurmctldHost=localhost(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
SlurmctldPort={controller_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=sched_interval=1,batch_sched_delay=0
ReturnToService=2
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
SlurmdParameters=config_overrides
KillWait=30
{nodes}
PartitionName=all Nodes={names} Default=YES MaxTime=INFINITE State=UP OverSubscribe=FORCE:4
"""


def missing_programs() -> list[str]:
    """The programs of the cluster that this machine does not have."""
    return [name for name in PROGRAMS if shutil.which(name, path=_PATH) is None]


@dataclass(frozen=True)
class Cluster:
    """A cluster that runs.

    Attributes:
        folder: Its config, state and logs.
        env: The environment in which the commands of Slurm use it.
    """

    folder: Path
    env: dict[str, str]

    def call(self, *words: str, **options: object) -> str:
        """What a command prints.

        Raises:
            AssertionError: If it fails.
        """
        done = subprocess.run(
            words, env=self.env, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL, timeout=LIMIT_S * 3, **options,  # type: ignore[call-overload]
        )  # fmt: skip
        assert done.returncode == 0, f'{words}: {done.stdout}{done.stderr}\n{self.logs()}'
        return str(done.stdout)

    def logs(self) -> str:
        """The ends of the logs of the daemons."""
        files = sorted(self.folder.glob('*.log'))
        return '\n'.join(f'--- {file.name}\n{file.read_text()[-3000:]}' for file in files)


class _DaemonEndedError(RuntimeError):
    """A daemon did not stay, such as for a port that another process has taken meanwhile."""


@contextlib.contextmanager
def running_cluster() -> Iterator[Cluster]:
    """Start a cluster, and end it with all that runs there."""
    for attempts_left in (2, 1, 0):
        folder = Path(tempfile.mkdtemp(prefix='slurm_'))
        # munged wants to be sure that nobody else can change its files.
        folder.chmod(0o755)
        env = {**os.environ, 'PATH': _PATH, 'SLURM_CONF': str(folder / 'slurm.conf')}
        cluster, daemons = Cluster(folder, env), []
        try:
            _start_all(cluster, daemons)
            yield cluster
            return
        except _DaemonEndedError:
            if not attempts_left:
                raise
        finally:
            _end(cluster, daemons)
            shutil.rmtree(folder, ignore_errors=True)


def _start_all(cluster: Cluster, daemons: list[subprocess.Popen[bytes]]) -> None:
    daemons.append(_start_munged(cluster.folder))
    _write_config(cluster.folder)
    commands = [['slurmctld', '-D', '-c'], *(['slurmd', '-D', '-N', node] for node in NODES)]
    for number, words in enumerate(commands):
        daemons.append(_start(words, cluster.folder / f'start-{number}.log', cluster.env))
    _wait_for_nodes(cluster, daemons)


def _start(words: list[str], log: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    with log.open('wb') as output:
        return subprocess.Popen(
            words, env=env, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
            start_new_session=True,
        )  # fmt: skip


def _start_munged(folder: Path) -> subprocess.Popen[bytes]:
    key = folder / 'munge.key'
    key.write_bytes(os.urandom(128))
    key.chmod(0o400)
    daemon = _start(
        [
            'munged', '--foreground', '--force', f'--socket={folder}/munge.socket',
            f'--key-file={key}', f'--pid-file={folder}/munge.pid',
            f'--log-file={folder}/munge.log', f'--seed-file={folder}/munge.seed',
        ],
        folder / 'start-munged.log',
        {**os.environ, 'PATH': _PATH},
    )  # fmt: skip
    deadline = time.monotonic() + LIMIT_S
    while not (folder / 'munge.socket').exists():
        if daemon.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f'munged: {(folder / "start-munged.log").read_text()}')
        time.sleep(0.05)
    return daemon


def _write_config(folder: Path) -> None:
    controller_port, *ports = _free_ports(1 + len(NODES))
    cpus = max(4, os.cpu_count() or 1)
    nodes = '\n'.join(
        f'NodeName={name} NodeHostname=localhost NodeAddr=127.0.0.1 Port={port} CPUs={cpus}'
        for name, port in zip(NODES, ports, strict=True)
    )
    (folder / 'state').mkdir()
    (folder / 'slurm.conf').write_text(
        _CONFIG.format(
            user=getpass.getuser(),
            folder=folder,
            controller_port=controller_port,
            nodes=nodes,
            names=','.join(NODES),
        )
    )


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as opened:
        probes = [opened.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind(('127.0.0.1', 0))
        return [int(probe.getsockname()[1]) for probe in probes]


def _wait_for_nodes(cluster: Cluster, daemons: list[subprocess.Popen[bytes]]) -> None:
    deadline = time.monotonic() + LIMIT_S
    while time.monotonic() < deadline:
        ended = [daemon.args for daemon in daemons if daemon.poll() is not None]
        if ended:
            raise _DaemonEndedError(f'{ended} ended.\n{cluster.logs()}')
        with contextlib.suppress(subprocess.TimeoutExpired):
            seen = subprocess.run(
                ['sinfo', '-h', '-N', '-o', '%N %t'],
                env=cluster.env,
                capture_output=True,
                text=True,
                check=False,
                timeout=_ASKING_S,
            )
            if sorted(seen.stdout.split('\n')[:-1]) == [f'{node} idle' for node in NODES]:
                return
        time.sleep(0.2)
    raise RuntimeError(f'The nodes do not come up.\n{cluster.logs()}')


def _end(cluster: Cluster, daemons: list[subprocess.Popen[bytes]]) -> None:
    if len(daemons) > 1 and all(daemon.poll() is None for daemon in daemons[:2]):
        user = f'--user={getpass.getuser()}'
        for options in (['--signal=KILL', '--full'], []):
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run(
                    ['scancel', *options, user],
                    env=cluster.env,
                    capture_output=True,
                    check=False,
                    timeout=_ASKING_S,
                )
    for daemon in reversed(daemons):
        daemon.send_signal(signal.SIGTERM)
    for daemon in daemons:
        try:
            daemon.wait(10)
        except subprocess.TimeoutExpired:
            daemon.kill()
            daemon.wait()


if __name__ == '__main__':
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(128 + number))
    with running_cluster() as started:
        shell = sys.argv[1:] or [os.environ.get('SHELL', '/bin/bash')]
        sys.exit(subprocess.run(shell, env=started.env, check=False).returncode)
