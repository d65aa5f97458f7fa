"""Mixed precision as one context for every device."""

import torch

from mmengine.device.utils import get_device


def autocast(
    device_type: str | None = None,
    dtype: torch.dtype | None = None,
    enabled: bool = True,
    cache_enabled: bool | None = None,
) -> torch.amp.autocast:
    """A context in which suitable operations run in a lower precision, on any device.

    Args:
        device_type: Where the operations run; the device of :func:`mmengine.device.get_device` by
            default.
        dtype: The lower precision; the device's own default (float16 on CUDA, bfloat16 on the CPU)
            when None.
        enabled: False switches an outer autocast off inside the block.
        cache_enabled: Whether weights stay cast until the outermost block ends; torch's setting
            when None.

    Raises:
        TypeError: If ``dtype`` is not a ``torch.dtype``.
        RuntimeError: If torch cannot autocast on this device.

    Example:
        >>> weight = torch.ones(2, 2)
        >>> with autocast('cpu', dtype=torch.bfloat16):
        ...     (weight @ weight).dtype
        torch.bfloat16
    """
    if dtype is not None and not isinstance(dtype, torch.dtype):
        raise TypeError(f'dtype must be a torch.dtype such as torch.bfloat16, got {dtype!r}.')
    return torch.amp.autocast(
        device_type or get_device(), dtype=dtype, enabled=enabled, cache_enabled=cache_enabled
    )
