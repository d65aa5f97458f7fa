"""Where the MMEngine API has :func:`mmengine.device.autocast.autocast`."""

from mmengine.device.autocast import autocast

__all__ = ['autocast']
