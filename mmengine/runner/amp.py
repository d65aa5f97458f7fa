"""Public path of :func:`mmengine.device._autocast`."""

from mmengine.device import autocast

__all__ = ['autocast']
