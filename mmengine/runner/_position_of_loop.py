"""Attributes of a train loop that belong to the position of its run."""

from __future__ import annotations

from typing import Any

from mmengine.optim.optimizer.optimizer_wrapper_dict import wrappers_of
from mmengine.strategy._state import UNKNOWN


def of_position(name: str, doc: str) -> Any:
    """An attribute of a loop that is the entry ``name`` of its position, as subclasses write it.

    A hook may write a length during the training.
    """

    def read(self: Any) -> int:
        return getattr(self._position, name)  # type: ignore[no-any-return]  # counts are int

    def write(self: Any, value: int) -> None:
        end = self._position.max_iters
        setattr(self._position, name, value)
        if name == 'max_epochs' and getattr(self, '_pass', None) is not None:
            self._count_iterations()
        if name.startswith('max_'):
            _announce_end(self, end)

    return property(read, write, doc=doc)


def _announce_end(loop: Any, before: int) -> None:
    """Let windows that the end of the training would have cut ``before`` end at the new one."""
    end = loop._position.max_iters
    if UNKNOWN in (before, end) or not hasattr(loop, '_runner'):
        return
    for wrapper in wrappers_of(getattr(loop._runner, 'optim_wrapper', None)):
        if getattr(wrapper, '_max_counts', None) == before:
            wrapper._max_counts = end
