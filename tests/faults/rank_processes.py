"""A script of a run as real processes, one a rank, which do not outlive their test."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmengine.testing._internal.distributed import free_port
from mmengine.testing._internal.forked_python import PythonProcess

ROOT = Path(__file__).parents[2]


def start(arguments: list[str], output: Path, env: dict[str, str]) -> PythonProcess:
    """Python with ``arguments``, as the leader of a group of processes, writing to ``output``."""
    return PythonProcess(arguments, output, env=_environment(env))


def wait_until(
    is_true: Callable[[], bool], processes: Sequence[Any], text: Callable[[], str], limit_s: float
) -> None:
    """Wait for what ``processes`` do; ``text`` is shown when one of them ends before."""
    deadline = time.monotonic() + limit_s
    while not is_true():
        assert time.monotonic() < deadline, text()
        assert all(process.poll() is None for process in processes), text()
        time.sleep(0.02)


class ScriptProcess(PythonProcess):
    """``python -W ignore SCRIPT ARGUMENTS``, as by :func:`start`."""

    def __init__(
        self, script: Path, arguments: list[str], output: Path, env: dict[str, str] | None = None
    ) -> None:
        words = ['-W', 'ignore', str(script), *arguments]
        super().__init__(words, output, env=_environment(env or {}))


def _environment(more: dict[str, str]) -> dict[str, str]:
    return {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', **more}


class RankProcesses:
    """``python SCRIPT WORK_DIR SETTINGS(JSON)`` on ``num_ranks`` ranks, killed at the end.

    Args:
        script: The script.
        work_dir: Of the run; the outputs of the ranks are there too.
        num_ranks: How many processes.
        settings: For the script; ``launcher`` is set for several ranks.
        limit_s: How long to wait for a killed process.
    """

    def __init__(
        self,
        script: Path,
        work_dir: Path,
        num_ranks: int,
        settings: dict[str, Any],
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
        arguments = [str(work_dir), json.dumps(settings)]
        self.outputs = [work_dir / f'output_{rank}.txt' for rank in range(num_ranks)]
        self.processes = [
            ScriptProcess(
                script, arguments, output, {**env, 'RANK': str(rank), 'LOCAL_RANK': str(rank)}
            )
            for rank, output in enumerate(self.outputs)
        ]

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *exc_info: object) -> None:
        for process in self.processes:
            process.kill(self.limit_s)
