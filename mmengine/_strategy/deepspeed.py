"""API path of :mod:`mmengine.strategy.deepspeed`."""

from mmengine.strategy.deepspeed import (
    DeepSpeedOptimWrapper,
    DeepSpeedStrategy,
    MMDeepSpeedEngineWrapper,
    register_deepspeed_optimizers,
)

__all__ = [
    'DeepSpeedOptimWrapper',
    'DeepSpeedStrategy',
    'MMDeepSpeedEngineWrapper',
    'register_deepspeed_optimizers',
]
