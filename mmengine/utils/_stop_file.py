"""The file in a work dir that asks its run to stop."""

from __future__ import annotations

import contextlib
from pathlib import Path

STOP_FILE = 'stop'


def write_stop_file(work_dir: str | Path, reason: str = '') -> Path:
    """Ask the run in ``work_dir`` to save its state and stop; returns the file that was written.

    Raises:
        FileNotFoundError: If ``work_dir`` is not a folder.
    """
    folder = Path(work_dir)
    if not folder.is_dir():
        raise FileNotFoundError(2, 'There is no work dir at this path', str(folder))
    path = folder / STOP_FILE
    path.write_text(reason, encoding='utf-8')
    return path


def take_stop_file(work_dir: str | Path) -> str | None:
    """The reason in the stop file, which is removed; None if there is no such file."""
    path = Path(work_dir) / STOP_FILE
    try:
        reason = path.read_text(encoding='utf-8', errors='replace')
    except OSError:  # the usual case: nobody has asked
        return None
    with contextlib.suppress(OSError):  # a work dir that is read-only for this process
        path.unlink()
    return reason.strip()
