"""ZeroRedundancyOptimizer. Imported on first use, because importing it takes almost a second."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import Any

import torch

from mmengine.dist import is_main_process
from mmengine.utils.errors import ArgumentError, did_you_mean

with warnings.catch_warnings():
    # The package scripts its other optimizers with torch.jit, which is deprecated in torch.
    warnings.simplefilter('ignore', DeprecationWarning)
    from torch.distributed.optim import ZeroRedundancyOptimizer as _TorchZeroRedundancyOptimizer


class ZeroRedundancyOptimizer(_TorchZeroRedundancyOptimizer):
    """torch's ``ZeroRedundancyOptimizer``, with the name of a ``torch.optim`` optimizer.

    Each rank keeps the optimizer state of a part of the parameters (Rajbhandari et al. 2020,
    arXiv:1910.02054). An initialized process group is required.

    Args:
        params: Parameters, or groups of them.
        optimizer_type: Name of a ``torch.optim`` optimizer.
        kwargs: Further arguments of torch's class and of the optimizer.

    Raises:
        ArgumentError: If ``torch.optim`` has no optimizer of that name.
    """

    def __init__(self, params: Iterable[Any], optimizer_type: str, **kwargs: Any) -> None:
        optimizer_class = getattr(torch.optim, optimizer_type, None)
        if not (
            isinstance(optimizer_class, type) and issubclass(optimizer_class, torch.optim.Optimizer)
        ):
            raise ArgumentError(
                f'optimizer_type should name a torch.optim optimizer, got {optimizer_type!r}.'
                + did_you_mean(str(optimizer_type), dir(torch.optim))
            )
        super().__init__(params, optimizer_class, **kwargs)

    def state_dict(self) -> dict[str, Any]:
        """The whole state on rank 0, an empty dict on other ranks. All ranks must call it."""
        self.consolidate_state_dict()
        if not is_main_process():
            return {}
        state: dict[str, Any] = super().state_dict()
        return state
