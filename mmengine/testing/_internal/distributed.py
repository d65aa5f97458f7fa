"""Run a function in several real processes that form a process group."""

from __future__ import annotations

import datetime
import faulthandler
import multiprocessing
import os
import pickle
import socket
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch
import torch.distributed as torch_dist

from mmengine.dist._free_store import free_store
from mmengine.testing._internal.multi_process import MultiProcessTestCase, TestSkip
from mmengine.testing._internal.start_method import start_method

__all__ = ['MultiProcessTestCase', 'TestSkip', 'run_distributed']

# How long to listen for a failure that came earlier than the first one heard of.
_GRACE_S = 0.3
_LEAVE_S = 5.0


@dataclass(frozen=True)
class _Seat:
    """What a child process needs to become a rank."""

    rank: int
    world_size: int
    backend: str | None
    folder: str
    timeout_s: float
    deadline: float
    cwd: str
    environ: dict[str, str]

    @property
    def stacks_file(self) -> Path:
        """Where the process writes where it hangs."""
        return Path(self.folder) / f'stacks_{self.rank}.txt'


@dataclass(frozen=True)
class _Failure:
    rank: int
    time: float
    text: str


def free_port() -> int:
    """A port of this machine on which ranks may meet."""
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return int(probe.getsockname()[1])


def run_distributed(
    fn: Callable[..., Any],
    world_size: int = 2,
    *args: Any,
    timeout_s: float = 300,
    backend: str | None = 'gloo',
) -> list[Any]:
    """Call ``fn(rank, world_size, *args)`` in several processes at once; return what each one gave.

    The processes have joined one process group (through a file), find ``RANK``, ``LOCAL_RANK``,
    ``WORLD_SIZE`` and ``MASTER_*`` in their environment as torchrun would set them, and compute
    with one thread. When one fails, the others are ended at once.

    Args:
        fn: A function of a module's top level, so that a new process can import it.
        world_size: Number of processes.
        args: Further arguments; they are pickled.
        timeout_s: All processes must be done by then. It is there for processes that hang, so it is
            long enough for a busy machine.
        backend: Backend of the process group; None leaves joining one to ``fn``.

    Returns:
        What ``fn`` returned on rank 0, 1 ...; it was pickled.

    Raises:
        TypeError: If ``fn`` or its arguments cannot be pickled.
        RuntimeError: If a process raises, dies or is not done in time. The message holds the
            traceback of the one that failed first, or says where each one hangs.
    """
    try:
        call = pickle.dumps((fn, args))
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            "fn must be a function of a module's top level, and its arguments must be picklable: "
            f'{error}'
        ) from error
    with tempfile.TemporaryDirectory(prefix='run_distributed_') as folder:
        store = free_store()
        # Of a clock that all processes of a machine share.
        deadline = time.monotonic() + timeout_s
        seats = [
            _Seat(
                rank,
                world_size,
                backend,
                folder,
                timeout_s,
                deadline,
                os.getcwd(),
                {
                    **os.environ,
                    'RANK': str(rank),
                    'LOCAL_RANK': str(rank),
                    'WORLD_SIZE': str(world_size),
                    'LOCAL_WORLD_SIZE': str(world_size),
                    'MASTER_ADDR': '127.0.0.1',
                    'MASTER_PORT': str(store.port),
                    # Rank 0 joins the store of this process like all others: as under torchrun.
                    'TORCHELASTIC_USE_AGENT_STORE': 'True',
                    'OMP_NUM_THREADS': '1',
                },
            )
            for rank in range(world_size)
        ]
        return _Launch(seats, call).results()


