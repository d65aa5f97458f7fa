"""API path of :func:`mmengine.device.autocast`."""

from mmengine.device import autocast

__all__ = ['autocast']
