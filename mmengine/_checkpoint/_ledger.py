"""``checkpoints.jsonl``: what was written to a folder of checkpoints, one line for each event.

The file only grows. A line has the name of a checkpoint file in the same folder, its size and the
xxh3 hash of its bytes, so that a reader can tell the file that was written from a damaged one; and
for people and tools the position, the metrics, the hash of the config and the time. A line that a
crash cut off is ignored, as are files without a line.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

LEDGER = 'checkpoints.jsonl'
Entry = dict[str, Any]


def append_entry(path: str | Path, event: str, **facts: Any) -> None:
    """Add a line about the checkpoint file ``path`` to the ledger in its folder.

    Args:
        path: The file.
        event: 'saved', 'linked', 'validated' or 'removed'.
        facts: Entries of the line beside the file, the event and the time.
    """
    folder, name = os.path.split(os.fspath(path))
    now = time.strftime('%Y-%m-%dT%H:%M:%S%z')
    line = json.dumps({'file': name, 'event': event, **facts, 'time': now})
    # One write of one line, which other processes that append do not divide.
    with open(os.path.join(folder, LEDGER), 'ab', buffering=0) as ledger:
        ledger.write(line.encode() + b'\n')
        os.fsync(ledger.fileno())


def read_entries(folder: str | Path) -> dict[str, Entry]:
    """The last entry of each file that was not removed, the file written last at the end."""
    try:
        lines = Path(folder, LEDGER).read_bytes().splitlines()
    except OSError:
        return {}
    entries: dict[str, Entry] = {}
    for line in lines:
        try:
            entry = json.loads(line)
            name, event = entry['file'], entry['event']
        except (ValueError, KeyError, TypeError):
            continue
        if event == 'validated':
            entries.get(name, {}).update(entry)
            continue
        entries.pop(name, None)
        if event != 'removed':
            entries[name] = entry
    return entries


def facts_of(meta: Mapping[str, Any]) -> dict[str, Any]:
    """What a line tells about a checkpoint with this ``meta``."""
    text = meta.get('cfg')
    return {
        'iter': meta.get('iter'),
        'epoch': meta.get('epoch'),
        'config': None if not isinstance(text, str) else hash_of(text.encode()),
    }


def hash_of(content: bytes) -> str:
    """The xxh3 hash of 128 bits, in hexadecimal digits."""
    import xxhash

    return str(xxhash.xxh3_128(content).hexdigest())
