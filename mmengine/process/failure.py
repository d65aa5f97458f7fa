"""When one rank fails, all ranks stop, and each one's error holds the first one's traceback.

A rank that raised no longer takes part in collectives, and the others would wait in theirs until a
timeout of minutes. So it leaves its traceback in the key-value store of the process group, where a
watcher thread on each other rank finds it within a second. A thread at work in Python is made to
raise it at once; one that waits in a collective does so when that breaks, as the rank that failed
has gone. Where neither happens, the process is ended.

If the error is the timeout of a collective, each rank writes its stack beside the log, and the
first one says which ranks did not come.
"""

import contextlib
import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.dist import get_dist_info, is_distributed
from mmengine.process._interruption import Interruption
from mmengine.process._timeout_report import TimeoutReport, is_timeout
from mmengine.process.signals import RunStopped
from mmengine.utils._background import is_writing

_POLL_S = 0.5
# How long a thread may take to raise, and a failing rank 0 stays for the others.
_GRACE_S = 10.0
# The same where another rank is gone, which will not come to read.
_GRACE_AFTER_LOSS_S = 3.0
_block_number = 0


class RankFailedError(RuntimeError):
    """Another rank failed; the message holds its traceback."""


class _OtherRankFailed(BaseException):
    """Raised by the watcher in the thread at work, where ``except Exception`` lets it pass."""


@contextmanager
def stop_together(log_dir: str | None = None) -> Iterator[None]:
    """Run a block on all ranks so that a failure on one ends it on all.

    All ranks call it. Where several fail, the first one's error counts.

    Args:
        log_dir: Where the ranks write their stacks after the timeout of a collective.

    Raises:
        RankFailedError: On the ranks where nothing failed, with the traceback of the one that did.
    """
    if not is_distributed() or get_dist_info()[1] == 1:
        yield
        return
    notice = _Notice(log_dir)
    watcher = _Watcher(notice)
    watcher.start()
    try:
        yield
        watcher.block.leave()
    except BaseException as error:
        watcher.block.leave()
        first = watcher.block.reason or notice.publish(error)
        if first is None or isinstance(error, (SystemExit, KeyboardInterrupt)):
            raise
        raise RankFailedError(first) from (None if isinstance(error, _OtherRankFailed) else error)
    if watcher.block.reason is not None:
        raise RankFailedError(watcher.block.reason)


class _Notice:
    """The place in the store where the first rank that fails leaves its traceback."""

    def __init__(self, log_dir: str | None) -> None:
        from torch.distributed.distributed_c10d import _get_default_store

        global _block_number
        _block_number += 1  # alike on all ranks; a later block must not find an earlier failure
        self._store: Any = _get_default_store()
        self._key = f'mmengine/failed_rank/{_block_number}'
        self._rank, self._world_size = get_dist_info()
        self._report = TimeoutReport(self._store, self._key, self._rank, self._world_size, log_dir)

    def leave_place(self, thread_id: int) -> None:
        """After a timeout on another rank, leave where the thread of this one is."""
        with contextlib.suppress(Exception):  # the error of the other rank counts
            self._report.leave_place(thread_id)

    def look(self) -> str | None:
        """The traceback of the rank that failed first, if one did."""
        if not self._store.check([self._key]):
            return None
        text: str = self._store.get(self._key).decode()
        self._store.add(f'{self._key}/seen', 1)
        return text

    def publish(self, error: BaseException) -> str | None:
        """Leave this rank's traceback, unless another failed before; returns that one's then."""
        if isinstance(error, SystemExit) and not error.code and not isinstance(error, RunStopped):
            return None  # no failure: the other ranks may have something to finish
        own = f'Rank {self._rank} failed:\n' + ''.join(traceback.format_exception(error))
        try:
            # An error that comes of the absence of another rank may be faster than its notice.
            deadline = time.monotonic() + (4 * _POLL_S if _looks_like_lost_peer(error) else 0)
            while time.monotonic() < deadline and not self._store.check([self._key]):
                time.sleep(_POLL_S / 10)
            is_late = _looks_like_lost_peer(error) and is_timeout(error)
            if is_late:
                self._report.leave_error(error)
            first: str = self._store.compare_set(self._key, '', own).decode()
            if first != own:
                self._store.add(f'{self._key}/seen', 1)
                return first
            if is_late:
                self._report.tell()
            if self._rank == 0:
                is_lost = _looks_like_lost_peer(error)
                self._wait_for_readers(_GRACE_AFTER_LOSS_S if is_lost else _GRACE_S)
        except Exception:  # the store went with the rank that held it; there is no more to learn
            return None
        return None

    def _wait_for_readers(self, limit_s: float) -> None:
        """Rank 0 often holds the store, which goes when its process ends."""
        deadline = time.monotonic() + limit_s
        while self._store.add(f'{self._key}/seen', 0) < self._world_size - 1:
            if time.monotonic() > deadline:
                return
            time.sleep(_POLL_S / 10)


def _looks_like_lost_peer(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        word in text
        for word in ('connection', 'peer', 'gloo', 'nccl', 'timeout', 'timed out', 'broken pipe')
    )


class _Watcher:
    """Looks for another rank's failure now and then, as the thread at work cannot.

    Attributes:
        block: Interrupts the thread at work, with the traceback that was found.
    """

    def __init__(self, notice: _Notice) -> None:
        self.block = Interruption(_OtherRankFailed)
        self._notice = notice
        self._thread_id = threading.get_ident()

    def start(self) -> None:
        """Begin to look."""
        threading.Thread(target=self._watch, name='failed-rank-watcher', daemon=True).start()

    def _watch(self) -> None:
        while not self.block.has_left.wait(_POLL_S):
            try:
                found = self._notice.look()
            except Exception:  # no store, no news; a collective will tell
                return
            if found is not None:
                if is_timeout(found):
                    self._notice.leave_place(self._thread_id)
                self._end_block(found)
                return

    def _end_block(self, found: str) -> None:
        if not self.block.interrupt(found):
            return
        while not self.block.has_left.wait(_GRACE_S):
            if is_writing():
                continue  # a checkpoint in a thread, which becomes whole
            print(f'Ended, as another rank failed.\n{found}', file=sys.stderr, flush=True)
            os._exit(1)
