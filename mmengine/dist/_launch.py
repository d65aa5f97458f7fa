"""Join the process group: read what the launcher set for this process, then join."""

from __future__ import annotations

import atexit
import datetime
import gc
import importlib
import os
import re
import sys
import threading
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as torch_dist

from mmengine.dist._start_store import store_of_start
from mmengine.utils.errors import ArgumentError, did_you_mean

_DEFAULT_PORT = 29500
# How long a process that failed waits for operations of the group.
_END_AFTER_ERROR_S = 5.0
# Backends for accelerators, and the torch module of those accelerators.
BACKEND_DEVICES = {
    'nccl': 'cuda',
    'smddp': 'cuda',
    'hccl': 'npu',
    'cncl': 'mlu',
    'mccl': 'musa',
    'xccl': 'xpu',
}
# Set when joining, for groups that are made later.
group_timeout: datetime.timedelta | None = None
# The default group, held until `_end_group`.
_held_group: Any = None
_ending: _Ending | None = None
_DEVICE_PLUGINS = {'npu': 'torch_npu', 'mlu': 'torch_mlu', 'musa': 'torch_musa'}


@dataclass(frozen=True)
class _RankInfo:
    """Position of this process among all processes of the run."""

    rank: int
    world_size: int
    local_rank: int
    master_addr: str
    master_port: int

    def export(self) -> None:
        """Set the environment variables that torch and other libraries read."""
        os.environ.update(
            RANK=str(self.rank),
            WORLD_SIZE=str(self.world_size),
            LOCAL_RANK=str(self.local_rank),
            MASTER_ADDR=self.master_addr,
            MASTER_PORT=str(self.master_port),
        )


def infer_launcher() -> str:
    """The launcher of this process, from environment variables; ``'none'`` without a launcher."""
    for variable, launcher in (
        ('WORLD_SIZE', 'pytorch'),
        ('SLURM_NTASKS', 'slurm'),
        ('OMPI_COMM_WORLD_LOCAL_RANK', 'mpi'),
    ):
        if variable in os.environ:
            return launcher
    return 'none'


def init_dist(
    launcher: str, backend: str = 'nccl', init_backend: str = 'torch', **kwargs: Any
) -> None:
    """Join the process group of the run. Every rank calls this once, before any communication.

    Args:
        launcher: What started the processes: ``'pytorch'`` (torchrun), ``'slurm'`` (srun) or
            ``'mpi'`` (mpirun).
        backend: Communication library: ``'nccl'`` between NVIDIA GPUs, ``'gloo'`` between CPUs, or
            another one that torch supports. A backend of accelerators also makes the one of this
            rank the current device.
        init_backend: Library that makes the group: ``'torch'``, ``'deepspeed'`` or
            ``'colossalai'``.
        kwargs: Further arguments of ``torch.distributed.init_process_group``. ``timeout`` may be
            given in seconds: a collective operation that takes longer is an error. For slurm also
            ``port``.

    Raises:
        ArgumentError: If the launcher, ``init_backend`` or ``timeout`` is not a valid choice.
        KeyError: If the launcher did not set a required environment variable.
        RuntimeError: If the backend needs an accelerator that is missing.
    """
    if launcher == 'pytorch':
        _init_dist_pytorch(backend, init_backend=init_backend, **kwargs)
    elif launcher == 'slurm':
        _init_dist_slurm(backend, init_backend=init_backend, **kwargs)
    elif launcher == 'mpi':
        _init_dist_mpi(backend, init_backend=init_backend, **kwargs)
    else:
        known = ('pytorch', 'slurm', 'mpi')
        raise ArgumentError(
            f'launcher must be one of {", ".join(known)}, got {launcher!r}.'
            f'{did_you_mean(str(launcher), known)} A run of one process needs no init_dist.'
        )


def _init_dist_pytorch(backend: str, init_backend: str = 'torch', **kwargs: Any) -> None:
    """Join as a process that torchrun started."""
    _join(_rank_info_from_torchrun(os.environ), backend, init_backend, kwargs)


def _init_dist_slurm(
    backend: str, port: int | None = None, init_backend: str = 'torch', **kwargs: Any
) -> None:
    """Join as a task that srun started."""
    _join(_rank_info_from_slurm(os.environ, port), backend, init_backend, kwargs)


def _init_dist_mpi(backend: str, **kwargs: Any) -> None:
    """Join as a process that mpirun started."""
    init_backend = kwargs.pop('init_backend', 'torch')
    _join(_rank_info_from_mpi(os.environ), backend, init_backend, kwargs)


