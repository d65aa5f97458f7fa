"""Where a model lives and how its state is gathered: one class a way of placing it on devices."""

from mmengine.strategy.base import BaseStrategy
from mmengine.strategy.checkpoint_io import CheckpointIO, FileCheckpointIO
from mmengine.strategy.colossalai import ColossalAIStrategy
from mmengine.strategy.deepspeed import DeepSpeedStrategy
from mmengine.strategy.distributed import DDPStrategy
from mmengine.strategy.fsdp import FSDPStrategy
from mmengine.strategy.single_device import SingleDeviceStrategy

__all__ = [
    'BaseStrategy',
    'CheckpointIO',
    'ColossalAIStrategy',
    'DDPStrategy',
    'DeepSpeedStrategy',
    'FSDPStrategy',
    'FileCheckpointIO',
    'SingleDeviceStrategy',
]
