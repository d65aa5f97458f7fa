"""A script of a run as real processes, one a rank, which do not outlive their test."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
import types
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mmengine.testing._internal.distributed import free_port
from mmengine.testing._internal.start_method import start_method

ROOT = Path(__file__).parents[2]


def start(arguments: list[str], output: Path, env: dict[str, str]) -> subprocess.Popen[bytes]:
    """Python with ``arguments``, as the leader of a group of processes, writing to ``output``."""
    # Not into a pipe: a run that nobody reads from would wait when that is full.
    with output.open('w') as file:
        return subprocess.Popen(
            [sys.executable, *arguments],
            env=_environment(env),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def wait_until(
    is_true: Callable[[], bool], processes: Sequence[Any], text: Callable[[], str], limit_s: float
) -> None:
    """Wait for what ``processes`` do; ``text`` is shown when one of them ends before."""
    deadline = time.monotonic() + limit_s
    while not is_true():
        assert time.monotonic() < deadline, text()
        assert all(process.poll() is None for process in processes), text()
        time.sleep(0.02)


class ScriptProcess:
    """``python -W ignore SCRIPT ARGUMENTS``, as by :func:`start`, in tenths of its time.

    It is forked by a server that has imported torch, and is else a process of its own.
    """

    def __init__(
        self, script: Path, arguments: list[str], output: Path, env: dict[str, str] | None = None
    ) -> None:
        output.touch()
        self._process = start_method().Process(
            target=_run, args=(str(script), arguments, str(output), _environment(env or {}))
        )
        self._process.start()
        assert self._process.pid is not None
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """As of ``subprocess.Popen``."""
        return self._process.exitcode

    def poll(self) -> int | None:
        """As of ``subprocess.Popen``."""
        return self._process.exitcode

    def wait(self, timeout: float) -> int:
        """As of ``subprocess.Popen``."""
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired('script', timeout)
        return self._process.exitcode

    def kill(self, limit_s: float) -> None:
        """End it and what it has started, if it is still there."""
        if self.poll() is None:
            for send in (os.killpg, os.kill):  # before it has a group, itself
                with contextlib.suppress(ProcessLookupError):
                    send(self.pid, signal.SIGKILL)
            self.wait(limit_s)


def _environment(more: dict[str, str]) -> dict[str, str]:
    return {**os.environ, 'PYTHONPATH': str(ROOT), 'OMP_NUM_THREADS': '1', **more}


def _run(script: str, arguments: list[str], output: str, environ: dict[str, str]) -> None:
    os.setsid()
    file = os.open(output, os.O_WRONLY | os.O_APPEND)
    for source, target in ((os.open(os.devnull, os.O_RDONLY), 0), (file, 1), (file, 2)):
        os.dup2(source, target)
    os.environ.clear()
    os.environ.update(environ)
    warnings.simplefilter('ignore')
    sys.argv = [script, *arguments]
    sys.path.insert(0, os.path.dirname(script))
    main = types.ModuleType('__main__')
    main.__file__ = script
    sys.modules['__main__'] = main
    try:
        exec(compile(Path(script).read_text(), script, 'exec'), main.__dict__)
    except SystemExit:
        raise
    except KeyboardInterrupt:  # the interpreter ends by the signal too
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)


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
