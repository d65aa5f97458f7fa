"""Which modules are wrappers around a model: those registered in ``MODEL_WRAPPERS``."""

from torch.nn.parallel import DataParallel, DistributedDataParallel

from mmengine._checkpoint.unwrap import is_model_wrapper
from mmengine.registry import MODEL_WRAPPERS

MODEL_WRAPPERS.register_module(module=DataParallel)
MODEL_WRAPPERS.register_module(module=DistributedDataParallel)

__all__ = ['is_model_wrapper']
