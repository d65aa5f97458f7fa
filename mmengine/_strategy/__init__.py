"""API path of :mod:`mmengine.strategy`."""

from mmengine.strategy import (
    BaseStrategy,
    ColossalAIStrategy,
    DDPStrategy,
    DeepSpeedStrategy,
    FSDPStrategy,
    SingleDeviceStrategy,
)

__all__ = [
    'BaseStrategy',
    'ColossalAIStrategy',
    'DDPStrategy',
    'DeepSpeedStrategy',
    'FSDPStrategy',
    'SingleDeviceStrategy',
]
