"""API path of :mod:`mmengine.strategy.base`."""

from mmengine.strategy.base import BaseStrategy

__all__ = ['BaseStrategy']
