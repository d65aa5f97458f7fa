"""Ranks that `mmengine launch local` started: signals, exit codes, and starts after a kill -9."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from rank_processes import start, wait_until
from stoppable_run import make, state_of

SCRIPT = Path(__file__).with_name('stoppable_run.py')
LIMIT_S = 240.0
QUIET = ('-W', 'ignore')

pytestmark = [
    pytest.mark.skipif(os.name != 'posix', reason='signals of POSIX'),
    pytest.mark.distributed,
]


class Launched:
    """A launcher with a run, killed at the end with all its ranks.

    Args:
        work_dir: Of the run.
        options: Of ``mmengine launch local``.
        module: What is started instead of it, with ``options``.
        settings: Of the run.
    """

    def __init__(
        self,
        work_dir: Path,
        *options: str,
        module: tuple[str, ...] = ('mmengine', 'launch', 'local'),
        **settings: Any,
    ) -> None:
        self.work_dir = work_dir
        work_dir.mkdir(exist_ok=True)
        self.output = work_dir.with_name(f'{work_dir.name}_{len(os.listdir(work_dir.parent))}.txt')
        given = json.dumps({'launcher': 'pytorch', **settings})
        words = [*QUIET, '-m', *module, *options, str(SCRIPT), str(work_dir), given]
        self.process = start(words, self.output, {})

    def __enter__(self) -> Launched:
        return self

    def __exit__(self, *exc_info: object) -> None:
        # The ranks have sessions of their own, and end with the launcher.
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(LIMIT_S)

    def until_ready(self, num_ranks: int = 2) -> Launched:
        """Wait until all ranks wait for the file ``go``."""
        names = ['ready', *(f'pid_{rank}' for rank in range(num_ranks))]
        self.until(lambda: all((self.work_dir / name).exists() for name in names))
        return self

    def until(self, is_true: Any) -> None:
        wait_until(is_true, [self.process], self.text, LIMIT_S)

    def go_on(self) -> None:
        (self.work_dir / 'go').touch()

    def pid_of(self, rank: int) -> int:
        return int((self.work_dir / f'pid_{rank}').read_text())

    def code(self) -> int:
        try:
            return self.process.wait(LIMIT_S)
        except subprocess.TimeoutExpired:
            raise AssertionError(f'The launcher does not end.\n{self.text()}') from None

    def text(self) -> str:
        return self.output.read_text()

    def states(self) -> list[dict[str, Any]]:
        assert self.code() == 0, self.text()
        lines = re.findall(r'^STATE (.*)$', self.text(), re.M)
        return [json.loads(line) for line in lines]


def _alone(folder: Path, **settings: Any) -> dict[str, Any]:
    """The end of a run in this process."""
    runner = make(str(folder / 'alone'), {**settings, 'launcher': 'none'})
    runner.train()
    return state_of(runner)


def _children(pid: int) -> list[int]:
    found = subprocess.run(
        ['ps', '-o', 'pid=', '--ppid', str(pid)], capture_output=True, text=True, check=True
    )
    return [int(word) for word in found.stdout.split()]


def _numbers(state: dict[str, Any]) -> torch.Tensor:
    values = [state['weights'], state['momenta']]
    return torch.tensor([float(x) for x in re.findall(r'-?\d[\d.e+-]*', json.dumps(values))])


STEPS = {'type': 'CosineAnnealingLR', 'T_max': 40, 'unit': 'step'}


def test_ranks_come_back_after_a_kill_and_end_as_the_unbroken_run(tmp_path):
    """Under torchrun itself, with a sharded model; one process is the unbroken run."""
    expected = _alone(tmp_path, interval=1, scheduler=STEPS, counts=2)
    torchrun = ('torch.distributed.run', '--standalone', '--nproc-per-node', '2')
    settings = {'interval': 1, 'scheduler': STEPS, 'more': {'cfg': {'strategy': 'fsdp'}}}
    options = ['--max-restarts', '1']
    with Launched(tmp_path / 'run', *options, module=torchrun, at=13, **settings) as run:
        run.until_ready()
        os.kill(run.pid_of(1), signal.SIGKILL)
        run.go_on()
        states = run.states()
        text = run.text()
    # 5 batches an epoch: the kill comes in the third one.
    assert 'The ranks were started again: the run goes on from its newest checkpoint.' in text
    assert 'resumed epoch: 2, iter: 10' in text
    assert len(states) == 2
    for state in states:
        assert state['epoch'] == expected['epoch']
        torch.testing.assert_close(_numbers(state), _numbers(expected))
        assert state['lr'] == pytest.approx(expected['lr'])


def test_a_run_goes_on_without_a_machine_and_keeps_the_samples_of_a_step(tmp_path):
    """Two launchers are two machines; one is killed with its rank."""
    settings = {'interval': 1, 'at': 13, 'scheduler': STEPS}
    expected = _alone(tmp_path, interval=1, scheduler=STEPS, counts=2)
    options = [
        '--nnodes', '1:2', '--max-restarts', '3', '--rdzv', f'file:{tmp_path}/meeting',
        '--rdzv-conf', 'last_call_timeout=1,keep_alive_interval=1,keep_alive_max_attempt=3',
    ]  # fmt: skip
    work_dir = tmp_path / 'run'
    with (
        Launched(work_dir, *options, '--node-rank', '0', **settings) as first,
        Launched(work_dir, *options, '--node-rank', '1', **settings) as second,
    ):
        first.until_ready()
        # The machine of the run that has the other rank; which one it has depends on addresses.
        of_second = _children(second.process.pid)
        second.process.send_signal(signal.SIGSTOP)  # so that it starts no rank
        for pid in of_second:
            os.kill(pid, signal.SIGKILL)
        second.process.kill()
        first.go_on()
        (state,) = first.states()
        text = first.text()
    assert 'a rank loads 4 samples for an iteration instead of 2' in text
    assert 'computes them in 2 parts' in text
    assert state['epoch'] == expected['epoch']
    torch.testing.assert_close(_numbers(state), _numbers(expected))
    assert state['lr'] == pytest.approx(expected['lr'])


@pytest.mark.parametrize('name', ['SIGINT', 'SIGUSR1'])
def test_a_signal_to_the_launcher_saves_once_and_its_exit_code_is_that_of_the_run(tmp_path, name):
    preempt = {'exit_code': 85}
    with Launched(
        tmp_path / 'run', '--nproc', '2', '--max-restarts', '2', at=3, more={'preempt': preempt}
    ) as run:
        run.until_ready()
        run.process.send_signal(getattr(signal, name))
        run.until(lambda: f'{name}: the run stops' in run.text())
        run.go_on()
        assert run.code() == 85, run.text()
        text = run.text()
    assert 'started again' not in text
    assert 'Traceback' not in text
    assert text.count(f'The run stops for signal {name}') == 1
    assert len(list((tmp_path / 'run').glob('iter_*.pth'))) == 1
