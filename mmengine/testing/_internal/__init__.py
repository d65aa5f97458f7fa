"""What our own tests and those of projects need to start processes."""

from mmengine.testing._internal.distributed import MultiProcessTestCase

__all__ = ['MultiProcessTestCase']
