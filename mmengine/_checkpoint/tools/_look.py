"""Looks at checkpoints: ``ls``, ``verify``, ``inspect``, ``diff``."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mmengine._checkpoint._forms import find
from mmengine._checkpoint._ledger import Entry, read_entries, read_ledger
from mmengine._checkpoint._newest import named_by_pointer
from mmengine._checkpoint._outside import CheckpointReadError
from mmengine._checkpoint._verify import UNCHANGED, change_of, fault_of
from mmengine._checkpoint.loader import weights_of
from mmengine._checkpoint.tools._content import is_checkpoint, meta_of, read

# Of `meta`, what people ask for; the rest is long or for programs.
_SHOWN = ('epoch', 'iter', 'time', 'mmengine_version', 'experiment_name', 'seed', 'world_size',
          'validation_due', 'metrics', 'ended', 'run_id', 'save_id')  # fmt: skip
Facts = dict[str, Any]


def ls(work_dir: str | Path = '.') -> list[Facts]:
    """The checkpoints of a work dir, the one written last at the end. No file is read.

    Each has ``path``, ``bytes``, ``epoch``, ``iter``, ``metrics`` and ``time`` (None where the
    ledger has no line), and ``marks``: 'last' if a resumed run continues from it, 'best',
    'no line', or 'other size' if it is not as long as it was written.

    Raises:
        FileNotFoundError: If the folder does not exist.
    """
    root = Path(work_dir)
    if not root.is_dir():
        raise FileNotFoundError(2, 'There is no folder at this path', str(root))
    found: list[Facts] = []
    for folder in dict.fromkeys([root, *map(Path, read_ledger(root).folders)]):
        entries, named = read_entries(folder), named_in(folder, root)
        present = {path.name: path for path in _checkpoints_in(folder)}
        known = [name for name in entries if name in present]
        unknown = sorted(
            set(present) - set(known), key=lambda name: present[name].lstat().st_mtime
        )  # fmt: skip
        for name in [*unknown, *known]:
            entry, size = entries.get(name, {}), _size(present[name])
            marks = marks_of(present[name], entries.get(name), named)
            if size != entry.get('bytes', size):
                marks.append('other size')
            found.append({
                'path': str(present[name]),
                'bytes': size,
                'epoch': entry.get('epoch'),
                'iter': entry.get('iter'),
                'metrics': entry.get('metrics'),
                'time': entry.get('time'),
                'marks': marks,
            })  # fmt: skip
    return found


def verify(paths: Iterable[str | Path]) -> list[Facts]:
    """Whether checkpoints hold what was written: ``path`` and ``fault``, None if it is whole.

    One with a line in the ledger beside it is compared by its hash; others by the checksums in
    them. Then it is read, without its tensors.

    Args:
        paths: Checkpoints, or folders whose checkpoints are verified.

    Raises:
        FileNotFoundError: If a path does not exist.
    """
    results = []
    for given in map(Path, paths):
        if not os.path.lexists(given):
            raise FileNotFoundError(2, 'There is no file at this path', str(given))
        is_one = is_checkpoint(given) or not given.is_dir()
        found = [given] if is_one else _checkpoints_in(given)
        results += [{'path': str(path), 'fault': _fault(path)} for path in found]
    return results


def inspect(path: str | Path, weights: bool = False) -> Facts:
    """What a checkpoint has: position, numbers of parameters, parts. Its tensors are not read.

    Args:
        path: The file.
        weights: Also list each weight with shape and dtype.

    Raises:
        FileNotFoundError: If there is no such file.
        CheckpointReadError: If the file is damaged.
    """
    content = read(path, 'meta')
    meta, state = meta_of(content), content['state_dict']
    tensors = {name: value for name, value in state.items() if isinstance(value, Tensor)}
    dtypes = Counter[str]()
    for value in tensors.values():
        dtypes[_dtype(value)] += value.numel()
    facts: Facts = {
        'path': str(path),
        'bytes': _size(Path(path)),
        **{key: meta[key] for key in _SHOWN if meta.get(key) is not None},
        'parts': {key: _bytes_of(value) for key, value in content.items()},
        'weights': len(tensors),
        'values': sum(value.numel() for value in tensors.values()),
        'values_by_dtype': dict(dtypes),
        'has_config': isinstance(meta.get('cfg'), str),
    }
    if weights:
        facts['shapes'] = {
            name: {'shape': list(value.shape), 'dtype': _dtype(value)}
            for name, value in tensors.items()
        }
    return facts


def diff(one: str | Path, other: str | Path) -> Facts:
    """How the weights and the position of two checkpoints differ.

    Returns:
        ``only_in_one``, ``only_in_other``: names. ``shapes``: both shapes by name. ``values``: by
        name, the number of different values and the largest difference. ``equal``: how many are
        equal. ``meta``: both values of what is shown of ``meta``, where they differ. ``same``:
        whether all weights are equal.

    Raises:
        FileNotFoundError: If a file does not exist.
        CheckpointReadError: If a file is damaged.
    """
    first, second = read(one), read(other)
    weights, others = first['state_dict'], second['state_dict']
    result: Facts = {
        'only_in_one': [name for name in weights if name not in others],
        'only_in_other': [name for name in others if name not in weights],
        'shapes': {},
        'values': {},
        'equal': 0,
    }
    for name in weights:
        if name not in others:
            continue
        mine, theirs = weights[name], others[name]
        if not isinstance(mine, Tensor) or not isinstance(theirs, Tensor):
            is_equal = not isinstance(mine, Tensor) and not isinstance(theirs, Tensor) and (
                mine == theirs
            )  # fmt: skip
            result['equal'] += is_equal
            if not is_equal:
                result['values'][name] = {'different': 1, 'largest': None}
        elif mine.shape != theirs.shape:
            result['shapes'][name] = [list(mine.shape), list(theirs.shape)]
        else:
            changed = _difference(mine, theirs)
            if changed is None:
                result['equal'] += 1
            else:
                result['values'][name] = changed
    left, right = meta_of(first), meta_of(second)
    result['meta'] = {
        key: [left.get(key), right.get(key)] for key in _SHOWN if left.get(key) != right.get(key)
    }
    result['same'] = not any(
        result[key] for key in ('only_in_one', 'only_in_other', 'shapes', 'values')
    )
    return result


def named_in(*folders: Path) -> list[Path]:
    """The local checkpoints that the pointers in these folders name."""
    named = [named_by_pointer(str(folder)) for folder in dict.fromkeys(folders)]
    return [Path(one) for one in named if one is not None and '://' not in one]


def marks_of(path: Path, entry: Entry | None, named: Iterable[Path]) -> list[str]:
    """'last' if a pointer names the file, 'best' if it is one of the best, 'no line'.

    Args:
        path: The file.
        entry: Its line in the ledger.
        named: What pointers name; see :func:`named_in`.
    """
    marks = ['last' for one in named if _is_same(one, path)]
    if path.name.startswith('best_') or (entry or {}).get('rotation') == 'best':
        marks.append('best')
    if entry is None:
        marks.append('no line')
    return marks


def _fault(path: Path) -> str | None:
    try:
        change = change_of(path)
        if change != UNCHANGED and (fault := fault_of(path)) is not None:
            return fault
        found = find(path)
        assert found is not None  # else it has a fault
        weights_of(found[1].read(found[0], 'meta'), str(path))
    except (CheckpointReadError, RuntimeError, OSError, TypeError) as error:
        return str(error)
    return f'it is not the file that the run wrote: {change}' if change else None


def _checkpoints_in(folder: Path) -> Iterator[Path]:
    try:
        paths = sorted(folder.iterdir())
    except OSError:
        return
    yield from (path for path in paths if path.name[0] != '.' and is_checkpoint(path))


def _size(path: Path) -> int:
    found = find(path)
    return path.stat().st_size if found is None else found[1].size(found[0])


def _is_same(one: Path, other: Path) -> bool:
    return one.exists() and other.exists() and one.resolve() == other.resolve()


def _difference(one: Tensor, other: Tensor) -> Facts | None:
    if one.dtype == other.dtype and torch.equal(one, other):
        return None
    left, right = one.double(), other.double()
    # Two NaN at one place are equal here: a file is the same as its copy.
    unequal = (left != right) & ~(left.isnan() & right.isnan())
    count = int(unequal.sum())
    if count == 0 and one.dtype == other.dtype:
        return None
    largest = float((left - right).abs()[unequal].max()) if count else 0.0
    changed: Facts = {'different': count, 'of': one.numel(), 'largest': largest}
    if one.dtype != other.dtype:
        changed['dtypes'] = [_dtype(one), _dtype(other)]
    return changed


def _dtype(value: Tensor) -> str:
    return str(value.dtype).removeprefix('torch.')


def _bytes_of(value: Any) -> int:
    """Bytes of all tensors in ``value``."""
    if isinstance(value, Tensor):
        return value.numel() * value.element_size()
    if isinstance(value, Mapping):
        return sum(map(_bytes_of, value.values()))
    if isinstance(value, (list, tuple)):
        return sum(map(_bytes_of, value))
    return 0
