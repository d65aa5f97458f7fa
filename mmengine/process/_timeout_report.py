"""What the ranks write when a collective times out: where each of them is, and who did not come."""

from __future__ import annotations

import faulthandler
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from mmengine.process._absent_ranks import ABSENT, who_is_missing
from mmengine.process._waiting import waits_for
from mmengine.process.signals import say

_ANSWER_S = 5.0
_POLL_S = 0.05


def is_timeout(error: BaseException | str) -> bool:
    """Whether a collective has timed out, by the words of gloo and NCCL."""
    text = str(error).lower()
    return 'timed out' in text or 'timeout' in text


class TimeoutReport:
    """Collects through the store where the ranks are, and writes their stacks beside the log.

    Args:
        store: The store of the process group.
        key: Prefix of the keys.
        rank: This rank.
        world_size: Number of ranks.
        log_dir: Folder of the log, where ``timeout_rank<r>.txt`` is written; None writes nothing.
    """

    def __init__(
        self, store: Any, key: str, rank: int, world_size: int, log_dir: str | None
    ) -> None:
        self._store = store
        self._keys = [f'{key}/where/{each}' for each in range(world_size)]
        self._rank = rank
        self._log_dir = log_dir

    def leave_error(self, error: BaseException) -> None:
        """Leave where this rank has waited until ``error`` ended it."""
        *_, (frame, _) = traceback.walk_tb(error.__traceback__)
        self._leave(waits_for(frame, True), ''.join(traceback.format_exception(error)))

    def leave_place(self, thread_id: int) -> None:
        """Leave where the thread ``thread_id`` is now; called by another thread."""
        frame = sys._current_frames().get(thread_id)
        self._leave('has ended' if frame is None else waits_for(frame, True), None)

    def tell(self) -> None:
        """Say which collective has timed out, and who did not come."""
        deadline = time.monotonic() + _ANSWER_S
        while not self._store.check(self._keys) and time.monotonic() < deadline:
            time.sleep(_POLL_S)
        rows = [
            self._store.get(key).decode() if self._store.check([key]) else f'rank {rank}{ABSENT}'
            for rank, key in enumerate(self._keys)
        ]
        lines = '\n'.join(f'  {row}' for row in rows)
        where = f'\nThe stacks are in {self._log_dir}/timeout_rank<r>.txt.' if self._log_dir else ''
        text = f'A collective has timed out: {who_is_missing(rows) or ""}\n{lines}'
        say(f'{text}{where}')
        self._append(f'{text}\n')

    def _leave(self, words: str, stack: str | None) -> None:
        row = f'rank {self._rank}: {words}'
        now = time.strftime('%Y-%m-%d %H:%M:%S')
        text = f'{now} process {os.getpid()}\n{row}\n\n{stack or ""}'
        self._append(text, with_threads=stack is None)
        self._store.set(self._keys[self._rank], row)

    def _append(self, text: str, *, with_threads: bool = False) -> None:
        if self._log_dir is None:
            return
        path = Path(self._log_dir, f'timeout_rank{self._rank}.txt')
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open('a', encoding='utf-8') as file:
            file.write(text)
            file.flush()
            if with_threads:
                faulthandler.dump_traceback(file=file, all_threads=True)
