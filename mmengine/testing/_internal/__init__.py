"""What tests, ours and in projects, need to start processes."""

from mmengine.testing._internal.distributed import MultiProcessTestCase

__all__ = ['MultiProcessTestCase']
