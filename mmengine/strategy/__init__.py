"""Strategies: one class for each way to place a model on devices and to gather its state."""

from mmengine.strategy.base import BaseStrategy
from mmengine.strategy.checkpoint_io import CheckpointIO, FileCheckpointIO
from mmengine.strategy.colossalai import ColossalAIStrategy
from mmengine.strategy.deepspeed import DeepSpeedStrategy
from mmengine.strategy.distributed import DDPStrategy
from mmengine.strategy.fsdp import FSDPStrategy
from mmengine.strategy.separate import SeparateStrategy
from mmengine.strategy.single_device import SingleDeviceStrategy

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
