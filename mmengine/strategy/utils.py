"""What strategies of large models share."""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode


class MetaTensorContext(TorchDispatchMode):  # type: ignore[no-untyped-call]  # untyped in torch
    """Within it new tensors have shapes and dtypes but no memory: they are on the meta device.

    A model can be built that fits on no single device, for a strategy to give its parameters memory
    part by part. Tensors made before stay where they are.

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
        """Send what is newly made to the meta device."""
        # torch fills in the device of every operator that makes a tensor from nothing.
        if kwargs and 'device' in kwargs:
            kwargs = {**kwargs, 'device': torch.device('meta')}
        return func(*args, **(kwargs or {}))
