"""API path of :class:`mmengine.logging._time_counter.TimeCounter`."""

from mmengine.logging._time_counter import TimeCounter

__all__ = ['TimeCounter']
