"""Wrappers that run a model on several devices."""

from mmengine.model.wrappers.distributed import MMDistributedDataParallel
from mmengine.model.wrappers.seperate_distributed import MMSeparateDistributedDataParallel
from mmengine.model.wrappers.utils import is_model_wrapper

__all__ = ['MMDistributedDataParallel', 'MMSeparateDistributedDataParallel', 'is_model_wrapper']
