"""CheckpointIO: writes, finds, reads and removes checkpoints."""

from __future__ import annotations

import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any

from mmengine._checkpoint import _forms
from mmengine._checkpoint._digest import Digest
from mmengine._checkpoint._ledger import append_entry, append_folder, facts_of, read_entries
from mmengine._checkpoint._newest import newest_whole
from mmengine._checkpoint._verify import fault_of
from mmengine._checkpoint.dtensor import in_parts, whole_on_main_rank
from mmengine._checkpoint.files import (
    LAST_CHECKPOINT,
    is_remote,
    read_checkpoint,
    write_hashed,
)
from mmengine._checkpoint.folder._tree import without_plain_tensors
from mmengine._checkpoint.loader import CheckpointLoader
from mmengine._checkpoint.plain import plain_checkpoint
from mmengine._checkpoint.validation_record import RECORD_SUFFIX, merge_record
from mmengine.dist import is_main_process
from mmengine.dist._objects import group_of_threads
from mmengine.fileio import atomic_write, get_file_backend
from mmengine.logging import print_log
from mmengine.utils.errors import ArgumentError

FILE = "checkpoint=dict(format='file')"
SHARDED = "checkpoint=dict(format='sharded')"
Checkpoint = dict[str, Any]
BackendArgs = dict[str, Any] | None
_OF_A_LINE = ('file', 'event', 'time')


class CheckpointIO(ABC):
    """Access to the checkpoints of a strategy. A checkpoint is one file, or one folder.

    A strategy has a ``CheckpointIO`` as ``strategy.io`` and coordinates the ranks: only rank 0
    calls the methods that write. All ranks call :meth:`write` if :attr:`writes_together` is set.
    """

    writes_together = False

    def check_saves(  # noqa: B027  # a form without limits needs no check
        self,
        out_dir: str,
        backend_args: BackendArgs = None,
        with_optimizer: bool = True,
        readers: Sequence[str] = (),
    ) -> None:
        """Check, before the first step, that the checkpoints of a run can be written.

        Args:
            out_dir: Folder or URL of the checkpoints.
            backend_args: Arguments of the file backend.
            with_optimizer: Whether the checkpoints contain the optimizer.
            readers: What needs the weights in a checkpoint, for the message.

        Raises:
            ArgumentError: If they cannot.
        """

    def gathering(self) -> AbstractContextManager[None]:
        """Context in which a strategy collects a checkpoint for :meth:`write`.

        All ranks enter it, in their main threads.
        """
        return whole_on_main_rank()

    def own_part(self, checkpoint: Checkpoint) -> Checkpoint:
        """The part of ``checkpoint`` that this rank writes."""
        return checkpoint

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
    """One file per checkpoint, written by ``torch.save`` to a local disk or a file backend.

    Checkpoints that are folders are read, found, linked and removed too.
    """

    def write(self, checkpoint: Checkpoint, path: str, backend_args: BackendArgs = None) -> None:
        """Write the file atomically, and remove the record of the file that it replaces."""
        plain = plain_checkpoint(checkpoint)
        is_new = self._begin(path, backend_args)
        digest = write_hashed(plain, path, backend_args)
        self._end(checkpoint, path, backend_args, digest, is_new)

    def _begin(self, path: str, backend_args: BackendArgs) -> bool:
        """Before ``path`` is written; returns whether nothing was there."""
        is_new = not backend_args and not is_remote(path) and _forms.find(path) is None
        self._forget(path, backend_args)
        return is_new

    def _end(
        self,
        checkpoint: Checkpoint,
        path: str,
        backend_args: BackendArgs,
        digest: Digest | None,
        is_new: bool,
    ) -> None:
        """After ``path`` was written: remove the old record, and add a line to the ledger."""
        self._remove_stored(path + RECORD_SUFFIX, backend_args)
        if digest is None:
            return
        facts = facts_of(checkpoint.get('meta') or {})
        try:
            append_entry(path, 'saved', **facts, bytes=digest.size, xxh3=digest.xxh3)
        except OSError:  # a disk that is full now: a file without a line would never be removed
            if is_new:
                _forms.remove(path)
            raise

    def read(self, path: str, map_location: Any = None) -> Checkpoint:
        """Read with the loader for the prefix of ``path``; no code in the file is executed."""
        checkpoint = CheckpointLoader.load_checkpoint(path, map_location=map_location)
        record = os.path.expanduser(path) + RECORD_SUFFIX
        if not is_remote(path) and os.path.isfile(record):
            if (fault := fault_of(record)) is None:
                merge_record(checkpoint, read_checkpoint(record, 'cpu'))
            else:
                print_log(
                    f'{record} is not used: {fault}. The run validates again.',
                    logger='current',
                    level=logging.WARNING,
                )
        elif is_remote(path) and _can_be_asked(path) and get_file_backend(path).isfile(record):
            merge_record(checkpoint, CheckpointLoader.load_checkpoint(record, map_location='cpu'))
        return checkpoint  # type: ignore[no-any-return]  # what the file holds

    def write_record(self, record: Checkpoint, path: str, backend_args: BackendArgs = None) -> None:
        """Write the record as one small file."""
        plain, target = plain_checkpoint(record), path + RECORD_SUFFIX
        self._forget(target, backend_args)
        digest = write_hashed(plain, target, backend_args)
        if digest is not None:
            append_entry(target, 'saved', bytes=digest.size, xxh3=digest.xxh3)
            append_entry(path, 'validated', metrics=record['meta'].get('metrics', {}))

    def link(self, source: str, target: str, backend_args: BackendArgs = None) -> None:
        """Create a hard link, or a copy if the file system does not support links."""
        self._remove_stored(target + RECORD_SUFFIX, backend_args)
        if backend_args or is_remote(source):
            backend = get_file_backend(target, backend_args=backend_args)
            backend.copyfile(source, target)
            return
        self._forget(target, backend_args)
        _forms.link(source, target)
        entry = read_entries(os.path.dirname(source)).get(os.path.basename(source))
        if entry is not None:
            known = {key: value for key, value in entry.items() if key not in _OF_A_LINE}
            # The only links of a run are its best checkpoints.
            append_entry(target, 'linked', **{**known, 'rotation': 'best'})

    def exists(self, path: str, backend_args: BackendArgs = None) -> bool:
        """Whether there is a file, or a folder of a checkpoint."""
        if backend_args or is_remote(path):
            return bool(get_file_backend(path, backend_args=backend_args).isfile(path))
        return _forms.is_stored(path)

    def remove(self, path: str, backend_args: BackendArgs = None) -> None:
        """Remove the checkpoint, then its record.

        The line in the ledger comes after that, so that a file that a kill has left has its line.
        """
        for each in (path, path + RECORD_SUFFIX):
            is_local = not backend_args and not is_remote(each)
            was_there = is_local and _forms.find(each) is not None
            self._remove_stored(each, backend_args)
            if was_there:
                append_entry(each, 'removed')

    def newest(self, work_dir: str) -> str | None:
        """The file that ``last_checkpoint`` names, or else the newest one that is whole.

        Raises:
            CheckpointReadError: If there are checkpoints, and none of them is whole.
        """
        return newest_whole(work_dir)

    def mark_newest(self, work_dir: str, path: str) -> None:
        """Write the file ``last_checkpoint``.

        A folder of checkpoints outside the work dir is noted in the ledger too, so that it is found
        without that file.
        """
        folder = os.path.dirname(path)
        if not is_remote(path) and os.path.realpath(folder) != os.path.realpath(work_dir):
            append_folder(work_dir, os.path.abspath(folder))
        with atomic_write(os.path.join(work_dir, LAST_CHECKPOINT)) as file:
            file.write(path.encode())

    @staticmethod
    def _forget(path: str, backend_args: BackendArgs) -> None:
        """Say that the file is no more what the ledger tells, before it changes."""
        if not backend_args and not is_remote(path) and _forms.find(path) is not None:
            append_entry(path, 'removed')

    @staticmethod
    def _remove_stored(path: str, backend_args: BackendArgs) -> None:
        if not backend_args and not is_remote(path):
            _forms.remove(path)
            return
        backend = get_file_backend(path, backend_args=backend_args)
        if backend.isfile(path):
            backend.remove(path)


