"""Starts the ranks of this machine, for a run on one machine or on several."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from mmengine.launch._agent import Agent
from mmengine.launch._forwarding import Forwarding
from mmengine.launch._meeting import meeting_arguments
from mmengine.launch._notes import FOLDER_VARIABLE, Notes
from mmengine.launch._target import words_of


def launch_local(
    target: str,
    arguments: Sequence[str] = (),
    *,
    nproc: int | str | None = None,
    nnodes: int | str = 1,
    node_rank: int | None = None,
    rdzv: str | None = None,
    rdzv_conf: str | None = None,
    max_restarts: int = 0,
    as_script: bool | None = None,
    stopped_code: int | None = None,
) -> int:
    """Train a config, or run a script, on ranks of this machine under torchrun.

    Signals go on to the ranks: after SIGINT, SIGTERM, SIGUSR1 or SIGHUP the run saves its state and
    ends, and is not started again. A second Ctrl-C ends it at once, a third kills the ranks.

    Call it in the main thread, or no signal is handled.

    Args:
        target: A config file, or a Python script.
        arguments: Options of ``mmengine train``, or arguments of the script.
        nproc: Ranks on this machine, or ``'gpu'``: one for each GPU. None: the same, and one
            without a GPU.
        nnodes: Machines, or ``'MIN:MAX'``: the run begins with as many as there are, and goes on
            with fewer or more.
        node_rank: Number of this machine, from 0. None takes ``SLURM_NODEID``, else 0.
        rdzv: Where the machines meet: ``HOST:PORT`` on the machine of node rank 0, or
            ``file:PATH``; see :func:`meeting_arguments`. None for one machine.
        rdzv_conf: Settings of torchrun's rendezvous, such as ``last_call_timeout=10``: how many
            seconds ``MIN`` machines wait for more.
        max_restarts: How often the ranks are started again after one has failed.
        as_script: Whether ``target`` is a script. None: it is one if it has the line
            ``if __name__ == '__main__':``.
        stopped_code: Exit code of a run that stopped on request; None takes ``preempt.exit_code``
            of the run.

    Returns:
        0, or the exit code of the run that stopped or of the rank that failed first; for a
        rank that a signal has ended, 128 plus its number.

    Raises:
        FileNotFoundError: If there is no file ``target``.
        ArgumentError: If several machines have no place to meet.
    """
    words = words_of(target, arguments, as_script)
    if nproc is None:
        nproc = _gpus_or_one()
    if node_rank is None:
        node_rank = int(os.environ.get('SLURM_NODEID', 0))
    folder = tempfile.mkdtemp(prefix='mmengine-launch-')
    before = os.environ.get(FOLDER_VARIABLE)
    try:
        notes = Notes(Path(folder))
        os.environ[FOLDER_VARIABLE] = folder
        forwarding = Forwarding(notes)
        with (
            forwarding.active(),
            meeting_arguments(rdzv, str(nnodes), node_rank, rdzv_conf) as meeting,
        ):
            agent = Agent(
                [
                    f'--nnodes={nnodes}',
                    f'--node-rank={node_rank}',
                    f'--nproc-per-node={nproc}',
                    f'--max-restarts={max_restarts}',
                    *meeting,
                    '--no-python',
                    *(sys.executable, '-u', '-m', 'mmengine.launch._rank', *words),
                ]
            )
            agent.start()
            code = forwarding.wait(agent.has_ended)
            return _exit_code(agent, notes, stopped_code) if code is None else code
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if before is None:
            os.environ.pop(FOLDER_VARIABLE, None)
        else:
            os.environ[FOLDER_VARIABLE] = before


def _exit_code(agent: Agent, notes: Notes, stopped_code: int | None) -> int:
    outcome = agent.outcome()
    stopped = notes.stopped()
    if outcome.exit_code == 0 and stopped is not None:
        return stopped.exit_code if stopped_code is None else stopped_code
    if outcome.text:
        print(f'mmengine launch: {outcome.text}', file=sys.stderr)
    return outcome.exit_code


def _gpus_or_one() -> int:
    import torch

    return max(torch.cuda.device_count(), 1) if torch.cuda.is_available() else 1
