"""MMSeparateDistributedDataParallel: one DDP per part, for models such as GANs."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from typing_extensions import Self

from mmengine._checkpoint.unwrap import is_model_wrapper
from mmengine.dist._dtensor import is_dtensor
from mmengine.logging import print_log
from mmengine.model.wrappers.distributed import MMDistributedDataParallel
from mmengine.model.wrappers.utils import this_rank_device
from mmengine.registry import MODEL_WRAPPERS

if TYPE_CHECKING:
    from mmengine.optim import OptimWrapperDict


@MODEL_WRAPPERS.register_module()
class MMSeparateDistributedDataParallel(DistributedDataParallel):
    """Wraps each sub-module with trainable parameters in a :class:`MMDistributedDataParallel`.

    The other sub-modules are moved to this rank's device, except those that are already wrapped or
    sharded. The wrapper runs the steps of the model:
    calls such as ``self.generator(...)`` in ``train_step`` go through the DDP of that sub-module.
    Attributes that the wrapper does not have are read from the model, so the code of a
    ``train_step`` is the same in the model and in a subclass of the wrapper.

    Parameters that belong to the model itself and not to a sub-module are not synchronised; a
    warning lists them.

    Args:
        module: The model. Its sub-modules are replaced by wrapped ones.
        broadcast_buffers: Whether a forward pass copies the buffers of rank 0 to other ranks.
        find_unused_parameters: Whether to look for parameters that the loss does not use.
        **kwargs: Other arguments of :class:`MMDistributedDataParallel`.
    """

    def __init__(
        self,
        module: nn.Module,
        broadcast_buffers: bool = False,
        find_unused_parameters: bool = False,
        **kwargs: Any,
    ) -> None:
        # The wrapper itself reduces no gradients, so it skips the constructor of DDP.
        nn.Module.__init__(self)
        device = this_rank_device()
        self.module = _on_device(module, device)
        on_one_device: dict[str, Any] = (
            {'device_ids': [device.index]} if device.index is not None else {}
        )
        settings = {
            'broadcast_buffers': broadcast_buffers,
            'find_unused_parameters': find_unused_parameters,
            **on_one_device,
            **kwargs,
        }
        # A sub-module with two names needs a single DDP, which averages its gradients once.
        wrapped: dict[nn.Module, nn.Module] = {}
        for name, child in module._modules.items():
            if child is None:
                continue
            is_placed = is_model_wrapper(child) or _is_sharded(child)
            if (
                child not in wrapped
                and not is_placed
                and any(parameter.requires_grad for parameter in child.parameters())
            ):
                wrapped[child] = MMDistributedDataParallel(module=child, **settings)
            module._modules[name] = wrapped.get(child, child)
        _warn_about_own_parameters(module)

    def __getattr__(self, name: str) -> Any:
        try:
            return nn.Module.__getattr__(self, name)
        except AttributeError:
            if name == 'module':
                raise
            return getattr(self.module, name)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Call ``forward`` of the model; its sub-modules run through their DDP."""
        return self.module(*args, **kwargs)

    def train_step(
        self, data: dict[str, Any] | tuple[Any, ...] | list[Any], optim_wrapper: 'OptimWrapperDict'
    ) -> dict[str, Tensor]:
        """Run the training step of the model."""
        return self.module.train_step(data, optim_wrapper)  # type: ignore[no-any-return]  # a BaseModel

    def val_step(self, data: dict[str, Any] | tuple[Any, ...] | list[Any]) -> list[Any]:
        """Run the validation step of the model."""
        return self.module.val_step(data)  # type: ignore[no-any-return]  # a BaseModel

    def test_step(self, data: dict[str, Any] | tuple[Any, ...] | list[Any]) -> list[Any]:
        """Run the test step of the model."""
        return self.module.test_step(data)  # type: ignore[no-any-return]  # a BaseModel

    def train(self, mode: bool = True) -> Self:
        """Set the model and its sub-modules to training or evaluation."""
        return nn.Module.train(self, mode)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Context in which gradients are not averaged; the first backward pass after it does so."""
        with ExitStack() as stack:
            for child in self.module.children():
                if isinstance(child, MMDistributedDataParallel):
                    stack.enter_context(child.no_sync())
            yield

    def __getstate__(self) -> dict[str, Any]:
        # Skip the method of DDP, which needs a process group: only the sub-modules have one.
        return self.__dict__.copy()

    def __setstate__(self, state: dict[str, Any]) -> None:
        nn.Module.__setstate__(self, state)  # type: ignore[no-untyped-call]  # untyped in torch


def _is_sharded(module: nn.Module) -> bool:
    return any(map(is_dtensor, module.parameters()))


def _on_device(model: nn.Module, device: torch.device) -> nn.Module:
    """Move ``model`` to ``device``, in place, without its sharded sub-modules.

    These are where they should be, which is host memory if they are offloaded.
    """
    sharded = {name: child for name, child in model.named_children() if _is_sharded(child)}
    for name in sharded:
        model._modules[name] = None
    try:
        return model.to(device)
    finally:
        model._modules.update(sharded)


def _warn_about_own_parameters(model: nn.Module) -> None:
    own = [
        name for name, parameter in model.named_parameters(recurse=False) if parameter.requires_grad
    ]
    if own:
        print_log(
            'MMSeparateDistributedDataParallel synchronises the sub-modules of '
            f'{type(model).__name__}, but not its direct parameters {own}: they would differ '
            'between the ranks. Move them into a sub-module.',
            logger='current',
            level='WARNING',
        )
