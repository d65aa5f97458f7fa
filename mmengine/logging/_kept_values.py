"""How many values the histories keep one by one, for the statistics that a run logs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mmengine.logging.history_buffer import BUILT_IN, NUM_KEPT
from mmengine.logging.message_hub import MessageHub

# As many as a history keeps while it still adds up older values: less than its `max_length`.
_ALL = 750_000


def keep_for_log(hub: MessageHub, log_processor: Any, interval: int) -> None:
    """Keep the values that ``log_processor`` needs every ``interval`` iterations."""
    hub.keep_values(getattr(log_processor, 'window_size', NUM_KEPT))
    for entry in getattr(log_processor, 'custom_cfg', ()):
        for mode in ('train', 'val', 'test'):
            hub.keep_values(_needed(entry, interval), f'{mode}/{entry["data_src"]}')


def _needed(entry: Mapping[str, Any], interval: int) -> int:
    window = entry.get('window_size')
    if isinstance(window, int):
        return window
    if entry.get('method_name', 'mean') in BUILT_IN:
        # Sums cover the whole run. The first window of an epoch has `interval` values; later ones
        # are longer each time, and a history keeps such windows.
        return min(interval, _ALL)
    return _ALL  # a statistic of a user reads values, not sums
