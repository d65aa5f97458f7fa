"""Training engine for PyTorch."""

from mmengine.version import __version__, version_info

__all__ = ['__version__', 'version_info']
