"""What a run shows: a visualizer, and the trackers that keep what it is given."""

from .vis_backend import (
    AimVisBackend,
    BaseVisBackend,
    ClearMLVisBackend,
    DVCLiveVisBackend,
    LocalVisBackend,
    MLflowVisBackend,
    NeptuneVisBackend,
    TensorboardVisBackend,
    WandbVisBackend,
)
from .visualizer import Visualizer

__all__ = [
    'AimVisBackend',
    'BaseVisBackend',
    'ClearMLVisBackend',
    'DVCLiveVisBackend',
    'LocalVisBackend',
    'MLflowVisBackend',
    'NeptuneVisBackend',
    'TensorboardVisBackend',
    'Visualizer',
    'WandbVisBackend',
]
