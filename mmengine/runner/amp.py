"""Where the MMEngine API has :func:`mmengine.device.autocast`."""

from mmengine.device import autocast

__all__ = ['autocast']
