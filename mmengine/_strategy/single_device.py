"""API path of :mod:`mmengine.strategy.single_device`."""

from mmengine.strategy.single_device import SingleDeviceStrategy

__all__ = ['SingleDeviceStrategy']
