"""How fast a loop is, from times that are measured anyway: looked at when a line is logged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.dist._data_parallel import get_data_parallel_info
from mmengine.runner._batch_position import batch_size_of

SAMPLES, WAIT = 'samples_per_s', 'data_wait'


def pace_of(dataloader: Any, values: Mapping[str, Any], times: Sequence[str]) -> dict[str, float]:
    """Samples of all ranks in a second, and the share of the time that waits for data.

    Args:
        dataloader: Of the loop. Batches without a fixed size, as of a custom batch sampler, have no
            pace.
        values: Mean times of an iteration by name.
        times: The names of the time of an iteration and of the wait for its data.

    Returns:
        Both by name; nothing if the times or the batch size are unknown.
    """
    time, data_time = (values.get(name) for name in times)
    size = batch_size_of(dataloader)
    if not size or not time or data_time is None:
        return {}
    samples = size * get_data_parallel_info()[1] / float(time)
    return {SAMPLES: samples, WAIT: float(data_time) / float(time)}


def pace_text(pace: Mapping[str, float], names: Mapping[str, str]) -> str:
    """The part of a log line, with its separators; empty if the pace is unknown."""
    if not pace:
        return ''
    samples = pace[SAMPLES]
    shown = f'{samples:.0f}' if samples >= 100 else f'{samples:.3g}'
    return f'{names[SAMPLES]}: {shown}  {names[WAIT]}: {pace[WAIT]:.0%}  '
