"""API path of :mod:`mmengine.strategy.fsdp`."""

from mmengine.strategy.fsdp import FSDPStrategy

__all__ = ['FSDPStrategy']
