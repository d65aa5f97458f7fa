"""SaveQueue: what CheckpointHook does with files, in order, at once or in a thread."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from mmengine._checkpoint._host_copy import host_copy
from mmengine.dist import (
    all_gather_object,
    broadcast_object_list,
    get_world_size,
    is_main_process,
)
from mmengine.utils._background import start_writer

if TYPE_CHECKING:
    from mmengine.hooks.run import RunCheckpoints, RunStrategy

BackendArgs = dict[str, Any] | None


class SaveQueue:
    """Passes writes, links, removals and the pointer to the ``CheckpointIO`` of a run, in order.

    If one of them fails, those after it are left out until :meth:`outcome` is called: the pointer
    never names a file that was not written, and an old file is not removed for a new one that is
    not there. All methods but :meth:`outcome`, and :meth:`write` where all ranks write, do nothing
    on ranks other than 0.

    Args:
        in_background: Whether a thread does the work. Then :meth:`write` copies the checkpoint to
            host memory and returns. The thread ends when there is no more work, and a process does
            not exit before that.
    """

    def __init__(self, in_background: bool) -> None:
        self._in_background = in_background
        self._jobs: deque[Callable[[], None]] = deque()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._error: Exception | None = None
        self._is_used = False
        self._io: RunCheckpoints | None = None

    @property
    def has_failed(self) -> bool:
        """Whether something has failed since the last outcome."""
        return self._error is not None

    @contextmanager
    def used_by(self, strategy: RunStrategy) -> Iterator[None]:
        """Within this context, what ``strategy`` writes is written by the queue."""
        io = strategy.io
        self.begin(io)
        strategy.io = self
        try:
            yield
        finally:
            strategy.io = io

    def begin(self, io: RunCheckpoints) -> None:
        """Pass what comes now to ``io``."""
        self._io, self._is_used = io, True

    # -- the methods of a CheckpointIO that write -------------------------------------------------

    def write(
        self, checkpoint: dict[str, Any], path: str, backend_args: BackendArgs = None
    ) -> None:
        """Write a checkpoint; in the background, after the one before is written.

        Where each rank writes its part, all of them write, or none if one cannot begin.
        """
        together = getattr(self._target, 'writes_together', False)
        if self._in_background or together:
            self.wait()
        if self._in_background:
            try:
                own = self._target.own_part(checkpoint) if together else checkpoint
                checkpoint = host_copy(own)
            except Exception as error:
                if not together:
                    raise
                self._error = self._error or error
        if together and not self._all_can_begin():
            return
        self._put(partial(self._target.write, checkpoint, path, backend_args), together)

    def write_record(
        self, record: dict[str, Any], path: str, backend_args: BackendArgs = None
    ) -> None:
        """Write the changes of a validation next to a checkpoint."""
        self._put(partial(self._target.write_record, host_copy(record), path, backend_args))

    def link(self, source: str, target: str, backend_args: BackendArgs = None) -> None:
        """Make ``target`` another name for a checkpoint."""
        self._put(partial(self._target.link, source, target, backend_args))

    def remove(self, path: str, backend_args: BackendArgs = None) -> None:
        """Remove a checkpoint and its record."""
        self._put(partial(self._target.remove, path, backend_args))

    def mark_newest(self, work_dir: str, path: str) -> None:
        """Let a resumed run continue from ``path``."""
        self._put(partial(self._target.mark_newest, work_dir, path))

    def __getattr__(self, name: str) -> Any:
        """What reads is done by the ``CheckpointIO`` itself, after what is in the queue."""
        if name.startswith('_'):
            raise AttributeError(name)
        self.wait()
        return getattr(self._target, name)

    # -- outcome ----------------------------------------------------------------------------------

    def wait(self) -> None:
        """Wait until nothing is left to do."""
        thread = self._thread
        if thread is not None:
            thread.join()

    def outcome(self) -> Exception | None:
        """Wait; the error of what failed first since the last call, the same on all ranks.

        All ranks must call it.
        """
        if not self._is_used:
            return None
        error = self.own_outcome()
        if get_world_size() == 1:
            return error
        told = [_text(error)]
        broadcast_object_list(told)
        if error is not None or told[0] is None:
            return error
        return RuntimeError(f'Rank 0 could not save: {told[0]}')

    def own_outcome(self) -> Exception | None:
        """Wait; the error of this rank, which is the only one that it hears of."""
        self.wait()
        error, self._error, self._is_used = self._error, None, False
        return error

    @property
    def _target(self) -> RunCheckpoints:
        assert self._io is not None
        return self._io

    def _all_can_begin(self) -> bool:
        """Whether nothing has failed on any rank. All ranks must call it."""
        failed = [
            f'Rank {rank} could not save: {told}'
            for rank, told in enumerate(all_gather_object(_text(self._error)))
            if told
        ]
        if failed and self._error is None:
            self._error = RuntimeError(failed[0])
        return not failed

    def _put(self, job: Callable[[], None], on_all_ranks: bool = False) -> None:
        self._is_used = True
        if self._error is not None or not (on_all_ranks or is_main_process()):
            return
        if not self._in_background:
            self._do(job)
            return
        with self._lock:
            self._jobs.append(job)
            if self._thread is None:
                self._thread = start_writer(self._work)

    def _work(self) -> None:
        while True:
            with self._lock:
                if self._error is not None:
                    self._jobs.clear()
                if not self._jobs:
                    self._thread = None
                    return
                job = self._jobs.popleft()
            self._do(job)
            del job  # it holds the copy of a checkpoint

    def _do(self, job: Callable[[], None]) -> None:
        try:
            job()
        except Exception as error:
            self._error = error


def _text(error: Exception | None) -> str | None:
    return None if error is None else f'{type(error).__name__}: {error}'