class ShardedCheckpointIO(FileCheckpointIO):
    """One folder per checkpoint, of which each rank writes its part.

    It is written by ``torch.distributed.checkpoint``; see :mod:`mmengine._checkpoint.folder`. Files
    and folders are read, found, linked and removed alike.

    Raises:
        ArgumentError: If a checkpoint is to be written to a URL or through a file backend.
    """

    writes_together = True

    def gathering(self) -> AbstractContextManager[None]:
        """Context in which nothing is gathered: each rank keeps its part."""
        self._group = group_of_threads()
        return in_parts()

    def own_part(self, checkpoint: Checkpoint) -> Checkpoint:
        """The shards of this rank; on rank 0 also plain tensors and all else."""
        plain = plain_checkpoint(checkpoint)
        return plain if is_main_process() else without_plain_tensors(plain)

    def check_saves(
        self,
        out_dir: str,
        backend_args: BackendArgs = None,
        with_optimizer: bool = True,
        readers: Sequence[str] = (),
    ) -> None:
        """See the base: a folder is not written to a URL or through a file backend."""
        check_is_local(out_dir, backend_args, SHARDED)

    def write(self, checkpoint: Checkpoint, path: str, backend_args: BackendArgs = None) -> None:
        """Write the folder. All ranks call this, in the main thread or in one other thread."""
        from mmengine._checkpoint.folder._write import write_folder

        self.check_saves(path, backend_args)
        is_new = False

        def begin() -> Checkpoint:
            nonlocal is_new
            if is_main_process():
                is_new = self._begin(path, None)
            return plain_checkpoint(checkpoint)

        def end(digest: Digest) -> None:
            self._end(checkpoint, path, None, digest, is_new)

        write_folder(begin, path, self._group, end)


def check_is_local(path: str, backend_args: BackendArgs, setting: str) -> None:
    """Refuse a place where checkpoints that are folders cannot be written.

    Args:
        path: A folder or a checkpoint in it.
        backend_args: Arguments of the file backend.
        setting: Why checkpoints are folders, as the user wrote it.

    Raises:
        ArgumentError: If ``path`` is a URL, or is written through a file backend.
    """
    if backend_args or is_remote(path):
        raise ArgumentError(
            f'{path}: with {setting} checkpoints are folders on a file system that all ranks '
            f'share. Use {FILE} for URLs and file backends.'
        )


def checkpoint_io(format: str) -> CheckpointIO:
    """The ``CheckpointIO`` that writes ``'file'`` or ``'sharded'`` checkpoints."""
    return {'file': FileCheckpointIO, 'sharded': ShardedCheckpointIO}[format]()


def _can_be_asked(path: str) -> bool:
    """Whether a file backend handles ``path``: zoo names and web servers have no records."""
    scheme = path.split('://', 1)[0]
    return scheme not in ('http', 'https', 'modelzoo', 'torchvision', 'open-mmlab', 'openmmlab',
                          'mmcls', 'pavi')  # fmt: skip
