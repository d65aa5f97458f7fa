"""Limits of the system: shared memory, open files, cores, memory."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import torch

from mmengine.doctor._finding import OK, WARN, Finding, bytes_text
from mmengine.utils._cores import usable_cores

_AREA = 'limits'
_LITTLE_SHARED = 1e9
_FEW_FILES = 4096
_LITTLE_MEMORY = 0.1
_SHARED = Path('/dev/shm')
_CONTROL_GROUP = Path('/sys/fs/cgroup')


def check_limits() -> Iterator[Finding]:
    """Check what a container or a login often limits."""
    if _SHARED.is_dir():
        place = os.statvfs(_SHARED)
        yield shared_finding(place.f_bavail * place.f_frsize, place.f_blocks * place.f_frsize)
    if os.name == 'posix':
        import resource

        yield files_finding(*resource.getrlimit(resource.RLIMIT_NOFILE))
    yield cores_finding(
        usable_cores(), quota_of(_CONTROL_GROUP), torch.get_num_threads(),
        os.environ.get('OMP_NUM_THREADS'),
    )  # fmt: skip
    memory = memory_of(Path('/proc/meminfo'), _CONTROL_GROUP)
    if memory is not None:
        yield memory_finding(*memory)


def shared_finding(free: float, total: float) -> Finding:
    """Whether there is room for the batches that dataloader workers pass on."""
    found = f'{bytes_text(free)} of {bytes_text(total)} free in {_SHARED}'
    if free < _LITTLE_SHARED:
        advice = (
            'Start the container with --shm-size=8g (or --ipc=host)'
            if total < _LITTLE_SHARED
            else f'End the processes whose files fill it (ls -l {_SHARED})'
        )
        return Finding(_AREA, 'shared memory', WARN, found,
                       f'{advice}: workers pass batches through it.')  # fmt: skip
    return Finding(_AREA, 'shared memory', OK, found)


def files_finding(soft: int, hard: int) -> Finding:
    """Whether a process may have enough open files; -1 means without limit.

    A run raises the first limit to 4096, where the second one lets it.
    """
    soft_text, hard_text = ('no limit' if each < 0 else f'{each}' for each in (soft, hard))
    found = f'{soft_text}, can be raised to {hard_text}'
    if 0 <= hard < _FEW_FILES:
        return Finding(_AREA, 'open files', WARN, found,
                       f'Raise the hard limit to {_FEW_FILES} or more (ulimit -Hn, or '
                       'limits.conf): workers that share tensors hold many.')  # fmt: skip
    return Finding(_AREA, 'open files', OK, found)


def cores_finding(cores: int, quota: float | None, threads: int, omp: str | None) -> Finding:
    """Whether torch uses as many threads as there are cores for it.

    Args:
        cores: Cores that the process may run on.
        quota: Cores that its container may use on average; None for all.
        threads: Threads of torch.
        omp: The environment variable OMP_NUM_THREADS.
    """
    usable = cores if quota is None else min(cores, max(int(quota), 1))
    limit = '' if quota is None else f', {quota:g} by the container'
    found = f'{cores} cores{limit}; torch uses {threads} threads'
    found += '' if omp is None else f' (OMP_NUM_THREADS={omp})'
    if threads > usable:
        return Finding(_AREA, 'threads', WARN, found,
                       f'Set OMP_NUM_THREADS={usable}: more threads than cores wait for each '
                       'other.')  # fmt: skip
    return Finding(_AREA, 'threads', OK, found)


def memory_finding(free: float, total: float) -> Finding:
    """Whether there is memory left."""
    found = f'{bytes_text(free)} of {bytes_text(total)} free'
    if free < _LITTLE_MEMORY * total:
        return Finding(_AREA, 'memory', WARN, found,
                       'End other processes, or expect this one to be killed.')  # fmt: skip
    return Finding(_AREA, 'memory', OK, found)


def quota_of(control_group: Path) -> float | None:
    """The cores that the container may use; None if it is not limited."""
    with suppress(OSError, ValueError):
        limit, period = (control_group / 'cpu.max').read_text().split()
        return None if limit == 'max' else int(limit) / int(period)
    with suppress(OSError, ValueError):
        quota, every = (
            int((control_group / 'cpu' / f'cpu.cfs_{name}_us').read_text())
            for name in ('quota', 'period')
        )
        return quota / every if quota > 0 else None
    return None


def memory_of(machine: Path, control_group: Path) -> tuple[float, float] | None:
    """Free and whole memory, of the container if it has less than the machine."""
    found: tuple[float, float] | None = None
    with suppress(OSError, ValueError, KeyError, IndexError):
        lines = (line.partition(':') for line in machine.read_text().splitlines())
        values = {name: int(rest.split()[0]) * 1024 for name, _, rest in lines if rest.strip()}
        found = values['MemAvailable'], values['MemTotal']
    with suppress(OSError, ValueError):
        total, used = (
            float((control_group / f'memory.{name}').read_text()) for name in ('max', 'current')
        )
        if found is None or total < found[1]:
            found = total - used + _cache_of(control_group), total
    return found


def _cache_of(control_group: Path) -> float:
    """Bytes of files that the system keeps in memory until it is needed."""
    for line in (control_group / 'memory.stat').read_text().splitlines():
        if line.startswith('inactive_file '):
            return float(line.split()[1])
    return 0.0
