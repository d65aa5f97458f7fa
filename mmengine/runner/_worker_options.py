"""Dataloader options that only worker processes use."""

from __future__ import annotations

import logging
from typing import Any

from mmengine.logging import print_log

# torch raises for each of these options without workers, except for the given value.
_UNUSED_VALUE: dict[str, Any] = {
    'persistent_workers': False,
    'prefetch_factor': None,
    'timeout': 0,
    'multiprocessing_context': None,
}
OF_WORKERS = tuple(_UNUSED_VALUE)


def drop_worker_options(options: dict[str, Any]) -> None:
    """Remove the options for workers from ``options`` in place if ``num_workers`` is 0.

    A run is debugged with ``num_workers=0`` alone, so the other options stay in its config.
    """
    if options.get('num_workers', 0) != 0:
        return
    dropped = [
        f'{name}={options.pop(name)!r}'
        for name, unused in _UNUSED_VALUE.items()
        if name in options and options[name] != unused
    ]
    if dropped:
        print_log(
            f'num_workers=0 loads the data in the main process, so {", ".join(dropped)} '
            f'{"is" if len(dropped) == 1 else "are"} not used.',
            logger='current',
            level=logging.INFO,
        )
