"""The trackers under the path that projects import them from."""

from .backends import BaseVisBackend, LocalVisBackend, TensorboardVisBackend, force_init_env

__all__ = ['BaseVisBackend', 'LocalVisBackend', 'TensorboardVisBackend', 'force_init_env']
