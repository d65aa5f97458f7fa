"""Strategies: one class for each way to place a model on devices and to gather its state."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mmengine.strategy.base import BaseStrategy
from mmengine.strategy.checkpoint_io import CheckpointIO, FileCheckpointIO
from mmengine.strategy.distributed import DDPStrategy
from mmengine.strategy.single_device import SingleDeviceStrategy

if TYPE_CHECKING:
    from mmengine.strategy.colossalai import ColossalAIStrategy
    from mmengine.strategy.deepspeed import DeepSpeedStrategy
    from mmengine.strategy.fsdp import FSDPStrategy
    from mmengine.strategy.separate import SeparateStrategy

__all__ = [
    'BaseStrategy',
    'CheckpointIO',
    'ColossalAIStrategy',
    'DDPStrategy',
    'DeepSpeedStrategy',
    'FSDPStrategy',
    'FileCheckpointIO',
    'SeparateStrategy',
    'SingleDeviceStrategy',
]

# Few runs need them, and every run would wait for their modules. Registries find them by the table
# in `mmengine.registry._deferred`.
_ON_FIRST_USE = {
    'ColossalAIStrategy': 'colossalai',
    'DeepSpeedStrategy': 'deepspeed',
    'FSDPStrategy': 'fsdp',
    'SeparateStrategy': 'separate',
}


def __getattr__(name: str) -> Any:
    if name not in _ON_FIRST_USE:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    return getattr(import_module(f'{__name__}.{_ON_FIRST_USE[name]}'), name)
