"""Methods that move a module to accelerators for which ``nn.Module`` has no method."""

from typing import Any

import torch
from typing_extensions import Self

from mmengine.model.base_model.data_preprocessor import accelerator


class AcceleratorMoves:
    """Adds the methods ``npu``, ``mlu`` and ``musa`` to ``cuda`` and ``cpu`` of a module.

    All of them call ``nn.Module._apply``, in which :class:`BaseDataPreprocessor` updates its
    device, so a model and its preprocessor are always on the same device.
    """

    def to(self, *args: Any, **kwargs: Any) -> Self:
        """Same as :meth:`torch.nn.Module.to`."""
        return super().to(*args, **kwargs)  # type: ignore[misc, no-any-return]  # nn.Module comes later in the order

    def cuda(self, device: int | str | torch.device | None = None) -> Self:
        """Move to a CUDA device, the current one by default."""
        return super().cuda(device)  # type: ignore[misc, no-any-return]

    def npu(self, device: int | str | torch.device | None = None) -> Self:
        """Move to an Ascend device, the current one by default (needs torch_npu)."""
        return self.to(accelerator('npu', device))

    def mlu(self, device: int | str | torch.device | None = None) -> Self:
        """Move to a Cambricon device, the current one by default (needs torch_mlu)."""
        return self.to(accelerator('mlu', device))

    def musa(self, device: int | str | torch.device | None = None) -> Self:
        """Move to a Moore Threads device, the current one by default (needs torch_musa)."""
        return self.to(accelerator('musa', device))

    def cpu(self, *args: Any, **kwargs: Any) -> Self:
        """Move to host memory."""
        return super().cpu()  # type: ignore[misc, no-any-return]
