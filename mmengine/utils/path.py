"""Local files and folders: make folders, list files, set links."""

import os
import shutil
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import IO, Any

_REMOTE_PREFIXES = ('http://', 'https://', 's3://')


def is_filepath(x: object) -> bool:
    """Whether ``x`` can be a path: a string or a ``Path``."""
    return isinstance(x, (str, Path))


def is_abs(path: str | Path) -> bool:
    """Whether a path is absolute; addresses (``http://``, ``https://``, ``s3://``) are."""
    return os.path.isabs(path) or str(path).startswith(_REMOTE_PREFIXES)


def fopen(filepath: str | Path, *args: Any, **kwargs: Any) -> IO[Any]:
    """:func:`open` for a string or a ``Path``, but not for file descriptors.

    Raises:
        ValueError: If ``filepath`` is neither.
    """
    if not is_filepath(filepath):
        raise ValueError(f'filepath must be a string or a Path, got {type(filepath).__name__}.')
    file: IO[Any] = open(filepath, *args, **kwargs)  # noqa: SIM115  # the caller closes it
    return file


def check_file_exist(filename: str | Path, msg_tmpl: str = 'file "{}" does not exist') -> None:
    """Raise unless a file exists.

    Args:
        filename: The file.
        msg_tmpl: Message of the error, with a place for the name.

    Raises:
        FileNotFoundError: If it is missing, or is a folder.
    """
    if not os.path.isfile(filename):
        raise FileNotFoundError(msg_tmpl.format(filename))


def mkdir_or_exist(dir_name: str | Path, mode: int = 0o777) -> None:
    """Make a folder and its parents, unless it exists. Does nothing for ``''``.

    Args:
        dir_name: The folder; ``~`` is the home folder.
        mode: Permissions of the folder, less the umask.
    """
    if dir_name != '':
        os.makedirs(os.path.expanduser(dir_name), mode=mode, exist_ok=True)


def symlink(src: str | Path, dst: str | Path, overwrite: bool = True, **kwargs: Any) -> None:
    """Make ``dst`` a link to ``src``.

    While an old link or file is replaced, ``dst`` always exists: it is the old one or the new one.

    Args:
        src: Target of the link.
        dst: The link.
        overwrite: Replace an existing ``dst``.
        kwargs: Passed on to :func:`os.symlink`.

    Raises:
        FileExistsError: If ``dst`` exists and ``overwrite`` is False.
        shutil.SameFileError: If the link would replace its own target.
    """
    if not overwrite or not os.path.lexists(dst):
        os.symlink(src, dst, **kwargs)
        return
    pointed_at = os.path.join(os.path.dirname(dst), src)
    if not os.path.islink(dst) and os.path.exists(pointed_at) and os.path.samefile(pointed_at, dst):
        raise shutil.SameFileError(f'{dst} is the file that the link should point at.')
    beside = f'{dst}.{uuid.uuid4().hex}.link'
    os.symlink(src, beside, **kwargs)
    try:
        os.replace(beside, dst)
    except OSError:
        os.unlink(beside)
        raise


def scandir(
    dir_path: str | Path,
    suffix: str | tuple[str, ...] | None = None,
    recursive: bool = False,
    case_sensitive: bool = True,
) -> Iterator[str]:
    """The files in a folder, as paths relative to it; hidden files are left out.

    Args:
        dir_path: The folder.
        suffix: End, or ends, that a file name must have.
        recursive: Go into subfolders.
        case_sensitive: Whether the case of the suffix counts.

    Raises:
        TypeError: If ``dir_path`` is not a path, or ``suffix`` is neither a string nor a tuple of
            strings.
    """
    if not is_filepath(dir_path):
        raise TypeError(f'dir_path must be a string or a Path, got {type(dir_path).__name__}.')
    if suffix is not None and not isinstance(suffix, (str, tuple)):
        raise TypeError(
            f'suffix must be a string or a tuple of strings, got {type(suffix).__name__}.'
        )
    if suffix is not None and not case_sensitive:
        suffix = suffix.lower() if isinstance(suffix, str) else tuple(s.lower() for s in suffix)
    return _walk_files(str(dir_path), '', suffix, recursive, case_sensitive)


def _walk_files(
    root: str,
    below: str,
    suffix: str | tuple[str, ...] | None,
    recursive: bool,
    case_sensitive: bool,
) -> Iterator[str]:
    with os.scandir(os.path.join(root, below)) as entries:
        for entry in entries:
            relative = os.path.join(below, entry.name)
            if entry.is_file():
                name = entry.name if case_sensitive else entry.name.lower()
                if not entry.name.startswith('.') and (suffix is None or name.endswith(suffix)):
                    yield relative
            elif recursive and entry.is_dir():
                yield from _walk_files(root, relative, suffix, recursive, case_sensitive)


def find_vcs_root(path: str | Path, markers: Iterable[str] = ('.git',)) -> str | None:
    """The nearest folder from ``path`` upwards that holds one of the markers; None without one.

    Args:
        path: Where to start: a folder or a file.
        markers: Names of files or folders that mark a root.
    """
    start = Path(os.path.expanduser(path)).absolute()
    for folder in (start, *start.parents):
        if any((folder / marker).exists() for marker in markers):
            return str(folder)
    return None
