"""EmptyCacheHook: releases cached device memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch

from mmengine.hooks.hook import DataBatch, Hook
from mmengine.registry import HOOKS

if TYPE_CHECKING:
    from mmengine.hooks.run import Run


@HOOKS.register_module()
class EmptyCacheHook(Hook):
    """Empties the cache of the accelerator's allocator, so that other processes can use the memory.

    Memory in use is not freed, and later operations have to allocate again, so emptying the cache
    after every iteration is slow. On a CPU the hook does nothing.

    Args:
        before_epoch: Before each pass over the data.
        after_epoch: After each pass.
        after_iter: After each batch.
    """

    priority = 'NORMAL'

    def __init__(
        self, before_epoch: bool = False, after_epoch: bool = True, after_iter: bool = False
    ) -> None:
        self._do_before_epoch = before_epoch
        self._do_after_epoch = after_epoch
        self._do_after_iter = after_iter

    def _overrides(self, name: str) -> bool:
        """A method of this class that is turned off counts as not overridden, so that no point
        calls it. Methods of a subclass always count."""
        is_on = {
            '_before_epoch': self._do_before_epoch,
            '_after_epoch': self._do_after_epoch,
            '_after_iter': self._do_after_iter,
        }.get(name, True)
        is_off = not is_on and self._inherits(EmptyCacheHook, name)
        return not is_off and super()._overrides(name)

    def _before_epoch(self, runner: Run, mode: str = 'train') -> None:
        if self._do_before_epoch:
            _empty_cache()

    def _after_epoch(self, runner: Run, mode: str = 'train') -> None:
        if self._do_after_epoch:
            _empty_cache()

    def _after_iter(
        self,
        runner: Run,
        batch_idx: int,
        data_batch: DataBatch = None,
        outputs: Sequence[Any] | dict[str, Any] | None = None,
        mode: str = 'train',
    ) -> None:
        if self._do_after_iter:
            _empty_cache()


def _empty_cache() -> None:
    accelerator = torch.accelerator.current_accelerator()
    if accelerator is None:
        return
    empty_cache = getattr(torch.get_device_module(accelerator), 'empty_cache', None)
    if empty_cache is not None:
        empty_cache()