def _rank_info_from_torchrun(env: Mapping[str, str]) -> _RankInfo:
    hint = 'Start the run with torchrun, as in: torchrun --nproc-per-node=2 train.py'
    return _RankInfo(
        rank=_int_of(env, 'RANK', hint),
        world_size=_int_of(env, 'WORLD_SIZE', hint),
        local_rank=_int_of(env, 'LOCAL_RANK', hint),
        master_addr=env.get('MASTER_ADDR', '127.0.0.1'),
        master_port=int(env.get('MASTER_PORT', _DEFAULT_PORT)),
    )


def _rank_info_from_slurm(env: Mapping[str, str], port: int | None) -> _RankInfo:
    hint = 'Start the run with srun, as in: srun --ntasks=2 python train.py'
    rank = _int_of(env, 'SLURM_PROCID', hint)
    master_addr = env.get('MASTER_ADDR')
    if master_addr is None:
        names = ('SLURM_STEP_NODELIST', 'SLURM_NODELIST', 'SLURM_JOB_NODELIST')
        nodes = next((env[name] for name in names if env.get(name)), None)
        if nodes is None:
            raise KeyError(f'None of {", ".join(names)} is set. {hint}')
        master_addr = _first_host(nodes)
    if port is None:
        port = int(env['MASTER_PORT']) if 'MASTER_PORT' in env else _slurm_port(env)
    local_rank = env.get('SLURM_LOCALID')
    if local_rank is None:
        local_rank = str(rank % max(torch.cuda.device_count(), 1))
    return _RankInfo(
        rank, _int_of(env, 'SLURM_NTASKS', hint), int(local_rank), master_addr, int(port)
    )


def _slurm_port(env: Mapping[str, str]) -> int:
    """A port that all tasks compute alike, and that other jobs on the node do not choose."""
    # Testing whether a port is free does not work: the first rank may have opened it already.
    job = env.get('SLURM_JOB_ID')
    if job is None or not job.isdigit():
        return _DEFAULT_PORT
    step = env.get('SLURM_STEP_ID', '0')
    # Below 32768, because Linux uses higher ports for outgoing connections.
    return 20000 + (int(job) + 997 * (int(step) if step.isdigit() else 0)) % 12000


def _first_host(nodes: str) -> str:
    """The first host of Slurm's short form: ``gpu[03-05,9],cpu1`` gives ``gpu03``."""
    first = re.split(r',(?![^\[]*\])', nodes, maxsplit=1)[0]
    return re.sub(r'\[(\w+)[^\]]*\]', r'\1', first)


def _rank_info_from_mpi(env: Mapping[str, str]) -> _RankInfo:
    # Open MPI; MPICH and Intel MPI; MVAPICH.
    families = (
        ('OMPI_COMM_WORLD_RANK', 'OMPI_COMM_WORLD_SIZE', 'OMPI_COMM_WORLD_LOCAL_RANK'),
        ('PMI_RANK', 'PMI_SIZE', 'MPI_LOCALRANKID'),
        ('MV2_COMM_WORLD_RANK', 'MV2_COMM_WORLD_SIZE', 'MV2_COMM_WORLD_LOCAL_RANK'),
    )
    names = next((family for family in families if family[2] in env), families[0])
    hint = 'Start the run with mpirun, as in: mpirun -np 2 python train.py'
    rank, world_size, local_rank = (_int_of(env, name, hint) for name in names)
    if 'MASTER_ADDR' not in env and int(env.get('OMPI_COMM_WORLD_LOCAL_SIZE', -1)) != world_size:
        raise KeyError(
            'MASTER_ADDR is not set, and mpirun does not tell the host of rank 0. '
            'Set it, as in: mpirun -x MASTER_ADDR=$(hostname) ...'
        )
    return _RankInfo(
        rank,
        world_size,
        local_rank,
        env.get('MASTER_ADDR', '127.0.0.1'),
        int(env.get('MASTER_PORT', _DEFAULT_PORT)),
    )


def _int_of(env: Mapping[str, str], name: str, hint: str) -> int:
    if name not in env:
        raise KeyError(f'The environment variable {name} is not set. {hint}')
    try:
        return int(env[name])
    except ValueError:
        raise ArgumentError(
            f'The environment variable {name} must be a whole number, got {env[name]!r}.'
        ) from None


