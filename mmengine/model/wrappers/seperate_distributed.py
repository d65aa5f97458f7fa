"""Data parallel training of models whose parts are optimised apart (GANs): one DDP a part."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from typing_extensions import Self

from mmengine.logging import print_log
from mmengine.model.wrappers.distributed import MMDistributedDataParallel
from mmengine.model.wrappers.utils import this_rank_device
from mmengine.registry import MODEL_WRAPPERS

if TYPE_CHECKING:
    from mmengine.optim import OptimWrapperDict


@MODEL_WRAPPERS.register_module()
class MMSeparateDistributedDataParallel(DistributedDataParallel):
    """Puts a :class:`MMDistributedDataParallel` around each sub-module that has something to train.

    The other sub-modules are moved to this rank's device. Steps are those of the model itself,
    whatever its ``train_step`` does: its calls of ``self.generator(...)`` go through that
    sub-module's DDP. Attributes that the wrapper lacks are the model's, so a subclass can write its
    own ``train_step`` in the same words as the model's.

    Parameters that belong to the model directly, to none of its sub-modules, are not synchronised;
    a warning names them.

    Args:
        module: The model. Its sub-modules are replaced by wrapped ones.
        broadcast_buffers: Whether a forward pass sends the buffers of rank 0 to the others.
        find_unused_parameters: Whether backward looks for parameters that took no part.
        **kwargs: Other arguments of :class:`MMDistributedDataParallel`.
    """

    def __init__(
        self,
        module: nn.Module,
        broadcast_buffers: bool = False,
        find_unused_parameters: bool = False,
        **kwargs: Any,
    ) -> None:
        # The wrapper itself reduces nothing, so DDP's own set-up is passed over.
        nn.Module.__init__(self)
        device = this_rank_device()
        self.module = module.to(device)
        on_one_device: dict[str, Any] = (
            {'device_ids': [device.index]} if device.index is not None else {}
        )
        settings = {
            'broadcast_buffers': broadcast_buffers,
            'find_unused_parameters': find_unused_parameters,
            **on_one_device,
            **kwargs,
        }
        # A sub-module under two names has to be one DDP: its gradients are averaged once.
        wrapped: dict[nn.Module, nn.Module] = {}
        for name, child in module._modules.items():
            if child is None:
                continue
            if child not in wrapped and any(
                parameter.requires_grad for parameter in child.parameters()
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
        """What the model's ``forward`` returns; its sub-modules run through their DDP."""
        return self.module(*args, **kwargs)

    def train_step(
        self, data: dict[str, Any] | tuple[Any, ...] | list[Any], optim_wrapper: 'OptimWrapperDict'
    ) -> dict[str, Tensor]:
        """The model's own training step."""
        return self.module.train_step(data, optim_wrapper)  # type: ignore[no-any-return]  # a BaseModel

    def val_step(self, data: dict[str, Any] | tuple[Any, ...] | list[Any]) -> list[Any]:
        """The model's own validation step."""
        return self.module.val_step(data)  # type: ignore[no-any-return]  # a BaseModel

    def test_step(self, data: dict[str, Any] | tuple[Any, ...] | list[Any]) -> list[Any]:
        """The model's own test step."""
        return self.module.test_step(data)  # type: ignore[no-any-return]  # a BaseModel

    def train(self, mode: bool = True) -> Self:
        """Set the model and its sub-modules to training or evaluation."""
        return nn.Module.train(self, mode)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Within it no sub-module averages its gradients; the first backward pass after it does."""
        with ExitStack() as stack:
            for child in self.module.children():
                if isinstance(child, MMDistributedDataParallel):
                    stack.enter_context(child.no_sync())
            yield

    def __getstate__(self) -> dict[str, Any]:
        # Past DDP's own, which looks for the process group that only the wrapped sub-modules have.
        return self.__dict__.copy()

    def __setstate__(self, state: dict[str, Any]) -> None:
        nn.Module.__setstate__(self, state)  # type: ignore[no-untyped-call]  # untyped in torch


def _warn_about_own_parameters(model: nn.Module) -> None:
    own = [
        name for name, parameter in model.named_parameters(recurse=False) if parameter.requires_grad
    ]
    if own:
        print_log(
            'MMSeparateDistributedDataParallel synchronises the sub-modules of '
            f'{type(model).__name__}, but not its own parameters {own}: every rank would train '
            'them apart. Move them into a sub-module.',
            logger='current',
            level='WARNING',
        )
