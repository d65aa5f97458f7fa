"""Data parallel: every rank holds the whole model, gradients are averaged."""

import os
from typing import Any

import torch
from torch import nn

from mmengine._strategy._env import check_launcher
from mmengine._strategy.single_device import SingleDeviceStrategy
from mmengine.device import get_device
from mmengine.model.build import convert_model_sync_bn, wrap_model
from mmengine.registry import STRATEGIES
from mmengine.utils.errors import ArgumentError


@STRATEGIES.register_module()
class DDPStrategy(SingleDeviceStrategy):
    """One process a device, :class:`~mmengine.model.MMDistributedDataParallel` around the model.

    Args:
        model_wrapper: Another wrapper: its name, config or class.
        sync_bn: 'torch' or 'mmcv': turn BN layers into synchronised ones of that kind. None leaves them.
        **kwargs: Arguments of :class:`BaseStrategy`; the launcher may not be 'none'.
    """

    def __init__(
        self, *, model_wrapper: Any = None, sync_bn: str | None = None, **kwargs: Any
    ) -> None:
        env = dict(kwargs.pop('env_kwargs', None) or {})
        env['launcher'] = check_launcher(env.get('launcher'))
        if env['launcher'] == 'none' and not torch.distributed.is_initialized():
            raise ArgumentError(
                'DDPStrategy needs several processes: start them with a launcher (pytorch, slurm, mpi).'
            )
        super().__init__(env_kwargs=env, **kwargs)
        self.model_wrapper = model_wrapper
        self.sync_bn = sync_bn

    def convert_model(self, model: nn.Module) -> nn.Module:
        """BN to synchronised BN when ``sync_bn`` asks for it."""
        return model if self.sync_bn is None else convert_model_sync_bn(model, self.sync_bn)

    def wrap_model(
        self, model: nn.Module, model_wrapper_cfg: Any = None, find_unused_parameters: bool = False
    ) -> nn.Module:
        """The model on this rank's device inside the chosen wrapper."""
        device = get_device()
        if device == 'cuda':
            torch.cuda.set_device(int(os.environ['LOCAL_RANK']))
        return wrap_model(
            model.to(device),
            model_wrapper_cfg if model_wrapper_cfg is not None else self.model_wrapper,
            find_unused_parameters=find_unused_parameters,
        )
