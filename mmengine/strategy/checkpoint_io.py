"""How checkpoints are written, found, read and removed: :class:`CheckpointIO`."""

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
from mmengine.fileio import get_file_backend
from mmengine.fileio.atomic import atomic_write

Checkpoint = dict[str, Any]
BackendArgs = dict[str, Any] | None


class CheckpointIO(ABC):
    """Where the checkpoints of a strategy are: one file each, or a folder each.

    A strategy has one as ``strategy.io``. What all ranks do together is the strategy's matter: rank
    0 alone calls the methods that write.
    """

    @abstractmethod
    def write(self, checkpoint: Checkpoint, path: str, backend_args: BackendArgs = None) -> None:
        """Write ``checkpoint`` to ``path``; a crash leaves the old one or the whole new one."""

    @abstractmethod
    def read(self, path: str, map_location: Any = None) -> Checkpoint:
        """The checkpoint at ``path``, with its validation record merged into it."""

    @abstractmethod
    def write_record(self, record: Checkpoint, path: str, backend_args: BackendArgs = None) -> None:
        """Write what a validation changed beside the checkpoint ``path``, without its tensors."""

    @abstractmethod
    def link(self, source: str, target: str, backend_args: BackendArgs = None) -> None:
        """Make ``target`` another name of the checkpoint ``source``, or a copy of it."""

    @abstractmethod
    def exists(self, path: str, backend_args: BackendArgs = None) -> bool:
        """Whether there is a checkpoint at ``path``."""

    @abstractmethod
    def remove(self, path: str, backend_args: BackendArgs = None) -> None:
        """Remove the checkpoint ``path`` and its record; do nothing where there is none."""

    @abstractmethod
    def newest(self, work_dir: str) -> str | None:
        """The checkpoint from which a run in ``work_dir`` goes on; None without one."""

    @abstractmethod
    def mark_newest(self, work_dir: str, path: str) -> None:
        """Let :meth:`newest` answer ``path`` from now on."""


class FileCheckpointIO(CheckpointIO):
    """One file a checkpoint, written by ``torch.save``, on a local disk or through a backend."""

    def write(self, checkpoint: Checkpoint, path: str, backend_args: BackendArgs = None) -> None:
        """Write the file whole or not at all, and remove the record of an older file."""
        save_checkpoint(plain_checkpoint(checkpoint), path, backend_args=backend_args)
        self._remove_file(path + RECORD_SUFFIX, backend_args)

    def read(self, path: str, map_location: Any = None) -> Checkpoint:
        """Read by the scheme of ``path``; nothing in the file is executed."""
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
        """A hard link where the file system has them."""
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
        """Whether the file is there."""
        return bool(get_file_backend(path, backend_args=backend_args).isfile(path))

    def remove(self, path: str, backend_args: BackendArgs = None) -> None:
        """Remove the file, then its record."""
        self._remove_file(path, backend_args)
        self._remove_file(path + RECORD_SUFFIX, backend_args)

    def newest(self, work_dir: str) -> str | None:
        """What the file ``last_checkpoint`` names."""
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
    """Whether a file backend serves ``path``: zoo names and web servers have no records."""
    scheme = path.split('://', 1)[0]
    return scheme not in ('http', 'https', 'modelzoo', 'torchvision', 'open-mmlab', 'openmmlab',
                          'mmcls', 'pavi')  # fmt: skip
