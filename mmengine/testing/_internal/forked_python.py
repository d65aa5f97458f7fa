"""``python ARGUMENTS`` in tests, without the seconds in which a new interpreter imports torch."""

from __future__ import annotations

import atexit
import contextlib
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
import types
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.testing._internal.start_method import start_method


class PythonProcess:
    """``python ARGUMENTS`` as a new process, forked by a server that has imported torch.

    Modules may be there that the program has not imported; a test of imports needs a new
    interpreter.

    Args:
        arguments: ``['-m', MODULE, ...]``, ``['-c', CODE, ...]`` or ``[SCRIPT, ...]``; ``-W
            ignore`` may stand before.
        stdout: A file, which the output is appended to.
        stderr: Another one; by default it is the same.
        cwd: The folder of the process; None takes the present folder.
        env: Its environment; ``PYTHONPATH`` is searched before what this process searches. None
            takes the environment of this process.

    Attributes:
        pid: The number of the process, which leads its own session.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        stdout: Path,
        stderr: Path | None = None,
        *,
        cwd: str | Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        outputs = [stdout, stdout if stderr is None else stderr]
        for path in outputs:
            path.touch()
        environ = dict(os.environ if env is None else env)
        folder = str(os.getcwd() if cwd is None else cwd)
        context: Any = start_method()
        self._process = context.Process(
            target=_run, args=(list(arguments), [str(path) for path in outputs], folder, environ)
        )
        self._process.start()
        self.pid: int = self._process.pid

    @property
    def returncode(self) -> int | None:
        """As of ``subprocess.Popen``."""
        code: int | None = self._process.exitcode
        return code

    def poll(self) -> int | None:
        """As of ``subprocess.Popen``."""
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """As of ``subprocess.Popen``."""
        self._process.join(timeout)
        if self.returncode is None:
            raise subprocess.TimeoutExpired('python', timeout or 0)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """As of ``subprocess.Popen``."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self, limit_s: float = 60) -> None:
        """End the process with all that is in its session, if it is still there; wait for it."""
        if self.poll() is None:
            for send in (os.killpg, os.kill):  # before it has a session, itself
                with contextlib.suppress(ProcessLookupError):
                    send(self.pid, signal.SIGKILL)
            self.wait(limit_s)


def run_python(
    arguments: Sequence[str],
    *,
    cwd: str | Path | None = None,
    env: Mapping[str, str] | None = None,
    timeout_s: float = 300,
) -> subprocess.CompletedProcess[str]:
    """``subprocess.run([sys.executable, *arguments])``, as by :class:`PythonProcess`.

    Returns:
        The exit code, and what the process has written.

    Raises:
        subprocess.TimeoutExpired: If it is not done in time; it is killed.
    """
    with tempfile.TemporaryDirectory() as folder:
        stdout, stderr = Path(folder, 'stdout'), Path(folder, 'stderr')
        process = PythonProcess(arguments, stdout, stderr, cwd=cwd, env=env)
        try:
            code = process.wait(timeout_s)
        finally:
            process.kill()
        return subprocess.CompletedProcess(
            list(arguments), code, stdout.read_text(), stderr.read_text()
        )


def _run(arguments: list[str], outputs: list[str], folder: str, environ: dict[str, str]) -> None:
    """Body of the process."""
    os.setsid()
    opened = [os.open(os.devnull, os.O_RDONLY)]
    opened += [os.open(path, os.O_WRONLY | os.O_APPEND) for path in outputs]
    for target, source in enumerate(opened):
        os.dup2(source, target)
        os.close(source)
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    if arguments[0] == '-W':
        warnings.simplefilter(arguments[1])  # type: ignore[arg-type]  # an action by its name
        arguments = arguments[2:]
    _search(environ.get('PYTHONPATH', ''))
    try:
        _execute(arguments)
    except SystemExit:
        raise
    except KeyboardInterrupt:  # the interpreter ends by the signal too
        traceback.print_exc()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    except BaseException:
        traceback.print_exc()
        sys.exit(1)
    finally:
        # The rest of an end of the interpreter, which a forked process leaves out.
        threading._shutdown()  # type: ignore[attr-defined]  # joins threads, as the interpreter does
        atexit._run_exitfuncs()
        sys.stdout.flush()


def _search(python_path: str) -> None:
    for path in reversed([path for path in python_path.split(os.pathsep) if path]):
        if path in sys.path:
            sys.path.remove(path)
        sys.path.insert(0, path)


def _execute(arguments: list[str]) -> None:
    kind, *rest = arguments
    if kind == '-m':
        sys.path.insert(0, os.getcwd())
        sys.argv = rest
        runpy.run_module(rest[0], run_name='__main__', alter_sys=True)
        return
    main = types.ModuleType('__main__')
    sys.modules['__main__'] = main
    if kind == '-c':
        sys.path.insert(0, '')
        sys.argv = ['-c', *rest[1:]]
        exec(compile(rest[0], '<string>', 'exec'), main.__dict__)
        return
    main.__file__ = kind
    sys.argv = arguments
    sys.path.insert(0, os.path.dirname(os.path.abspath(kind)))
    exec(compile(Path(kind).read_text(encoding='utf-8'), kind, 'exec'), main.__dict__)
