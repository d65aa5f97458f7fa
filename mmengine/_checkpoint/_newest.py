"""The checkpoint from which a run resumes: the newest in its work dir that is whole."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from mmengine._checkpoint._forms import find, is_stored
from mmengine._checkpoint._ledger import Entry, Ledger, read_ledger
from mmengine._checkpoint._outside import CheckpointReadError
from mmengine._checkpoint._verify import fault_of, is_verified
from mmengine._checkpoint.files import LAST_CHECKPOINT, read_checkpoint
from mmengine.logging import print_log

_SUFFIX = '.pth'


def newest_whole(work_dir: str) -> str | None:
    """The checkpoint that ``last_checkpoint`` names, or else the newest one that is whole.

    Files that are damaged, empty, unreadable or missing are passed over, and the reason is logged.

    Args:
        work_dir: Folder of the run.

    Returns:
        A path or a URL; None if the work dir has no checkpoint at all.

    Raises:
        CheckpointReadError: If there are checkpoints, and none of them is whole.
    """
    ledger = read_ledger(work_dir)
    named, fault = _named(work_dir, ledger)
    if named is not None and '://' in named:
        return named  # its storage answers for it
    reasons = [] if fault is None else [f'{LAST_CHECKPOINT}: {fault}']
    seen = False
    for path, entries in _candidates(work_dir, ledger, named):
        seen = True
        fault = fault_of(path, entries, is_read_next=True) or _content_fault(path)
        if fault is None:
            if reasons:
                _report(work_dir, f'{path} is used', reasons)
            return str(path)
        reasons.append(f'{path.name}: {fault}')
    if not seen:
        if reasons:
            _report(work_dir, 'the run starts anew, because there is no checkpoint', reasons)
        else:
            print_log(f'{work_dir} has no checkpoint to resume from.', logger='current')
        return None
    raise CheckpointReadError(
        f'{work_dir} has checkpoints, but none of them is whole:\n  '
        + '\n  '.join(reasons)
        + '\nTo start anew all the same, pass resume=False or move them away.'
    )


def named_by_pointer(work_dir: str) -> str | None:
    """The checkpoint that ``last_checkpoint`` names; None without one, or if that is damaged."""
    return _named(work_dir, read_ledger(work_dir))[0]


def _named(work_dir: str, ledger: Ledger) -> tuple[str | None, str | None]:
    """The path in the pointer file, or None and what is wrong with that file."""
    pointer = Path(work_dir, LAST_CHECKPOINT)
    try:
        recorded = pointer.read_bytes().decode().strip()
    except FileNotFoundError:
        return None, None
    except UnicodeDecodeError:
        return None, 'it is not text'
    except OSError as error:
        return None, f'it cannot be read ({error.strerror or error})'
    if not recorded or '\0' in recorded or '\n' in recorded:
        return None, 'it does not hold the path of a checkpoint'
    if '://' in recorded:
        return recorded, None
    # The work dir may have been moved or copied: its own files come first.
    inside = Path(work_dir, os.path.basename(recorded))
    path = inside if find(inside) is not None else Path(work_dir, recorded)
    if path.is_dir() and path.resolve() == Path(work_dir).resolve():
        return None, 'it names the work dir itself'
    if _is_of_another_run(path.parent, work_dir, ledger):
        return None, f'it names {path}, which is not a file of this work dir'
    return str(path), None


def _is_of_another_run(folder: Path, work_dir: str, ledger: Ledger) -> bool:
    """Whether ``folder`` is none in which the run of ``work_dir`` saves, as after it was copied.

    A work dir without a ledger is of another engine, whose pointer is all that is known.
    """
    if not ledger.entries and not ledger.folders:
        return False
    own = {os.path.realpath(one) for one in (work_dir, *ledger.folders)}
    return os.path.realpath(folder) not in own


def _candidates(
    work_dir: str, ledger: Ledger, named: str | None
) -> Iterator[tuple[Path, dict[str, Entry]]]:
    """The named checkpoint, then the others in the folders of the run, the newest first.

    Each has the entries of the ledger in its folder.
    """
    given = None if named is None else Path(named)
    ledgers = {Path(work_dir): ledger}
    # Checkpoints may be kept in a folder outside the work dir: `out_dir` of CheckpointHook.
    outside = [Path(folder) for folder in reversed(ledger.folders)]
    folders = [] if given is None else [given.parent]
    for folder in dict.fromkeys([*folders, *outside, Path(work_dir)]):
        if folder not in ledgers:
            ledgers[folder] = read_ledger(folder)
        entries = ledgers[folder].entries
        if given is not None and folder == given.parent:
            yield given, entries
        written = [folder / name for name in reversed(entries) if name.endswith(_SUFFIX)]
        try:
            others = {path for path in folder.iterdir() if _may_be_checkpoint(path)}
        except OSError:
            others = set()
        unknown = sorted(
            others - set(written), key=lambda path: path.lstat().st_mtime, reverse=True
        )
        yield from ((path, entries) for path in [*written, *unknown] if path != given)


def _may_be_checkpoint(path: Path) -> bool:
    """Whether a run may have saved the file to resume from; published copies have a hash."""
    return path.suffix == _SUFFIX and path.name.startswith(('epoch_', 'iter_', 'best_'))


def _content_fault(path: Path) -> str | None:
    """Why a run cannot be resumed from a file that may not be what a run has written."""
    if is_verified(path) or not is_stored(path):  # the form of another CheckpointIO
        return None
    try:
        checkpoint = read_checkpoint(path, map_location='cpu')
    except CheckpointReadError as error:
        return f'it cannot be read ({error})'
    meta = checkpoint.get('meta') if isinstance(checkpoint, Mapping) else None
    if not isinstance(meta, Mapping) or not {'iter', 'epoch'} & set(meta):
        return 'it does not hold the position of a run (load its weights with load_from)'
    return None


def _report(work_dir: str, what: str, reasons: list[str]) -> None:
    print_log(
        f'{what}. Passed over in {work_dir}: ' + '; '.join(reasons) + '.',
        logger='current',
        level=logging.WARNING,
    )
