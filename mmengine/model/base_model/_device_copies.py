"""Copies of a batch to the device beside the work of the step before.

A copy on the current stream waits there for all that was queued before it, the whole training step
that the device still computes. On another stream it begins at once, so it is hidden behind that
step. Only the current stream waits for it: the host, which queues the next step meanwhile, does
not.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from torch import Tensor


def copy_to(tensor: Tensor, device: torch.device, non_blocking: bool) -> Tensor:
    """``tensor.to(device, non_blocking=non_blocking)``, on a side stream if the device has them.

    Args:
        tensor: Of any shape, dtype and device.
        device: Where to copy it.
        non_blocking: Not to wait for the copy, if the tensor is in pinned memory.
    """
    streams = _streams_of(device)
    if (
        streams is None
        or tensor.device.type != 'cpu'
        or tensor.requires_grad
        or torch.compiler.is_compiling()
        or streams.is_current_stream_capturing()
    ):
        return tensor.to(device, non_blocking=non_blocking)
    side = _side_stream(device)
    with streams.stream(side):
        copied = tensor.to(device, non_blocking=non_blocking)
    current = streams.current_stream(device)
    current.wait_stream(side)
    # The memory belongs to the side stream, which must not reuse it before the step has read it.
    copied.record_stream(current)
    return copied


def _streams_of(device: torch.device) -> Any:
    """The module with the streams of ``device``; None if there are none."""
    return torch.cuda if device.type == 'cuda' else None


@cache
def _side_stream(device: torch.device) -> Any:
    """The stream for copies to ``device``, one in a process."""
    return _streams_of(device).Stream(device)
