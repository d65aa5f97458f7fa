"""Utilities of model wrappers. Every class in ``MODEL_WRAPPERS`` is a wrapper."""

import torch
from torch.nn.parallel import DataParallel, DistributedDataParallel

from mmengine._checkpoint.unwrap import is_model_wrapper
from mmengine.device import get_device
from mmengine.registry import MODEL_WRAPPERS

MODEL_WRAPPERS.register_module(module=DataParallel)
MODEL_WRAPPERS.register_module(module=DistributedDataParallel)

__all__ = ['is_model_wrapper', 'this_rank_device']


def this_rank_device() -> torch.device:
    """The accelerator of this process, or the CPU."""
    kind = get_device()
    accelerator = getattr(torch, kind, None)
    if kind == 'cpu' or not hasattr(accelerator, 'current_device'):
        return torch.device(kind)
    return torch.device(kind, accelerator.current_device())  # type: ignore[union-attr]  # has the attribute