class _Launch:
    """The processes of one call, from their start until none is left."""

    def __init__(self, seats: list[_Seat], call: bytes) -> None:
        self._seats = seats
        self._results: dict[int, Any] = {}
        self._failures: list[_Failure] = []
        self._processes: list[BaseProcess] = []
        self._readers: list[connection.Connection] = []
        start: Any = start_method()
        for seat in seats:
            reader, writer = start.Pipe(duplex=False)
            process = start.Process(target=_child, args=(seat, call, writer))
            process.start()
            # Only the child may hold it, so that its death ends the stream.
            writer.close()
            self._processes.append(process)
            self._readers.append(reader)

    def results(self) -> list[Any]:
        """Wait for all, end them, and return what they gave or raise what went wrong first."""
        try:
            self._collect(self._seats[0].deadline)
        finally:
            self._end_all()
        if self._failures:
            first = min(self._failures, key=lambda failure: failure.time)
            raise RuntimeError(f'Rank {first.rank} failed.\n\n{first.text}')
        return [self._results[seat.rank] for seat in self._seats]

    def _collect(self, deadline: float) -> None:
        """Read the outcomes until all are there, one process has failed, or time is up."""
        waiting: dict[Any, int] = {
            reader: seat.rank for reader, seat in zip(self._readers, self._seats, strict=True)
        }
        while waiting:
            ready = connection.wait(list(waiting), timeout=max(deadline - time.monotonic(), 0))
            if not ready:
                if not self._failures:
                    self._fail_hanging(sorted(waiting.values()))
                return
            for reader in ready:
                self._read(reader, waiting.pop(reader))
            if self._failures:
                # A rank that lost its peer may speak before the peer that broke.
                deadline = min(deadline, time.monotonic() + _GRACE_S)

    def _read(self, reader: Any, rank: int) -> None:
        try:
            is_result, content = pickle.loads(reader.recv_bytes())
        except EOFError:
            process = self._processes[rank]
            process.join(timeout=_LEAVE_S)
            self._failures.append(
                # The errors of its peers are what follows from this, whatever their time.
                _Failure(
                    rank,
                    float('-inf'),
                    f'Its process died without a traceback, with exit code {process.exitcode}.',
                )
            )
            return
        if is_result:
            self._results[rank] = content
        else:
            self._failures.append(_Failure(rank, *content))

    def _fail_hanging(self, ranks: list[int]) -> None:
        # The processes write their stacks at this very time.
        time.sleep(0.5)
        texts = [
            f'--- rank {rank} ---\n{file.read_text() if file.exists() else "not started"}'
            for rank in ranks
            for file in [self._seats[rank].stacks_file]
        ]
        self._failures.append(
            _Failure(
                ranks[0],
                time.monotonic(),
                f'Ranks {ranks} were not done after {self._seats[0].timeout_s:g} s. '
                'They were here:\n' + '\n'.join(texts),
            )
        )

    def _end_all(self) -> None:
        leave_by = time.monotonic() + (0 if self._failures else _LEAVE_S)
        for process in self._processes:
            # A process that has sent its result still needs a moment to leave the group.
            process.join(timeout=max(leave_by - time.monotonic(), 0))
            if process.is_alive():
                process.kill()
                process.join()
            process.close()
        for reader in self._readers:
            reader.close()


def _child(seat: _Seat, call: bytes, writer: Any) -> None:
    """Body of a child process: become a rank, call the function, send the outcome."""
    threading.Thread(target=_die_with_parent, daemon=True).start()
    os.environ.clear()
    os.environ.update(seat.environ)
    os.chdir(seat.cwd)
    with seat.stacks_file.open('w') as stacks:
        seconds_left = max(seat.deadline - time.monotonic(), 0.001)
        faulthandler.dump_traceback_later(seconds_left, file=stacks)
        try:
            fn, args = pickle.loads(call)
            _join(seat)
            outcome = pickle.dumps((True, fn(seat.rank, seat.world_size, *args)))
        except BaseException:
            # An exit in order would wait for ranks that may never come.
            failure = (time.monotonic(), traceback.format_exc())
            writer.send_bytes(pickle.dumps((False, failure)))
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(1)
        faulthandler.cancel_dump_traceback_later()
    writer.send_bytes(outcome)
    _leave()


def _join(seat: _Seat) -> None:
    torch.set_num_threads(1)
    if seat.backend is not None:
        torch_dist.init_process_group(
            seat.backend,
            init_method=f'file://{seat.folder}/rendezvous',
            rank=seat.rank,
            world_size=seat.world_size,
            timeout=datetime.timedelta(seconds=seat.timeout_s),
        )
        # A rank that is through may fail and leave while another still connects to it.
        torch_dist.barrier()


def _leave() -> None:
    if torch_dist.is_initialized():
        torch_dist.destroy_process_group()


def _die_with_parent() -> None:
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
