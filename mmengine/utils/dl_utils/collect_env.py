"""API path of :func:`mmengine.device._environment.collect_env`."""

from mmengine.device._environment import collect_env
from mmengine.utils._toolkits import _get_cuda_home, _get_musa_home

__all__ = ['_get_cuda_home', '_get_musa_home', 'collect_env']
