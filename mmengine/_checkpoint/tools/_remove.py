"""Removes checkpoints: ``rm``."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from mmengine._checkpoint import _forms
from mmengine._checkpoint._ledger import append_entry, read_entries
from mmengine._checkpoint.tools._content import is_checkpoint
from mmengine._checkpoint.tools._look import marks_of, named_in
from mmengine._checkpoint.validation_record import RECORD_SUFFIX
from mmengine.utils.errors import ArgumentError


def rm(paths: Iterable[str | Path], force: bool = False) -> list[Path]:
    """Remove checkpoints and the records of their validations; returns the removed paths.

    All paths are checked before the first one is removed.

    Args:
        paths: Files or folders.
        force: Also remove the checkpoint from which the run resumes, and the best ones.

    Raises:
        ArgumentError: If one of them is such a checkpoint and ``force`` is not set, or a path is
            not a checkpoint.
        FileNotFoundError: If a file does not exist.
    """
    files = [Path(path) for path in paths]
    for path in files:
        if not os.path.lexists(path):
            raise FileNotFoundError(2, 'There is no file at this path', str(path))
        if not is_checkpoint(path) and not path.is_symlink():
            raise ArgumentError(f'{path} is not a checkpoint.')
        entry = read_entries(path.parent).get(path.name)
        marks = marks_of(path, entry, named_in(path.parent))
        kept = [mark for mark in marks if mark in ('last', 'best')]
        if kept and not force:
            why = {
                'last': 'the checkpoint from which its run resumes',
                'best': 'one of the best of its run',
            }[kept[0]]
            raise ArgumentError(f'{path} is {why}. Pass --force to remove it all the same.')
    removed = []
    for path in files:
        for each in (path, path.with_name(path.name + RECORD_SUFFIX)):
            if not os.path.lexists(each):
                continue
            is_known = each.name in read_entries(each.parent)
            _forms.remove(each)
            removed.append(each)
            if is_known:
                append_entry(each, 'removed')
    return removed
