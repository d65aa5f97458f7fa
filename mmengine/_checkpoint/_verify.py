"""Whether a checkpoint holds what was written to it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mmengine._checkpoint._forms import find
from mmengine._checkpoint._ledger import Entry, read_entries

# A checkpoint that was found to be whole, for the reader that opens it next.
_just_verified: tuple[object, ...] | None = None


def fault_of(
    path: str | Path, entries: Mapping[str, Entry] | None = None, *, is_read_next: bool = False
) -> str | None:
    """What is wrong with a checkpoint, or None.

    A checkpoint that has the hash of its line in the ledger is whole. In any other one, which
    somebody may have written in its place, the checksums of the parts decide: zip files and folders
    have them.

    Args:
        path: The file or folder.
        entries: Of the ledger in its folder; None reads them.
        is_read_next: Whether the caller reads it at once if it is whole. It is not hashed again
            then.
    """
    global _just_verified
    path = Path(path)
    try:
        found = find(path)
        if found is None:
            return 'it does not exist'
        place, form = found
        if place.is_file() and place.stat().st_size == 0:
            return 'it is empty'
        before = form.signature(place)
        if change_of(path, entries) != UNCHANGED:
            return form.fault(place)
        _just_verified = before if is_read_next else None
        return None
    except OSError as error:
        return f'it cannot be read ({error.strerror or error})'


UNCHANGED = ''


def change_of(path: str | Path, entries: Mapping[str, Entry] | None = None) -> str | None:
    """How a checkpoint differs from its line in the ledger.

    '' if it does not differ, None if there is no line, or no checkpoint.
    """
    global _just_verified
    path = Path(path)
    found = find(path)
    if found is None:
        return None
    place, form = found
    verified, _just_verified = _just_verified, None
    if verified is not None and verified == form.signature(place):
        return UNCHANGED
    entry = (read_entries(path.parent) if entries is None else entries).get(path.name)
    if entry is None or 'xxh3' not in entry:
        return None
    size = form.size(place)
    if size != entry.get('bytes', size):
        return f'it has {size:,} bytes, and {entry["bytes"]:,} were written'
    return UNCHANGED if form.digest(place) == entry['xxh3'] else 'its hash is another'


def is_verified(path: Path) -> bool:
    """Whether :func:`fault_of` has found just now that the checkpoint is the one written."""
    found = find(path)
    return found is not None and _just_verified == found[1].signature(found[0])
