"""API path of the trackers of :mod:`mmengine.visualization._backends`."""

from ._backends import (
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
