"""Looks for what keeps a machine from training, or makes it slow."""

from mmengine.doctor._doctor import doctor
from mmengine.doctor._finding import Finding

__all__ = ['Finding', 'doctor']