def _join(place: _RankInfo, backend: str, init_backend: str, kwargs: dict[str, Any]) -> None:
    global group_timeout
    options = dict(kwargs)
    group_timeout = None
    if options.get('timeout') is None:
        options.pop('timeout', None)
    else:
        group_timeout = options['timeout'] = _as_timedelta(options['timeout'])
    place.export()
    _use_device(place.local_rank, backend)
    # Its functions keep the group that exists when it is first imported as a default argument, and
    # with it the group's threads, for ever. DistributedDataParallel imports it.
    importlib.import_module('torch.distributed.nn.functional')
    if init_backend == 'torch':
        if not {'init_method', 'store'} & set(options):
            address = place.master_addr, place.master_port
            options['store'] = store_of_start(place.rank, place.world_size, *address, group_timeout)
        torch_dist.init_process_group(
            backend=backend, rank=place.rank, world_size=place.world_size, **options
        )
    elif init_backend == 'deepspeed':
        _import('deepspeed').init_distributed(dist_backend=backend, **options)
    elif init_backend == 'colossalai':
        _import('colossalai').launch(
            rank=place.rank,
            world_size=place.world_size,
            host=place.master_addr,
            port=place.master_port,
            local_rank=place.local_rank,
            backend=backend,
            **options,
        )
    else:
        known = ('torch', 'deepspeed', 'colossalai')
        raise ArgumentError(
            f'init_backend must be one of {", ".join(known)}, got {init_backend!r}.'
            f'{did_you_mean(str(init_backend), known)}'
        )
    if 'gloo' in backend:
        end_group_at_exit()


def end_group_at_exit() -> None:
    """Let the threads of gloo end while the interpreter still runs.

    Such a thread takes the interpreter's lock to release the tensors of its last operation. On a
    busy machine it may be late, and a thread that asks for the lock while the interpreter shuts
    down ends the process with SIGABRT: a run that succeeded would exit as one that failed.
    """
    global _held_group, _ending
    _held_group = torch_dist.group.WORLD
    atexit.unregister(_end_group)
    if _ending is None or not _ending.thread.is_alive():  # a forked process has no threads
        _ending = _Ending()
    atexit.register(_end_group, _ending)


class _Ending:
    """A thread that ends the group on request: none can be started as late as that."""

    def __init__(self) -> None:
        self.is_due = threading.Event()
        self.thread = threading.Thread(target=self._end, name='group-ending', daemon=True)
        self.thread.start()

    def _end(self) -> None:
        self.is_due.wait()
        _destroy_group()


def _end_group(ending: _Ending) -> None:
    if getattr(sys, 'last_value', None) is None:
        _destroy_group()
        return
    # An error ended this process. Its traceback holds the model, and that holds the group.
    traceback.clear_frames(sys.last_traceback)
    # An operation that waits for a rank which is gone would not end.
    ending.is_due.set()
    ending.thread.join(_END_AFTER_ERROR_S)


def _destroy_group() -> None:
    global _held_group
    if torch_dist.is_initialized():
        torch_dist.destroy_process_group()
    for thing in gc.get_objects():
        # A model in a variable of the script lives on, and its reducer holds the group.
        if issubclass(type(thing), torch.nn.parallel.DistributedDataParallel):
            for name in ('reducer', 'logger', 'process_group'):
                thing.__dict__.pop(name, None)
    gc.collect()  # a wrapped model that still holds the group is often part of a reference cycle
    # The last reference goes here: a wrapped model would keep the interpreter's lock while it waits
    # for a thread that needs that lock.
    _held_group = None


def _as_timedelta(timeout: Any) -> datetime.timedelta:
    if isinstance(timeout, datetime.timedelta):
        return timeout
    if isinstance(timeout, bool) or not isinstance(timeout, (int, float)):
        raise TypeError(
            f'timeout must be a number of seconds or a timedelta, got {type(timeout).__name__}.'
        )
    if not timeout > 0:
        raise ArgumentError(f'timeout must be a positive number of seconds, got {timeout}.')
    return datetime.timedelta(seconds=timeout)


def _use_device(local_rank: int, backend: str) -> None:
    """Make the accelerator of this rank the current one, if ``backend`` is of that kind."""
    kinds = [kind for name, kind in BACKEND_DEVICES.items() if name in backend]
    if not kinds:
        # With a backend of the CPU each rank may still use one GPU.
        if torch.cuda.is_available():
            torch.cuda.set_device(local_rank % torch.cuda.device_count())
        return
    kind = kinds[0]
    if kind in _DEVICE_PLUGINS:
        _import(_DEVICE_PLUGINS[kind])
    accelerator = getattr(torch, kind, None)
    if accelerator is None or not accelerator.is_available():
        raise RuntimeError(
            f'The backend {backend!r} needs a {kind} device, and this machine has none. '
            "For CPUs choose 'gloo': env_cfg=dict(dist_cfg=dict(backend='gloo'))."
        )
    count = accelerator.device_count()
    if local_rank >= count:
        raise RuntimeError(
            f'Local rank {local_rank} needs {kind} device {local_rank}, but there are only '
            f'{count} here. Start at most {count} processes a machine.'
        )
    accelerator.set_device(local_rank)


def _import(package: str) -> Any:
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise ImportError(
            f'This way of joining the process group needs {package}: pip install {package}'
        ) from error
