"""A script of a run as real processes, one a rank, which do not outlive their test."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from mmengine.testing._internal.distributed import free_port

ROOT = Path(__file__).parents[2]


def start(arguments: list[str], output: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    """Python with ``arguments``, as the leader of a group of processes, writing to ``output``."""
    # Not into a pipe: a run that nobody reads from would wait when that is full.
    with output.open('w') as file:
        return subprocess.Popen(
            [sys.executable, *arguments],
            env={**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', **env},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


class RankProcesses:
    """``python SCRIPT WORK_DIR SETTINGS(JSON)`` on ``num_ranks`` ranks, killed at the end.

    Args:
        script: The script.
        work_dir: Of the run; the outputs of the ranks are there too.
        num_ranks: How many processes.
        settings: For the script; ``launcher`` is set for several ranks.
        options: Of the interpreter.
        limit_s: How long to wait for a killed process.
    """

    def __init__(
        self,
        script: Path,
        work_dir: Path,
        num_ranks: int,
        settings: dict[str, Any],
        options: tuple[str, ...],
        limit_s: float,
    ) -> None:
        self.work_dir = work_dir
        work_dir.mkdir(exist_ok=True)
        self.limit_s = limit_s
        env: dict[str, str] = {}
        if num_ranks > 1:
            settings = {**settings, 'launcher': 'pytorch'}
            env = {
                'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(free_port()),
                'WORLD_SIZE': str(num_ranks),
            }  # fmt: skip
        arguments = [*options, str(script), str(work_dir), json.dumps(settings)]
        self.outputs = [work_dir / f'output_{rank}.txt' for rank in range(num_ranks)]
        self.processes = [
            start(arguments, output, {**env, 'RANK': str(rank), 'LOCAL_RANK': str(rank)})
            for rank, output in enumerate(self.outputs)
        ]

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for process in self.processes:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait(self.limit_s)
