"""Checks of layers, and conversion of tensors to pictures."""

import importlib.util
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.modules.instancenorm import _InstanceNorm

from mmengine.utils.errors import ArgumentError

_NORMS = (_BatchNorm, _InstanceNorm, nn.GroupNorm, nn.LayerNorm)


def is_norm(layer: nn.Module, exclude: type | tuple[type, ...] | None = None) -> bool:
    """Whether a layer is a batch, instance, group or layer normalization.

    Args:
        layer: The layer.
        exclude: Types that do not count.

    Raises:
        TypeError: If ``exclude`` is neither a type nor a tuple of types.
    """
    excluded = exclude if isinstance(exclude, tuple) else () if exclude is None else (exclude,)
    if not all(isinstance(kind, type) for kind in excluded):
        raise TypeError(f'exclude must be a type or a tuple of types, got {exclude!r}.')
    return isinstance(layer, _NORMS) and not isinstance(layer, excluded)


def has_batch_norm(model: nn.Module) -> bool:
    """Whether any layer of a model is a batch normalization."""
    return any(isinstance(layer, _BatchNorm) for layer in model.modules())


def mmcv_full_available() -> bool:
    """Whether an mmcv with compiled operators is installed."""
    if importlib.util.find_spec('mmcv') is None:
        return False
    return importlib.util.find_spec('mmcv._ext') is not None


def tensor2imgs(
    tensor: torch.Tensor,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    to_bgr: bool = True,
) -> list[npt.NDArray[np.float32]]:
    """Undo the normalization of a batch and return its pictures one by one.

    Args:
        tensor: Batch of shape (N, C, H, W) with 1 or 3 channels, in RGB.
        mean: The value subtracted from each channel; 0 by default.
        std: The divisor of each channel; 1 by default.
        to_bgr: Give pictures in BGR, which needs 3 channels.

    Returns:
        N arrays of shape (H, W, C) and type float32, not clipped.

    Raises:
        ArgumentError: If the shape or the number of channel values does not fit.
    """
    if not isinstance(tensor, torch.Tensor) or tensor.ndim != 4 or tensor.size(1) not in (1, 3):
        got = tuple(tensor.shape) if isinstance(tensor, torch.Tensor) else type(tensor).__name__
        raise ArgumentError(f'tensor2imgs needs a tensor of shape (N, 1 or 3, H, W), got {got}.')
    channels = tensor.size(1)
    if to_bgr and channels == 1:
        raise ArgumentError('A picture of one channel has no BGR order: pass to_bgr=False.')
    offset = _channel_values('mean', mean, 0.0, channels)
    scale = _channel_values('std', std, 1.0, channels)
    pictures = tensor.detach().cpu().float().numpy().transpose(0, 2, 3, 1) * scale + offset
    if to_bgr:
        pictures = pictures[..., ::-1]
    return [np.ascontiguousarray(picture) for picture in pictures]


def _channel_values(
    name: str, values: Sequence[float] | None, default: float, channels: int
) -> npt.NDArray[np.float32]:
    if values is not None and len(values) != channels:
        raise ArgumentError(
            f'{name} needs a value for each of {channels} channels, got {values!r}.'
        )
    return np.array([default] * channels if values is None else values, dtype=np.float32)
