"""When one rank fails, all ranks stop and every log names the rank and its traceback.

A rank that raised no longer takes part in collectives, and the others would wait in theirs until a timeout of
minutes. The failing rank therefore leaves its traceback in the process group's key-value store. The others learn of it
in one of two ways: their own collective breaks, or a watcher thread sees the key and ends the process.
"""

import os
import sys
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mmengine.dist import get_dist_info, is_distributed

_KEY = 'mmengine/failed_rank'
_SEEN_KEY = 'mmengine/failed_rank_seen'
_POLL_S = 1.0
_GRACE_S = 10.0


class RankFailedError(RuntimeError):
    """Another rank failed; the message holds its traceback."""


@contextmanager
def stop_together() -> Iterator[None]:
    """Run a block on all ranks so that a failure on one ends it on all, with the first failure's traceback.

    Raises:
        RankFailedError: On the ranks whose collective broke because another rank had failed.
    """
    if not is_distributed() or get_dist_info()[1] == 1:
        yield
        return
    store = _default_store()
    watcher = _Watcher(store)
    watcher.start()
    try:
        yield
    except Exception as error:
        watcher.stop()
        first = _report(store, error)
        if first is not None:
            raise RankFailedError(first) from error
        raise
    finally:
        watcher.stop()


def _default_store() -> Any:
    from torch.distributed.distributed_c10d import _get_default_store

    return _get_default_store()


def _report(store: Any, error: BaseException) -> str | None:
    """Leave this rank's traceback unless one is there; returns the one that was there first."""
    rank, world_size = get_dist_info()
    own = f'Rank {rank} failed:\n' + ''.join(traceback.format_exception(error))
    try:
        # A peer that failed first may be writing at this moment; ours is often only the echo of its absence.
        if _looks_like_lost_peer(error):
            time.sleep(2 * _POLL_S)
        first = store.compare_set(_KEY, '', own).decode()
        seen = store.add(_SEEN_KEY, 1)
        if first == own and rank == 0:
            # Rank 0 often hosts the store: stay until the others have read, or had their time.
            deadline = time.monotonic() + _GRACE_S
            while seen < world_size and time.monotonic() < deadline:
                time.sleep(0.1)
                seen = store.add(_SEEN_KEY, 0)
    except (
        Exception
    ):  # The store went away with its host; the own error is then all there is to say.
        return None
    return None if first == own else first


def _looks_like_lost_peer(error: BaseException) -> bool:
    text = str(error).lower()
    return isinstance(error, RuntimeError) and any(
        word in text
        for word in ('connection', 'peer', 'gloo', 'nccl', 'timeout', 'timed out', 'broken pipe')
    )


class _Watcher:
    """Looks for another rank's failure once a second, since a rank inside a collective cannot."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch, name='failed-rank-watcher', daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()

    def _watch(self) -> None:
        while not self._stopped.wait(_POLL_S):
            try:
                failed = self._store.check([_KEY])
            except Exception:  # No store, no news: the main thread's own collective will tell.
                return
            if failed:
                self._leave()
                return

    def _leave(self) -> None:
        """Give the main thread a moment to raise by itself, then end a process that cannot."""
        if self._stopped.wait(_GRACE_S):
            return
        try:
            text = self._store.get(_KEY).decode()
            self._store.add(_SEEN_KEY, 1)
        except Exception:
            text = 'Another rank failed.'
        print(text, file=sys.stderr, flush=True)
        os._exit(1)
