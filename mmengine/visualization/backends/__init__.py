"""Trackers: one file each, behind one base."""

from .base import BaseVisBackend, force_init_env
from .local import LocalVisBackend
from .tensorboard import TensorboardVisBackend

__all__ = ['BaseVisBackend', 'LocalVisBackend', 'TensorboardVisBackend', 'force_init_env']
