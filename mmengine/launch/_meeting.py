"""Where the launchers of several machines meet: an address, or a file that tells an address."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mmengine.fileio._atomic import atomic_write
from mmengine.utils.errors import ArgumentError

_BY_FILE = 'file:'
_POLL_S = 0.1


@contextmanager
def meeting_arguments(
    rdzv: str | None, nnodes: str, node_rank: int, conf: str | None = None
) -> Iterator[list[str]]:
    """Arguments of torchrun for the rendezvous, valid within this context.

    Args:
        rdzv: ``HOST:PORT`` of the machine with node rank 0, which listens there; or ``file:PATH``:
            that machine listens on a port that is free, and writes its address to the file, which
            all machines can read. A new path for each start. None for a single machine.
        nnodes: Number of machines, or ``MIN:MAX``.
        node_rank: Of this machine.
        conf: Further ``--rdzv-conf`` of torchrun.

    Raises:
        ArgumentError: If several machines have no place to meet, or it has another form.
        FileExistsError: If the file is there before node rank 0 has written it.
    """
    if rdzv is None:
        if nnodes.rpartition(':')[2] != '1':
            raise ArgumentError(
                f'--nnodes {nnodes} needs a place where the machines meet: --rdzv HOST:PORT, or '
                '--rdzv file:PATH with a file that all of them can read.'
            )
        yield ['--standalone']
        return
    if not rdzv.startswith(_BY_FILE):
        if not rdzv.rpartition(':')[2].isdecimal() or not rdzv.rpartition(':')[0]:
            raise ArgumentError(f'--rdzv is HOST:PORT or file:PATH, got {rdzv!r}.')
        yield _arguments(rdzv, node_rank == 0, conf)
        return
    path = Path(rdzv.removeprefix(_BY_FILE))
    if node_rank != 0:
        yield _arguments(_address_in(path), False, conf)
        return
    from mmengine.dist._free_store import free_store

    store = free_store()
    if path.exists():
        raise FileExistsError(17, 'Left by another start; --rdzv needs a new file', str(path))
    address = f'{socket.gethostname()}:{store.port}'
    with atomic_write(path, 'w') as file:
        file.write(address)
    try:
        yield _arguments(address, False, conf)
    finally:
        path.unlink(missing_ok=True)


def _arguments(address: str, is_host: bool, conf: str | None) -> list[str]:
    return [
        '--rdzv-backend=c10d',
        f'--rdzv-endpoint={address}',
        '--rdzv-id=mmengine',
        f'--rdzv-conf=is_host={int(is_host)}' + (f',{conf}' if conf else ''),
    ]


def _address_in(path: Path) -> str:
    """Wait for the address; the launcher is ended by a signal, or by whoever started it."""
    while True:
        try:
            os.listdir(path.parent)  # makes network file systems look at the server
            return path.read_text()
        except FileNotFoundError:
            time.sleep(_POLL_S)
