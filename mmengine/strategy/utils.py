"""Helpers for strategies of large models."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class MetaTensorContext(TorchDispatchMode):  # type: ignore[no-untyped-call]  # untyped in torch
    """Context in which new tensors are on the meta device: they have shapes and dtypes, no memory.

    It builds a model that is too large for one device; a strategy then allocates its parameters
    part by part. Existing tensors do not change.

    Example:
        >>> with MetaTensorContext():
        ...     layer = torch.nn.Linear(100_000, 100_000)
        >>> layer.weight.device, layer.weight.shape
        (device(type='meta'), torch.Size([100000, 100000]))
    """

    def __torch_dispatch__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Create new tensors on the meta device."""
        # torch passes the device to every operator that creates a tensor.
        if kwargs and 'device' in kwargs:
            kwargs = {**kwargs, 'device': torch.device('meta')}
        return func(*args, **(kwargs or {}))
