"""Checkpoint copies for publishing: selected keys only, with a digest in the file name."""

from __future__ import annotations

import hashlib
import io
import os
from collections.abc import Iterable, Sequence
from logging import Logger
from typing import Any

import torch

from mmengine._checkpoint._forms import find
from mmengine._checkpoint.files import read_checkpoint
from mmengine._checkpoint.plain import plain_checkpoint
from mmengine._checkpoint.validation_record import RECORD_SUFFIX, merge_record
from mmengine.dist import barrier, is_main_process


def publish_all(
    paths: Iterable[str | None],
    keys: Sequence[str],
    backend: Any,
    logger: Logger,
) -> None:
    """Publish each of ``paths`` once; see :func:`publish`. All ranks call it; rank 0 writes."""
    if is_main_process():
        for path in dict.fromkeys(path for path in paths if path is not None):
            publish(path, keys, backend, logger)
    barrier()


def publish(
    path: str,
    keys: Sequence[str],
    backend: Any,
    logger: Logger,
) -> None:
    """Write a copy of the checkpoint ``path`` that contains only the top-level ``keys``.

    The copy is in the same folder and includes what the validation after the checkpoint changed.
    Its name contains the first eight digits of its SHA-256.
    """
    is_here = find(path) is not None  # a folder cannot be got from a file backend
    checkpoint = read_checkpoint(path if is_here else io.BytesIO(backend.get(path)), 'cpu')
    record = path + RECORD_SUFFIX
    if backend.isfile(record):
        merge_record(checkpoint, read_checkpoint(io.BytesIO(backend.get(record)), 'cpu'))
    missing = [key for key in keys if key not in checkpoint]
    if missing:
        logger.warning(
            f'{os.path.basename(path)} does not have {", ".join(missing)} to publish; it has '
            f'{", ".join(checkpoint)}.'
        )
    kept = {key: value for key, value in checkpoint.items() if key in keys}
    stem, suffix = os.path.splitext(path)
    buffer = io.BytesIO()
    torch.save(plain_checkpoint(kept), buffer)
    content = buffer.getvalue()
    final = f'{stem}-{hashlib.sha256(content).hexdigest()[:8]}{suffix}'
    backend.put(content, final)
    logger.info(f'{final} contains {", ".join(kept)} for publishing.')
