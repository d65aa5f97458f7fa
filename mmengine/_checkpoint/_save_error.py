"""CheckpointSaveError: a checkpoint could not be written, and what is missing."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

_FULL = {errno.ENOSPC, getattr(errno, 'EDQUOT', errno.ENOSPC)}


class CheckpointSaveError(OSError):
    """A checkpoint could not be written. Files that were there before are whole."""

    def __str__(self) -> str:
        return f'{self.filename}: {self.strerror}'


def explained(error: Exception, checkpoint: Any, path: str | Path) -> Exception:
    """The error to raise for ``error``, which came while ``checkpoint`` was written to ``path``.

    For a full disk, it says how much space the file needs, and how much there is.
    """
    cause = next((one for one in _chain(error) if isinstance(one, OSError)), None)
    if cause is None or cause.errno not in _FULL:
        return error
    folder = os.path.dirname(os.path.abspath(path))
    what = 'the disk is full' if cause.errno == errno.ENOSPC else 'the disk quota is used up'
    return CheckpointSaveError(
        cause.errno,
        f'{what}: the checkpoint needs {_written_size(checkpoint):,} bytes, and '
        f'{shutil.disk_usage(folder).free:,} are free in {folder}. Earlier checkpoints are whole. '
        'Free some space, or let CheckpointHook keep fewer files (max_keep_ckpts).',
        str(path),
    )


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """``error`` and those that it came from; torch raises another one while it closes the file."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


class _Counter:
    """A file that only counts."""

    def __init__(self) -> None:
        self.size = 0

    def write(self, data: Any) -> int:
        length = len(memoryview(data).cast('B')) if not isinstance(data, bytes) else len(data)
        self.size += length
        return length

    def flush(self) -> None:
        """Nothing waits."""


def _written_size(checkpoint: Any) -> int:
    counter = _Counter()
    torch.save(checkpoint, counter)  # type: ignore[arg-type]  # torch only writes to it
    return counter.size
