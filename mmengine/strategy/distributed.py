"""Data parallel: every rank holds the whole model, gradients are averaged."""

import sys
from typing import Any

from torch import nn

from mmengine.device import get_device
from mmengine.model._build import convert_model_sync_bn, wrap_model
from mmengine.process.env import check_launcher
from mmengine.registry import STRATEGIES
from mmengine.strategy.single_device import SingleDeviceStrategy
from mmengine.utils.errors import ArgumentError


@STRATEGIES.register_module()
class DDPStrategy(SingleDeviceStrategy):
    """One process a device, :class:`~mmengine.model.MMDistributedDataParallel` around the model.

    Args:
        model_wrapper: Another wrapper: its name, config or class.
        sync_bn: 'torch' or 'mmcv': turn BN layers into synchronised ones of that kind. None leaves
            them.
        **kwargs: Arguments of :class:`BaseStrategy`. Where the environment tells of no launcher the
            one process trains the plain model, so that a config can be tried out without one.

    Raises:
        ArgumentError: If ``sync_bn`` needs an accelerator and there is none.
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
                "sync_bn='torch' turns batch norms into torch.nn.SyncBatchNorm, which works on "
                'accelerators only, and this run is on the CPU. Leave sync_bn out here.'
            )
        if not self.distributed:
            self.logger.warning(
                'DDPStrategy found one process only, so the model is not wrapped. Start several '
                'with a launcher, as in: torchrun --nproc-per-node=2 train.py'
            )

    def convert_model(self, model: nn.Module) -> nn.Module:
        """BN to synchronised BN when ``sync_bn`` asks for it."""
        return convert_model_sync_bn(model, self.sync_bn)

    def wrap_model(
        self,
        model: nn.Module,
        model_wrapper_cfg: Any = None,
        find_unused_parameters: bool | None = None,
    ) -> nn.Module:
        """The model on this rank's device inside the chosen wrapper."""
        chosen = self.model_wrapper if model_wrapper_cfg is None else model_wrapper_cfg
        if find_unused_parameters is None:
            find_unused_parameters = self.find_unused_parameters
        # Joining the process group has made the device of this rank the current one.
        wrapped = wrap_model(
            model,
            chosen if self.distributed else None,
            find_unused_parameters=find_unused_parameters,
            device=get_device(),
        )
        if _is_sharded(wrapped):
            raise NotImplementedError(
                f'{type(self).__name__} saves the whole model and optimizer from rank 0, which '
                f'holds only a part of them under {type(wrapped).__name__}. Sharded strategies are '
                'not implemented yet: use another wrapper, or a custom training loop.'
            )
        return wrapped


def _is_sharded(model: nn.Module) -> bool:
    # A process with an FSDP model has imported FSDP, which costs too much for the question.
    fsdp = sys.modules.get('torch.distributed.fsdp')
    return fsdp is not None and isinstance(model, fsdp.FullyShardedDataParallel)
