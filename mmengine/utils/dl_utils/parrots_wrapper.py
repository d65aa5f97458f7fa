"""Classes and functions of torch under the names that older projects import from here."""

from typing import Any

import torch
from torch.nn.modules.batchnorm import SyncBatchNorm, _BatchNorm
from torch.nn.modules.conv import _ConvNd, _ConvTransposeMixin
from torch.nn.modules.instancenorm import _InstanceNorm
from torch.nn.modules.pooling import (
    _AdaptiveAvgPoolNd,
    _AdaptiveMaxPoolNd,
    _AvgPoolNd,
    _MaxPoolNd,
)
from torch.utils.data import DataLoader

from mmengine.utils._toolkits import _get_cuda_home

TORCH_VERSION = torch.__version__
SyncBatchNorm_ = SyncBatchNorm
PoolDataLoader = DataLoader

__all__ = [
    'TORCH_VERSION',
    'DataLoader',
    'PoolDataLoader',
    'SyncBatchNorm',
    'SyncBatchNorm_',
    '_AdaptiveAvgPoolNd',
    '_AdaptiveMaxPoolNd',
    '_AvgPoolNd',
    '_BatchNorm',
    '_ConvNd',
    '_ConvTransposeMixin',
    '_InstanceNorm',
    '_MaxPoolNd',
    '_get_conv',
    '_get_cuda_home',
    '_get_dataloader',
    '_get_extension',
    '_get_norm',
    '_get_pool',
    'get_build_config',
    'is_rocm_pytorch',
]


def is_rocm_pytorch() -> bool:
    """Whether torch was built for ROCm and finds the toolkit."""
    return torch.version.hip is not None and _get_cuda_home() is not None


def get_build_config() -> str:
    """How torch was built."""
    return torch.__config__.show()


def _get_conv() -> tuple[type, type]:
    return _ConvNd, _ConvTransposeMixin


def _get_norm() -> tuple[type, type, type]:
    return _BatchNorm, _InstanceNorm, SyncBatchNorm_


def _get_pool() -> tuple[type, type, type, type]:
    return _AdaptiveAvgPoolNd, _AdaptiveMaxPoolNd, _AvgPoolNd, _MaxPoolNd


def _get_dataloader() -> tuple[type, type]:
    return DataLoader, PoolDataLoader


def _get_extension() -> tuple[Any, Any, Any]:
    """The build command and the makers of C++ and CUDA extensions, for a ``setup.py``."""
    # cpp_extension imports setuptools, which training does not need.
    from torch.utils.cpp_extension import BuildExtension, CppExtension, CUDAExtension

    return BuildExtension, CppExtension, CUDAExtension
