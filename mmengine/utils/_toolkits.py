"""Where the toolkits are that compile code for accelerators."""

import os

import torch


def _get_cuda_home() -> str | None:
    """The folder of the CUDA (or ROCm) toolkit that torch compiles with; None without one."""
    from torch.utils import cpp_extension

    if torch.version.hip is not None:
        return cpp_extension.ROCM_HOME
    return cpp_extension.CUDA_HOME


def _get_musa_home() -> str | None:
    """The folder of the MUSA toolkit; None without one."""
    return os.environ.get('MUSA_HOME')
