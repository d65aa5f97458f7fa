"""``whole.json``: the files of a checkpoint folder, their sizes and hashes."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from mmengine._checkpoint._digest import hash_of, hash_of_file
from mmengine._checkpoint._outside import CheckpointReadError
from mmengine.fileio import atomic_write

MANIFEST = 'whole.json'
Files = dict[str, dict[str, Any]]


def measured(folder: Path, names: Iterable[str]) -> Files:
    """Size and hash of each file; None for a file that is not there."""
    return {
        name: {'bytes': path.stat().st_size, 'xxh3': hash_of_file(path)}
        if (path := folder / name).is_file()
        else {'bytes': 0, 'xxh3': None}
        for name in names
    }


def write_manifest(folder: Path, files: Files) -> None:
    """Write it; this is what makes the folder whole."""
    with atomic_write(folder / MANIFEST, 'w') as file:
        file.write(_text(files))


def read_manifest(folder: Path) -> Files:
    """What the folder says about its files.

    Raises:
        CheckpointReadError: If it does not say it, or if it names a file outside of the folder.
    """
    try:
        files = json.loads((folder / MANIFEST).read_bytes())['files']
        names = [str(name) for name in files]
        is_sound = all(
            name == Path(name).name and isinstance(files[name]['bytes'], int) for name in names
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CheckpointReadError(f'{folder}: its {MANIFEST} cannot be read ({error}).') from error
    if not is_sound:
        raise CheckpointReadError(f'{folder}: its {MANIFEST} names what is not a file of it.')
    return dict(files)


def digest_of(folder: Path) -> str:
    """One hash for the files that the folder has now; another one after any change."""
    try:
        return hash_of(_text(measured(folder, read_manifest(folder))).encode())
    except CheckpointReadError:
        return ''


def stated_digest(files: Files) -> str:
    """:func:`digest_of` a folder with these files."""
    return hash_of(_text(files).encode())


def size_of_parts(folder: Path) -> int:
    """Bytes of the files that belong to it; of all files where it does not say which these are."""
    try:
        names = list(read_manifest(folder))
    except CheckpointReadError:
        names = [path.name for path in folder.iterdir() if path.name != MANIFEST]
    return sum(path.stat().st_size for name in names if (path := folder / name).is_file())


def fault_in(folder: Path) -> str | None:
    """How the files differ from what the folder says about them; None if they do not."""
    try:
        files = read_manifest(folder)
    except CheckpointReadError as error:
        return str(error)
    for name, written in files.items():
        path = folder / name
        if not path.is_file():
            return f'its part {name} is missing'
        size = path.stat().st_size
        if size != written['bytes']:
            return f'its part {name} has {size:,} bytes, and {written["bytes"]:,} were written'
        if hash_of_file(path) != written['xxh3']:
            return f'the hash of its part {name} is wrong'
    return None


def total_bytes(files: Mapping[str, Mapping[str, Any]]) -> int:
    """Bytes of all files."""
    return sum(int(one['bytes']) for one in files.values())


def _text(files: Files) -> str:
    return json.dumps({'format': 1, 'files': dict(sorted(files.items()))}, indent=1) + '\n'
