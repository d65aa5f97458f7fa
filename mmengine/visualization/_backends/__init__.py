"""Trackers, one file each, with a common base class."""

from .aim import AimVisBackend
from .base import BaseVisBackend, force_init_env
from .clearml import ClearMLVisBackend
from .dvclive import DVCLiveVisBackend
from .local import LocalVisBackend
from .mlflow import MLflowVisBackend
from .neptune import NeptuneVisBackend
from .tensorboard import TensorboardVisBackend
from .wandb import WandbVisBackend

__all__ = [
    'AimVisBackend',
    'BaseVisBackend',
    'ClearMLVisBackend',
    'DVCLiveVisBackend',
    'LocalVisBackend',
    'MLflowVisBackend',
    'NeptuneVisBackend',
    'TensorboardVisBackend',
    'WandbVisBackend',
    'force_init_env',
]
