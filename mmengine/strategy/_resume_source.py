"""Which checkpoint a run resumes."""

from __future__ import annotations

import os
from logging import Logger
from typing import Any

from mmengine._checkpoint.files import is_remote
from mmengine.strategy.checkpoint_io import CheckpointIO


def find_resume_source(
    io: CheckpointIO, work_dir: str, load_from: str | None, resume: bool | str, logger: Logger
) -> str | None:
    """The checkpoint to resume; None to begin a new run.

    - A path in ``resume`` is resumed.
    - ``'auto'``: the newest checkpoint of ``work_dir``. Without one, a new run begins, with the
      weights of ``load_from``.
    - True: the newest checkpoint of ``work_dir``; without one, ``load_from``. So a run that began
      from ``load_from`` goes on where it stopped when the same command is started again.
    - True, and ``load_from`` is a checkpoint of ``work_dir`` itself: that one, unless the newest
      was trained from it.
    """
    if not resume:
        return None
    if isinstance(resume, str) and resume != 'auto':
        return resume
    newest = io.newest(work_dir)
    if load_from is None or newest is None or resume == 'auto':
        return newest if newest is not None or resume == 'auto' else load_from
    if _is_same(newest, load_from):
        return newest
    if _is_within(load_from, work_dir, newest) and _goes_back(io, newest, load_from):
        return load_from
    logger.info(
        f'The work dir has the checkpoint {newest}, so the run continues there. load_from='
        f'{load_from} is where it began. To resume that one, pass it as resume.'
    )
    return newest


def lineage(checkpoint: Any) -> list[str]:
    """``save_id`` of this checkpoint and of those that its run was resumed from, newest first."""
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    if not isinstance(meta, dict) or not isinstance(meta.get('save_id'), str):
        return []
    return [meta['save_id'], *meta.get('resumed_from', [])]


def _goes_back(io: CheckpointIO, newest: str, earlier: str) -> bool:
    """Whether ``earlier`` is a checkpoint of a training from which ``newest`` was not trained."""
    checkpoint = io.read(earlier, 'cpu')
    meta = checkpoint.get('meta') if isinstance(checkpoint, dict) else None
    if not isinstance(meta, dict) or 'iter' not in meta:
        return False  # weights alone
    origin = lineage(checkpoint)
    return not origin or origin[0] not in lineage(io.read(newest, 'cpu'))


def _is_within(path: str, work_dir: str, newest: str) -> bool:
    if is_remote(path):
        return os.path.dirname(path) == os.path.dirname(newest)
    folder = os.path.dirname(_real(path))
    return folder in (os.path.dirname(_real(newest)), _real(work_dir))


def _is_same(one: str, other: str) -> bool:
    return one == other or (not is_remote(one) and _real(one) == _real(other))


def _real(path: str) -> str:
    return os.path.realpath(os.path.expanduser(path))
