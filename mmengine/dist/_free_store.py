"""A key-value store on a port that nobody else can take meanwhile."""

from typing import Any

import torch.distributed as torch_dist


def free_store() -> Any:
    """A store that listens on a free port of this machine, ``port``, while it is held.

    The system chooses the port as it is bound. A port that is only looked up first may be another
    process's by the time that it is bound.
    """
    make: Any = torch_dist.TCPStore  # type: ignore[attr-defined]  # not listed in its stubs
    return make('127.0.0.1', 0, is_master=True, wait_for_workers=False)
