"""One message for a mistake that all ranks under torchrun find.

The agent of torchrun ends all ranks as soon as one has ended, so ranks that say nothing wait until
rank 0 has printed its message, and rank 0 until they have seen it.
"""

from __future__ import annotations

import datetime
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import Any

_WAIT_S = 10.0
_POLL_S = 0.02


def tell_once(message: str, show: Callable[[str], None]) -> None:
    """Call ``show(message)``, on one rank if all ranks have the same message.

    Ranks that find another one than rank 0, or that find it alone, show it too.
    """
    store = _store()
    if store is None:
        show(message)
        return
    _tell_once(store, int(os.environ['RANK']), int(os.environ['WORLD_SIZE']), message, show)
    if threading.current_thread() is threading.main_thread():
        # The process ends now, with the exit code of the mistake. The agent ends all ranks as soon
        # as one has ended, and this one may be a little later.
        signal.signal(signal.SIGTERM, signal.SIG_IGN)


def _tell_once(
    store: Any, rank: int, world_size: int, message: str, show: Callable[[str], None]
) -> None:
    key = f'mmengine/mistake/{os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")}'
    try:
        if rank == 0:
            show(message)
            store.set(key, message)
            _until(lambda: store.add(f'{key}/seen', 0) >= world_size - 1)
            return
        is_told = _until(lambda: store.check([key])) and store.get(key).decode() == message
        if not is_told:
            show(message)
        store.add(f'{key}/seen', 1)
    except RuntimeError:  # the agent, which keeps the store, has ended
        if rank != 0:
            show(message)


def _store() -> Any:
    """The store of the agent; None if there is no other rank, or no agent."""
    if os.environ.get('TORCHELASTIC_USE_AGENT_STORE') != 'True':
        return None
    if int(os.environ.get('WORLD_SIZE', '1')) < 2 or 'RANK' not in os.environ:
        return None
    import torch.distributed as torch_dist

    make: Any = torch_dist.TCPStore  # type: ignore[attr-defined]  # not listed in its stubs
    host, port = os.environ['MASTER_ADDR'], int(os.environ['MASTER_PORT'])
    try:
        return make(host, port, None, False, datetime.timedelta(seconds=_WAIT_S))
    except RuntimeError:
        return None


def _until(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + _WAIT_S
    while not holds():
        if time.monotonic() > deadline:
            return False
        time.sleep(_POLL_S)
    return True
