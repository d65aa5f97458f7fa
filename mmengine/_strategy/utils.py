"""API path of :mod:`mmengine.strategy.utils`."""

from mmengine.strategy.utils import MetaTensorContext

__all__ = ['MetaTensorContext']
