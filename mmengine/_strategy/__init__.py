"""Where a model lives and how its state is gathered: one class a way of placing it on devices."""

from mmengine._strategy.base import BaseStrategy
from mmengine._strategy.colossalai import ColossalAIStrategy
from mmengine._strategy.deepspeed import DeepSpeedStrategy
from mmengine._strategy.distributed import DDPStrategy
from mmengine._strategy.fsdp import FSDPStrategy
from mmengine._strategy.single_device import SingleDeviceStrategy

__all__ = [
    'BaseStrategy',
    'ColossalAIStrategy',
    'DDPStrategy',
    'DeepSpeedStrategy',
    'FSDPStrategy',
    'SingleDeviceStrategy',
]
