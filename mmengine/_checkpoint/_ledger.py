"""``checkpoints.jsonl``: what was written to a folder of checkpoints, one line for each event.

The file only grows. A line has the name of a checkpoint file in the same folder, its size and the
xxh3 hash of its bytes, so that a reader can tell the file that was written from a damaged one; and
for people and tools the position, the metrics, the hash of the config and the time. A line that a
crash cut off is ignored, as are files without a line. In a work dir, lines with the event 'folder'
name other folders that have checkpoints of the run.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mmengine._checkpoint._digest import hash_of

LEDGER = 'checkpoints.jsonl'
Entry = dict[str, Any]


@dataclass
class Ledger:
    """What the lines of a ledger say in the end.

    Attributes:
        entries: The last entry of each file that was not removed, the file written last at the end.
        folders: Other folders with checkpoints of the run, the one named last at the end.
    """

    entries: dict[str, Entry] = field(default_factory=dict)
    folders: list[str] = field(default_factory=list)


def append_entry(path: str | Path, event: str, **facts: Any) -> None:
    """Add a line about the checkpoint file ``path`` to the ledger in its folder.

    Args:
        path: The file.
        event: 'saved', 'linked', 'validated' or 'removed'.
        facts: Entries of the line beside the file, the event and the time.
    """
    folder, name = os.path.split(os.fspath(path))
    _append(folder, {'file': name, 'event': event, **facts})


def append_folder(work_dir: str | Path, folder: str) -> None:
    """Note in the ledger of ``work_dir`` that ``folder`` has checkpoints of the run."""
    folders = read_ledger(work_dir).folders
    if not folders or folders[-1] != folder:
        _append(work_dir, {'file': '', 'event': 'folder', 'folder': folder})


def _append(folder: str | Path, entry: Entry) -> None:
    line = json.dumps({**entry, 'time': time.strftime('%Y-%m-%dT%H:%M:%S%z')}).encode() + b'\n'
    # One write of one line, which other processes that append do not divide.
    with open(os.path.join(folder, LEDGER), 'a+b', buffering=0) as ledger:
        size = ledger.seek(0, os.SEEK_END)
        if size:
            ledger.seek(size - 1)
            if ledger.read(1) != b'\n':  # a crash, or a full disk, has cut the last line off
                line = b'\n' + line
        if ledger.write(line) != len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), ledger.name)
        os.fsync(ledger.fileno())


def read_entries(folder: str | Path) -> dict[str, Entry]:
    """``entries`` of the ledger in ``folder``."""
    return read_ledger(folder).entries


def read_ledger(folder: str | Path) -> Ledger:
    """The ledger in ``folder``; without the file, an empty one."""
    try:
        lines = Path(folder, LEDGER).read_bytes().splitlines()
    except OSError:
        return Ledger()
    ledger = Ledger()
    for line in lines:
        try:
            entry = json.loads(line)
            name, event = entry['file'], entry['event']
            if event == 'folder':
                ledger.folders = [
                    *(one for one in ledger.folders if one != entry['folder']),
                    str(entry['folder']),
                ]
                continue
        except (ValueError, KeyError, TypeError):
            continue
        if event == 'validated':
            ledger.entries.get(name, {}).update(entry)
            continue
        ledger.entries.pop(name, None)
        if event != 'removed':
            ledger.entries[name] = entry
    return ledger


def facts_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What a line tells about a checkpoint with this ``meta``."""
    text = meta.get('cfg')
    return {
        'iter': meta.get('iter'),
        'epoch': meta.get('epoch'),
        'config': None if not isinstance(text, str) else hash_of(text.encode()),
        'run': meta.get('run_id'),
        'rotation': meta.get('rotation'),
    }
