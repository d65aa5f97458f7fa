"""RankMeans: log values as means over all ranks, with one collective per log line."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mmengine.dist import all_gather, all_gather_object, get_world_size
from mmengine.dist._data_parallel import of_data_ranks

# Statistics of a window that stay what they are over several ranks.
_REDUCTIONS: dict[str, Callable[[Any], Any]] = {'max': np.max, 'min': np.min}


class RankMeans:
    """Averages log values over the data-parallel ranks that have them.

    Ranks may have different values: a loss that only some batches have. The names are exchanged
    once; a name that a rank has for the first time is exchanged at that log line.
    """

    def __init__(self) -> None:
        self._names: list[str] = []

    def reduce(self, values: Mapping[str, Any], methods: Mapping[str, str]) -> dict[str, Any]:
        """The values over all ranks, those that only other ranks have included.

        All ranks must call this.

        Args:
            values: Numbers by name. What is not a number is returned unchanged.
            methods: For some names, the statistic that a value is: a 'max' is reduced by the
                maximum, a 'min' by the minimum. Other values are averaged.
        """
        if get_world_size() == 1:
            return dict(values)
        own = {
            name: float(value)
            for name, value in values.items()
            if isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
        }
        rows, is_complete = self._exchange(own)
        if not is_complete:
            for names in all_gather_object(list(own)):
                self._names += [name for name in names if name not in self._names]
            rows, _ = self._exchange(own)
        reduced = dict(values)
        for name, of_ranks, has_value in zip(self._names, *rows, strict=True):
            if has_value.any():
                reduce = _REDUCTIONS.get(methods.get(name, ''), np.mean)
                reduced[name] = reduce(of_ranks[has_value > 0])
        return reduced

    def _exchange(self, own: Mapping[str, float]) -> tuple[tuple[Any, Any], bool]:
        """Values of the known names and whether they are given, both ``[name, data rank]``.

        Also whether no rank has a name that is not known yet.
        """
        known = self._names
        has_unknown = any(name not in known for name in own)
        row = [*(own.get(name, 0.0) for name in known), *(float(name in own) for name in known)]
        sent = torch.tensor([*row, float(has_unknown)], dtype=torch.float64)
        rows = all_gather(sent)
        table: Tensor = torch.stack(of_data_ranks(rows))
        columns = table.numpy().T
        count = len(known)
        is_complete = not any(bool(row[-1]) for row in rows)
        return (columns[:count], columns[count : 2 * count]), is_complete
