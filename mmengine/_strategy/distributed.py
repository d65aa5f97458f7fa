"""API path of :mod:`mmengine.strategy.distributed`."""

from mmengine.strategy.distributed import DDPStrategy

__all__ = ['DDPStrategy']
