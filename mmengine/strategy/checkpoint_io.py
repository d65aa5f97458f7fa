"""CheckpointIO: writes, finds, reads and removes checkpoints."""

from __future__ import annotations

import os
import shutil
from abc import ABC, abstractmethod
from typing import Any

from mmengine._checkpoint.files import (
    LAST_CHECKPOINT,
    find_latest_checkpoint,
    is_remote,
    read_checkpoint,
    save_checkpoint,
)
from mmengine._checkpoint.loader import CheckpointLoader
from mmengine._checkpoint.plain import plain_checkpoint
from mmengine._checkpoint.validation_record import RECORD_SUFFIX, merge_record
from mmengine.fileio import atomic_write, get_file_backend

Checkpoint = dict[str, Any]
BackendArgs = dict[str, Any] | None


class CheckpointIO(ABC):
    """Access to the checkpoints of a strategy. A checkpoint is one file, or one folder.

    A strategy has a ``CheckpointIO`` as ``strategy.io`` and coordinates the ranks: only rank 0
    calls the methods that write.
    """

    @abstractmethod
    def write(self, checkpoint: Checkpoint, path: str, backend_args: BackendArgs = None) -> None:
        """Write ``checkpoint`` to ``path``; a crash leaves the old or the complete new file."""

    @abstractmethod
    def read(self, path: str, map_location: Any = None) -> Checkpoint:
        """The checkpoint at ``path``, with its validation record merged into it."""

    @abstractmethod
    def write_record(self, record: Checkpoint, path: str, backend_args: BackendArgs = None) -> None:
        """Write the changes of a validation, without tensors, next to the checkpoint ``path``."""

    @abstractmethod
    def link(self, source: str, target: str, backend_args: BackendArgs = None) -> None:
        """Make ``target`` another name for the checkpoint ``source``, or a copy of it."""

    @abstractmethod
    def exists(self, path: str, backend_args: BackendArgs = None) -> bool:
        """Whether there is a checkpoint at ``path``."""

    @abstractmethod
    def remove(self, path: str, backend_args: BackendArgs = None) -> None:
        """Remove the checkpoint ``path`` and its record, if they exist."""

    @abstractmethod
    def newest(self, work_dir: str) -> str | None:
        """The checkpoint from which a run in ``work_dir`` resumes; None if there is none."""

    @abstractmethod
    def mark_newest(self, work_dir: str, path: str) -> None:
        """Make :meth:`newest` return ``path`` from now on."""


class FileCheckpointIO(CheckpointIO):
    """One file per checkpoint, written by ``torch.save`` to a local disk or a file backend."""

    def write(self, checkpoint: Checkpoint, path: str, backend_args: BackendArgs = None) -> None:
        """Write the file atomically, and remove the record of the file that it replaces."""
        save_checkpoint(plain_checkpoint(checkpoint), path, backend_args=backend_args)
        self._remove_file(path + RECORD_SUFFIX, backend_args)

    def read(self, path: str, map_location: Any = None) -> Checkpoint:
        """Read with the loader for the prefix of ``path``; no code in the file is executed."""
        checkpoint = CheckpointLoader.load_checkpoint(path, map_location=map_location)
        record = os.path.expanduser(path) + RECORD_SUFFIX
        if not is_remote(path) and os.path.isfile(record):
            merge_record(checkpoint, read_checkpoint(record, 'cpu'))
        elif is_remote(path) and _can_be_asked(path) and get_file_backend(path).isfile(record):
            merge_record(checkpoint, CheckpointLoader.load_checkpoint(record, map_location='cpu'))
        return checkpoint  # type: ignore[no-any-return]  # what the file holds

    def write_record(self, record: Checkpoint, path: str, backend_args: BackendArgs = None) -> None:
        """Write the record as one small file."""
        save_checkpoint(plain_checkpoint(record), path + RECORD_SUFFIX, backend_args=backend_args)

    def link(self, source: str, target: str, backend_args: BackendArgs = None) -> None:
        """Create a hard link, or a copy if the file system does not support links."""
        self._remove_file(target + RECORD_SUFFIX, backend_args)
        if backend_args or is_remote(source):
            backend = get_file_backend(target, backend_args=backend_args)
            backend.copyfile(source, target)
            return
        draft = f'{target}.{os.getpid()}.tmp'
        try:
            os.link(source, draft)
        except OSError:  # another file system, or one without links
            shutil.copyfile(source, draft)
        os.replace(draft, target)

    def exists(self, path: str, backend_args: BackendArgs = None) -> bool:
        """Whether the file exists."""
        return bool(get_file_backend(path, backend_args=backend_args).isfile(path))

    def remove(self, path: str, backend_args: BackendArgs = None) -> None:
        """Remove the file, then its record."""
        self._remove_file(path, backend_args)
        self._remove_file(path + RECORD_SUFFIX, backend_args)

    def newest(self, work_dir: str) -> str | None:
        """The path in the file ``last_checkpoint``."""
        return find_latest_checkpoint(work_dir)

    def mark_newest(self, work_dir: str, path: str) -> None:
        """Write the file ``last_checkpoint``."""
        with atomic_write(os.path.join(work_dir, LAST_CHECKPOINT)) as file:
            file.write(path.encode())

    @staticmethod
    def _remove_file(path: str, backend_args: BackendArgs) -> None:
        backend = get_file_backend(path, backend_args=backend_args)
        if backend.isfile(path):
            backend.remove(path)


def _can_be_asked(path: str) -> bool:
    """Whether a file backend handles ``path``: zoo names and web servers have no records."""
    scheme = path.split('://', 1)[0]
    return scheme not in ('http', 'https', 'modelzoo', 'torchvision', 'open-mmlab', 'openmmlab',
                          'mmcls', 'pavi')  # fmt: skip
