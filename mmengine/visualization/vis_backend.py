"""The trackers under the path that projects import them from."""

from .backends import (
    AimVisBackend,
    BaseVisBackend,
    ClearMLVisBackend,
    DVCLiveVisBackend,
    LocalVisBackend,
    MLflowVisBackend,
    NeptuneVisBackend,
    TensorboardVisBackend,
    WandbVisBackend,
    force_init_env,
)

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
