"""DDPStrategy: every rank holds the whole model, and gradients are averaged over the ranks."""

import sys
from typing import Any

from torch import nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from mmengine.device import get_device
from mmengine.model._build import convert_model_sync_bn, wrap_model
from mmengine.optim import BaseOptimWrapper
from mmengine.optim.optimizer.optimizer_wrapper_dict import wrappers_of
from mmengine.process.env import check_launcher
from mmengine.registry import STRATEGIES
from mmengine.strategy._averaged_check import check_averaged
from mmengine.strategy.single_device import SingleDeviceStrategy
from mmengine.utils.errors import ArgumentError


@STRATEGIES.register_module()
class DDPStrategy(SingleDeviceStrategy):
    """One process per device; the model is in a :class:`~mmengine.model.MMDistributedDataParallel`.

    Args:
        model_wrapper: Another wrapper: its name, config or class.
        sync_bn: 'torch' or 'mmcv': convert BN layers to synchronised layers of that package. None
            keeps the BN layers.
        **kwargs: Arguments of :class:`BaseStrategy`. If the environment variables of a launcher are
            not set, a single process trains the model without a wrapper, so that a config can be
            tried without a launcher.

    Raises:
        ArgumentError: If ``sync_bn`` needs an accelerator and none is available.
    """

    def __init__(
        self, *, model_wrapper: Any = None, sync_bn: str | None = None, **kwargs: Any
    ) -> None:
        env = dict(kwargs.pop('env_kwargs', None) or {})
        env['launcher'] = check_launcher(env.get('launcher'))
        super().__init__(env_kwargs=env, **kwargs)
        self.model_wrapper = model_wrapper
        self.sync_bn = sync_bn
        if self.distributed and self.sync_bn == 'torch' and get_device() == 'cpu':
            raise ArgumentError(
                "sync_bn='torch' converts batch norms to torch.nn.SyncBatchNorm, which works on "
                'accelerators only, and this run is on the CPU. Remove sync_bn for this run.'
            )
        if not self.distributed:
            self.logger.warning(
                f'{type(self).__name__} found one process only, so the model is not wrapped. Start '
                'several with a launcher, as in: torchrun --nproc-per-node=2 train.py'
            )

    def convert_model(self, model: nn.Module) -> nn.Module:
        """Convert BN to synchronised BN if ``sync_bn`` is set."""
        return convert_model_sync_bn(model, self.sync_bn)

    def wrap_model(
        self,
        model: nn.Module,
        model_wrapper_cfg: Any = None,
        find_unused_parameters: bool | None = None,
    ) -> nn.Module:
        """Move the model to the device of this rank and wrap it."""
        chosen = self.model_wrapper if model_wrapper_cfg is None else model_wrapper_cfg
        if chosen is None:  # a training step that calls sub-modules needs another one
            chosen = getattr(model, 'default_model_wrapper', None)
        if find_unused_parameters is None:
            find_unused_parameters = self.find_unused_parameters
        # The device of this rank became the current device when the process group was initialised.
        wrapped = wrap_model(
            model,
            chosen if self.distributed else None,
            find_unused_parameters=find_unused_parameters,
            device=get_device(),
        )
        if _is_sharded(wrapped):
            raise NotImplementedError(
                f'{type(self).__name__} saves the whole model and optimizer from rank 0, but with '
                f'{type(wrapped).__name__} rank 0 holds only a part of them. Use '
                "strategy='fsdp', which takes this wrapper's config as model_wrapper."
            )
        return wrapped

    def build_optim_wrapper(
        self, optim_wrapper: Any, model: nn.Module | None = None
    ) -> BaseOptimWrapper:
        """See :meth:`BaseStrategy.build_optim_wrapper`.

        The first step of each optimizer raises an ArgumentError if DDP has not averaged the
        gradients.
        """
        built = super().build_optim_wrapper(optim_wrapper, model)
        placed = self.state.model
        if not isinstance(placed, DistributedDataParallel):
            return built
        for wrapper in wrappers_of(built):
            if isinstance(optimizer := getattr(wrapper, 'optimizer', None), Optimizer):
                check_averaged(optimizer, placed)
        return built


def _is_sharded(model: nn.Module) -> bool:
    # Importing FSDP is slow. A process with an FSDP model has already imported it.
    fsdp = sys.modules.get('torch.distributed.fsdp')
    return fsdp is not None and isinstance(model, fsdp.FullyShardedDataParallel)
