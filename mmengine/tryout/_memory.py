"""Memory of this process and its device: the limit, the peak, and the errors for too little."""

from __future__ import annotations

import gc
import os
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

resource: ModuleType | None
try:
    import resource
except ImportError:  # Windows
    resource = None

_PHRASES = (
    'out of memory', "can't allocate memory", 'not enough memory', 'CUBLAS_STATUS_ALLOC_FAILED',
    'std::bad_alloc', 'could not create a memory', 'could not create a primitive',
)  # fmt: skip
_CGROUP = Path('/sys/fs/cgroup')


class Memory:
    """The memory in which training steps on ``device`` must fit.

    On CUDA this is the memory that torch allocates on the device; on the CPU, the whole process.

    Args:
        device: Of the model.
        limit: In bytes; None for what there is.
    """

    def __init__(self, device: torch.device, limit: int | None = None) -> None:
        self._device = device
        self._is_given = limit is not None
        self.limit = limit or (self._device_total() if device.type == 'cuda' else host_limit())

    @contextmanager
    def limited(self) -> Iterator[None]:
        """Let allocations beyond the limit fail in this context, where the system can do that."""
        if self._device.type != 'cuda':
            with _limited_process(self.limit):
                yield
            return
        if not self._is_given:
            yield
            return
        share = min(self.limit / self._device_total(), 1.0)
        torch.cuda.set_per_process_memory_fraction(share, self._device)
        try:
            yield
        finally:
            torch.cuda.set_per_process_memory_fraction(1.0, self._device)

    def used(self) -> int:
        """What is in use now, in bytes."""
        if self._device.type == 'cuda':
            return int(torch.cuda.memory_allocated(self._device))
        return _status('VmRSS') or 0

    def begin(self) -> None:
        """Begin to look for the peak."""
        if self._device.type == 'cuda':
            torch.cuda.reset_peak_memory_stats(self._device)
        else:
            # The system keeps the highest value of the whole process, except if it is reset.
            _write('/proc/self/clear_refs', '5')

    def peak(self) -> int | None:
        """The highest use since :meth:`begin`, in bytes; None where it cannot be measured."""
        if self._device.type == 'cuda':
            return int(torch.cuda.max_memory_allocated(self._device))
        return _status('VmHWM') or _max_rss()

    def free(self) -> None:
        """Give back what nobody uses, after an error that may hold it in a cycle."""
        gc.collect()
        if self._device.type == 'cuda':
            torch.cuda.empty_cache()

    def _device_total(self) -> int:
        return int(torch.cuda.get_device_properties(self._device).total_memory)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether ``error`` says that there is too little memory."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(words in str(error) for words in _PHRASES)


def forget_frames(error: BaseException) -> None:
    """Release the tensors of the code that has raised ``error``."""
    traceback.clear_frames(error.__traceback__)


def host_limit() -> int:
    """The most memory that this process may come to have, in bytes: what it has and what is free.

    The limit of a container counts.
    """
    own = _status('VmRSS') or _max_rss() or 0
    limits = []
    available = _meminfo('MemAvailable')
    if available is not None:
        limits.append(own + available)
    for maximum, present in (
        (_CGROUP / 'memory.max', _CGROUP / 'memory.current'),
        (_CGROUP / 'memory/memory.limit_in_bytes', _CGROUP / 'memory/memory.usage_in_bytes'),
    ):
        total, used = _number(maximum), _number(present)
        if total is not None and used is not None:
            limits.append(own + max(total - used, 0))
    if not limits and hasattr(os, 'sysconf'):
        limits.append(os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES'))
    return min(limits, default=sys.maxsize)


@contextmanager
def _limited_process(limit: int) -> Iterator[None]:
    """Let the system refuse memory beyond ``limit``; otherwise it ends the process."""
    size, own = _status('VmSize'), _status('VmRSS')
    if resource is None or size is None or own is None or limit >= sys.maxsize:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    wanted = size + max(limit - own, 0)
    for bound in (soft, hard):
        if bound != resource.RLIM_INFINITY:
            wanted = min(wanted, bound)
    resource.setrlimit(resource.RLIMIT_AS, (wanted, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _status(name: str) -> int | None:
    return _kilobytes('/proc/self/status', name)


def _meminfo(name: str) -> int | None:
    return _kilobytes('/proc/meminfo', name)


def _kilobytes(path: str, name: str) -> int | None:
    try:
        lines = Path(path).read_text(encoding='utf-8').splitlines()
    except OSError:
        return None
    found = (line.split() for line in lines if line.startswith(f'{name}:'))
    return next((int(words[1]) * 1024 for words in found), None)


def _number(path: Path) -> int | None:
    try:
        text = path.read_text(encoding='utf-8').strip()
    except OSError:
        return None
    return int(text) if text.isdigit() else None


def _write(path: str, text: str) -> None:
    try:
        Path(path).write_text(text, encoding='utf-8')
    except OSError:
        return  # the peak then includes the process so far


def _max_rss() -> int | None:
    if resource is None:
        return None
    usage: Any = resource.getrusage(resource.RUSAGE_SELF)
    return int(usage.ru_maxrss) * (1 if sys.platform == 'darwin' else 1024)
