"""API path of :mod:`mmengine.strategy.colossalai`."""

from mmengine.strategy.colossalai import (
    ColossalAIModelWrapper,
    ColossalAIOptimWrapper,
    ColossalAIStrategy,
)

__all__ = ['ColossalAIModelWrapper', 'ColossalAIOptimWrapper', 'ColossalAIStrategy']
