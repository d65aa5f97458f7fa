"""The accelerators of this machine, from one table."""

import importlib
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch


@dataclass(frozen=True)
class Accelerator:
    """One kind of device.

    Attributes:
        device_type: Its name in ``torch.device``, and the name of its module
            ``torch.<device_type>``.
        plugin: Package that adds this module to torch; None for devices that torch supports
            itself.
        probe: Module below ``torch`` that has ``is_available``, if it is another module.
    """

    device_type: str
    plugin: str | None = None
    probe: str | None = None

    def module(self) -> Any:
        """The module of the device, such as ``torch.cuda``; None when it is not installed."""
        if self.plugin is not None and not _can_import(self.plugin):
            return None
        return getattr(torch, self.device_type, None)

    def is_available(self) -> bool:
        """Whether such a device can be used now."""
        module = self.module()
        if module is None:
            return False
        if self.probe is not None:
            module = importlib.import_module(f'torch.{self.probe}')
        return bool(module.is_available())

    def max_memory_mb(self, device: torch.device | None = None) -> int:
        """Peak memory of tensors in MB since the last call. Resets the peak.

        0 where the device keeps no such record (mps).

        Raises:
            RuntimeError: If the module of the device is not installed.
        """
        module = self.module()
        if module is None:
            raise RuntimeError(
                f'The peak memory of a {self.device_type} device needs the package {self.plugin!r}.'
            )
        if not hasattr(module, 'max_memory_allocated'):
            return 0
        peak = module.max_memory_allocated(device=device)
        module.reset_peak_memory_stats(device=device)
        return int(peak) // (1 << 20)


@cache
def _can_import(plugin: str) -> bool:
    try:
        importlib.import_module(plugin)
    except ImportError:
        return False
    return True


ACCELERATORS = {
    accelerator.device_type: accelerator
    for accelerator in (
        # A vendor's plugin was installed on purpose, so npu comes before torch's own devices.
        Accelerator('npu', plugin='torch_npu'),
        Accelerator('cuda'),
        Accelerator('mlu', plugin='torch_mlu'),
        Accelerator('dipu', plugin='torch_dipu'),
        Accelerator('musa', plugin='torch_musa'),
        Accelerator('xpu'),
        Accelerator('mps', probe='backends.mps'),
    )
}
"""Every accelerator by its device type, in the order in which :func:`get_device` prefers them."""


def get_device() -> str:
    """The device type to train on: the first available accelerator, else ``'cpu'``."""
    for accelerator in ACCELERATORS.values():
        if accelerator.is_available():
            return accelerator.device_type
    return 'cpu'


def is_cuda_available() -> bool:
    """Whether an NVIDIA or ROCm device can be used."""
    return ACCELERATORS['cuda'].is_available()


def is_npu_available() -> bool:
    """Whether an Ascend device can be used (package ``torch_npu``)."""
    return ACCELERATORS['npu'].is_available()


def is_mlu_available() -> bool:
    """Whether a Cambricon device can be used (package ``torch_mlu``)."""
    return ACCELERATORS['mlu'].is_available()


def is_mps_available() -> bool:
    """Whether the GPU of an Apple machine can be used."""
    return ACCELERATORS['mps'].is_available()


def is_dipu_available() -> bool:
    """Whether a device behind DIPU can be used (package ``torch_dipu``)."""
    return ACCELERATORS['dipu'].is_available()


def is_musa_available() -> bool:
    """Whether a Moore Threads device can be used (package ``torch_musa``)."""
    return ACCELERATORS['musa'].is_available()


def is_xpu_available() -> bool:
    """Whether an Intel GPU can be used."""
    return ACCELERATORS['xpu'].is_available()


def get_max_memory(device: torch.device | None = None) -> int:
    """Peak memory of tensors on the accelerator since the last call, in MB; 0 on the CPU.

    Args:
        device: The device; the current one of :func:`get_device`'s type by default.
    """
    device_type = get_device() if device is None else device.type
    if device_type not in ACCELERATORS:
        return 0
    return ACCELERATORS[device_type].max_memory_mb(device)


def get_max_cuda_memory(device: torch.device | None = None) -> int:
    """Peak memory of a CUDA device (by default the current one) since the last call, in MB."""
    return ACCELERATORS['cuda'].max_memory_mb(device)


def get_max_musa_memory(device: torch.device | None = None) -> int:
    """Peak memory of a MUSA device (by default the current one) since the last call, in MB.

    Raises:
        RuntimeError: If ``torch_musa`` is not installed.
    """
    return ACCELERATORS['musa'].max_memory_mb(device)


def is_npu_support_full_precision() -> bool:
    """Whether the Ascend device here computes in float32, as the 910B and newer ones do."""
    if not is_npu_available():
        return False
    import torch_npu.npu.utils as npu_utils

    first_with_float32 = 220
    return int(npu_utils.get_soc_version()) >= first_with_float32
