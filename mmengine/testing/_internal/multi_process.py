"""Test cases whose tests run in several processes at once."""

from __future__ import annotations

import contextlib
import enum
import faulthandler
import functools
import os
import sys
import tempfile
import threading
import time
import traceback
import types
from collections.abc import Callable
from multiprocessing import connection
from typing import Any, NamedTuple
from unittest import SkipTest, TestCase

from mmengine.testing._internal.start_method import start_method


class TestSkip(NamedTuple):
    """Why a process skipped its test, with its exit code."""

    exit_code: int
    message: str


TEST_SKIPS = {
    'backend_unavailable': TestSkip(10 + 1, 'The backend of the process group is missing.'),
    'no_cuda': TestSkip(10 + 2, 'No CUDA device was found.'),
    'multi-gpu-2': TestSkip(10 + 3, 'The test needs two CUDA devices.'),
    'generic': TestSkip(10 + 4, 'The test was skipped in its process.'),
}


class _Child(NamedTuple):
    process: Any
    pipe: Any


class MultiProcessTestCase(TestCase):
    """Runs each test method in ``world_size`` new processes and fails if any of them does.

    In such a process ``self.rank`` says which one it is, and ``self.file_name`` names a file that
    all of them can meet through. The method's own process only waits: there ``self.rank`` is -1.
    The module of the test must be importable, as the processes are new ones.

    Example:
        >>> class TestReduce(MultiProcessTestCase):
        ...     def prepare_subprocess(self):
        ...         init_process_group('gloo', f'file://{self.file_name}', ...)
        ...
        ...     def test_sum(self):
        ...         ...
    """

    MAIN_PROCESS_RANK = -1
    """The rank of the process that waits."""

    TEST_ERROR_EXIT_CODE = 10
    """What a process exits with when its test failed."""

    class Event(enum.Enum):
        """Requests of the waiting process to the others."""

        GET_TRACEBACK = 1

    def __init__(self, method_name: str = 'runTest', methodName: str = 'runTest') -> None:
        # Test runners give the name by its old spelling.
        name = methodName if methodName != 'runTest' else method_name
        super().__init__(name)
        self.rank = self.MAIN_PROCESS_RANK
        self.file_name = ''
        self._children: list[_Child] = []
        method = getattr(self, name, None)
        if method is not None:
            setattr(self, name, types.MethodType(self.join_or_run(method), self))

    @property
    def world_size(self) -> int:
        """In how many processes a test runs. Override it."""
        return 2

    @property
    def timeout(self) -> int:
        """After how many seconds a test has failed. Override it."""
        return 1000

    @property
    def is_master(self) -> bool:
        """Whether this is the process of rank 0."""
        return self.rank == 0

    def prepare_subprocess(self) -> None:
        """Called in each process before its test. Override it to join a process group."""

    def setUp(self) -> None:
        """Name the file to meet through."""
        super().setUp()
        if self.rank == self.MAIN_PROCESS_RANK:
            # A name only: a rendezvous wants to make the file itself.
            with tempfile.NamedTemporaryFile() as file:
                self.file_name = file.name

    def tearDown(self) -> None:
        """End what is left of the processes."""
        super().tearDown()
        for process, pipe in self._children:
            if process.is_alive():
                process.kill()
            process.join()
            pipe.close()
        self._children = []
        with contextlib.suppress(FileNotFoundError):
            os.remove(self.file_name)

    def join_or_run(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """``fn`` for the processes of a test; for the one that waits, the waiting."""

        @functools.wraps(fn)
        def join_or_run(self: MultiProcessTestCase) -> None:
            if self.rank == self.MAIN_PROCESS_RANK:
                if not self._children:
                    self._spawn_processes()
                self._join()
            else:
                fn()

        return join_or_run

    def run_test(self, test_name: str, parent_pipe: Any) -> None:
        """Run one test in this process, report the outcome, and exit with its code."""
        threading.Thread(target=_answer, args=(parent_pipe,), daemon=True).start()
        try:
            self.prepare_subprocess()
            getattr(self, test_name)()
        except SkipTest as reason:
            parent_pipe.send(('skip', str(reason)))
            sys.exit(TEST_SKIPS['generic'].exit_code)
        except Exception:
            parent_pipe.send(('error', traceback.format_exc()))
            sys.exit(self.TEST_ERROR_EXIT_CODE)

    def _spawn_processes(self) -> None:
        """Start the processes of the test; done before the test unless :meth:`setUp` did it."""
        context: Any = start_method()
        for rank in range(self.world_size):
            here, there = context.Pipe()
            process = context.Process(
                target=type(self)._run,
                args=(rank, self._testMethodName, self.file_name, there),
                name=f'rank {rank}',
            )
            process.start()
            # Only the child may hold it, so that its death ends the stream.
            there.close()
            self._children.append(_Child(process, here))

    @classmethod
    def _run(cls, rank: int, test_name: str, file_name: str, parent_pipe: Any) -> None:
        case = cls(test_name)
        case.rank = rank
        case.file_name = file_name
        case.run_test(test_name, parent_pipe)

    def _join(self) -> None:
        """Wait for the processes and raise what went wrong in the first that failed."""
        deadline = time.monotonic() + self.timeout
        running = {child.process.sentinel: rank for rank, child in enumerate(self._children)}
        while running:
            left = max(deadline - time.monotonic(), 0)
            ended = connection.wait(list(running), timeout=left)
            if not ended:
                ranks = sorted(running.values())
                raise RuntimeError(
                    f'Ranks {ranks} were not done after {self.timeout} s. They were here:\n'
                    + '\n'.join(f'--- rank {rank} ---\n{self._stacks(rank)}' for rank in ranks)
                )
            for sentinel in ended:
                self._check_end(running.pop(sentinel))

    def _check_end(self, rank: int) -> None:
        process, pipe = self._children[rank]
        process.join()
        kind, text = _last_word(pipe)
        codes = {skip.exit_code: skip.message for skip in TEST_SKIPS.values()}
        if process.exitcode in codes:
            raise SkipTest(text or codes[process.exitcode])
        if process.exitcode != 0:
            ending = text if kind == 'error' else f'It ended with exit code {process.exitcode}.'
            raise RuntimeError(f'Rank {rank} failed.\n\n{ending}')

    def _stacks(self, rank: int) -> str:
        """Where a process that is still running hangs."""
        pipe = self._children[rank].pipe
        with contextlib.suppress(OSError, EOFError):
            pipe.send(self.Event.GET_TRACEBACK)
            if pipe.poll(5):
                return str(pipe.recv()[1])
        return 'no answer'


def _last_word(pipe: Any) -> tuple[str, str]:
    try:
        return pipe.recv() if pipe.poll() else ('', '')
    except EOFError:
        return ('', '')


def _answer(pipe: Any) -> None:
    """Send the stacks of all threads at each request, until the other process has ended."""
    with contextlib.suppress(EOFError, OSError):
        while True:
            if pipe.recv() is MultiProcessTestCase.Event.GET_TRACEBACK:
                with tempfile.TemporaryFile('w+') as file:
                    faulthandler.dump_traceback(file)
                    file.seek(0)
                    pipe.send(('stacks', file.read()))
