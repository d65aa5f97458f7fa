"""Preparing the next batches while the current one is processed."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterable, Iterator
from typing import Any

_ITEM, _ERROR, _END = range(3)


def prefetched(items: Iterable[Any], depth: int = 2) -> Iterator[Any]:
    """The items in order. A thread produces up to ``depth`` of them ahead of their use.

    An error raised while an item is made is raised when that item's turn comes. When the caller
    stops early, so does the thread.
    """
    ready: queue.Queue[tuple[int, Any]] = queue.Queue(maxsize=depth)
    stopped = threading.Event()

    def hand_over(kind: int, value: Any) -> bool:
        while not stopped.is_set():
            try:
                ready.put((kind, value), timeout=0.1)
            except queue.Full:
                continue
            return True
        return False

    def make() -> None:
        try:
            for item in items:
                if not hand_over(_ITEM, item):
                    return
        except BaseException as error:
            hand_over(_ERROR, error)
        else:
            hand_over(_END, None)

    thread = threading.Thread(target=make, name='prefetch', daemon=True)
    thread.start()
    try:
        while True:
            kind, value = ready.get()
            if kind == _END:
                return
            if kind == _ERROR:
                raise value
            yield value
    finally:
        stopped.set()
        thread.join()
