"""The process a run lives in: start method of workers, file limits, process group, clock."""

import logging
import math
import multiprocessing
import os
import platform
import sys
import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

import torch

from mmengine.device import get_device
from mmengine.dist import broadcast, get_dist_info, infer_launcher, init_dist, is_distributed
from mmengine.logging import print_log
from mmengine.utils._settings import check_keys
from mmengine.utils.dl_utils import collect_env, set_multi_processing
from mmengine.utils.errors import ArgumentError, did_you_mean

LAUNCHERS = ('none', 'pytorch', 'slurm', 'mpi')
_DEFAULT_OPEN_FILES = 4096
_latest_moment = 0


def check_launcher(launcher: str | None) -> str:
    """``launcher`` itself; None is worked out from the environment variables that launchers set.

    Raises:
        ArgumentError: If it is not one of none, pytorch, slurm and mpi.
    """
    launcher = infer_launcher() if launcher is None else launcher
    if launcher not in LAUNCHERS:
        raise ArgumentError(f'launcher is one of {", ".join(LAUNCHERS)}; got {launcher!r}.')
    return launcher


def worker_settings(mp_cfg: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of data workers, from ``mp_cfg`` and the defaults.

    Raises:
        ArgumentError: If a key or the start method is unknown.
    """
    settings = {'mp_start_method': 'fork', 'opencv_num_threads': 0, **mp_cfg}
    check_keys('env_cfg.mp_cfg', mp_cfg, ('mp_start_method', 'opencv_num_threads'))
    methods = multiprocessing.get_all_start_methods()
    method = settings['mp_start_method']
    if sys.platform != 'win32' and method not in methods:
        raise ArgumentError(
            f'mp_start_method is one of {", ".join(methods)}; got {method!r}.'
            f'{did_you_mean(str(method), methods, limit=1)}'
        )
    return settings


def setup_process(
    launcher: str,
    *,
    cudnn_benchmark: bool = False,
    mp_cfg: dict[str, Any] | None = None,
    dist_cfg: dict[str, Any] | None = None,
    resource_limit: int | None = None,
) -> None:
    """Prepare this process, and join the process group when a launcher started it.

    Args:
        launcher: Who started the process.
        cudnn_benchmark: Let cuDNN time its kernels and keep the fastest.
        mp_cfg: ``mp_start_method`` and ``opencv_num_threads`` of the data workers.
        dist_cfg: ``backend`` and anything else for ``init_process_group``; ``timeout`` in seconds
            or a timedelta.
        resource_limit: How many files the process may hold open (POSIX only).
    """
    if cudnn_benchmark:
        torch.backends.cudnn.benchmark = True
    _raise_open_file_limit(resource_limit)
    mp_settings = worker_settings(mp_cfg or {})
    if launcher == 'none':
        set_multi_processing(**mp_settings, distributed=False)
        return
    set_multi_processing(**mp_settings, distributed=True)
    if not is_distributed():
        init_dist(launcher, **_resolve_dist_cfg(dist_cfg or {}))


def synced_timestamp(now: float | None = None) -> str:
    """``%Y%m%d_%H%M%S`` of the moment rank 0 asks, the same on every rank.

    It names a run's folder, logger and message hub. So a run that is started within the second of
    another one of this process gets the next second.
    """
    global _latest_moment
    _latest_moment = max(math.floor(time.time() if now is None else now), _latest_moment + 1)
    moment = torch.tensor(_latest_moment, dtype=torch.float64)
    _, world_size = get_dist_info()
    if world_size > 1:
        moment = moment.to(_float64_device())
        broadcast(moment)
    return time.strftime('%Y%m%d_%H%M%S', time.localtime(moment.item()))


def describe_environment(run_settings: dict[str, Any]) -> str:
    """The system and the run's own settings, two titled lists for the head of a log."""
    rule = '-' * 60
    system = ''.join(f'\n    {key}: {value}' for key, value in collect_env().items())
    runtime = ''.join(f'\n    {key}: {value}' for key, value in run_settings.items())
    return f'\n{rule}\nSystem environment:{system}\n\nRuntime environment:{runtime}\n{rule}\n'


def _resolve_dist_cfg(dist_cfg: dict[str, Any]) -> dict[str, Any]:
    settings = dict(dist_cfg)
    backend = settings.get('backend', 'nccl')
    if backend == 'nccl' and not torch.cuda.is_available() and get_device() == 'cpu':
        # The API's default is nccl; on a machine without accelerator gloo is what can work.
        settings['backend'] = 'gloo'
    if isinstance(settings.get('timeout'), (int, float)):
        settings['timeout'] = timedelta(seconds=settings['timeout'])
    return settings


def _raise_open_file_limit(limit: int | None) -> None:
    """Workers that share tensors need many file descriptors; the hard limit is the system's."""
    if platform.system() == 'Windows':
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _DEFAULT_OPEN_FILES if limit is None else limit
    if hard != resource.RLIM_INFINITY:
        wanted = min(wanted, hard)
    if wanted <= soft:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError) as error:
        print_log(
            f'The open file limit stays at {soft}: {error}', logger='current', level=logging.WARNING
        )


def _float64_device() -> torch.device:
    """Where a float64 is when it is sent between ranks: in host memory where devices have none."""
    device = get_device()
    if device in ('npu', 'mps') or torch.distributed.get_backend() == 'gloo':
        return torch.device('cpu')
    local = int(os.environ.get('LOCAL_RANK', 0))
    return torch.device(device, local) if device != 'cpu' else torch.device('cpu')
