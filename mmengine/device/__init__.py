"""Devices: which one is there, how much memory it used, and mixed precision on it."""

from mmengine.device._autocast import autocast
from mmengine.device.utils import (
    ACCELERATORS,
    get_device,
    get_max_cuda_memory,
    get_max_memory,
    get_max_musa_memory,
    is_cuda_available,
    is_dipu_available,
    is_mlu_available,
    is_mps_available,
    is_musa_available,
    is_npu_available,
    is_npu_support_full_precision,
    is_xpu_available,
)

__all__ = [
    'ACCELERATORS',
    'autocast',
    'get_device',
    'get_max_cuda_memory',
    'get_max_memory',
    'get_max_musa_memory',
    'is_cuda_available',
    'is_dipu_available',
    'is_mlu_available',
    'is_mps_available',
    'is_musa_available',
    'is_npu_available',
    'is_npu_support_full_precision',
    'is_xpu_available',
]
