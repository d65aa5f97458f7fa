"""Find config files: beside another one, or inside an installed package."""

from __future__ import annotations

import difflib
from pathlib import Path

from mmengine.config._reading.packages import external_base_path, package_and_path, package_folder
from mmengine.config.errors import ConfigFileNotFoundError, ConfigFormatError, ConfigParsingError

PYTHON_SUFFIXES = ('.py',)
DATA_SUFFIXES = ('.json', '.yaml', '.yml')


def checked_path(filename: str | Path, wanted_by: str = '') -> Path:
    """The absolute path of a config file that exists and has a known suffix.

    Args:
        wanted_by: What refers to the file, for the error.

    Raises:
        ConfigFileNotFoundError: If there is no such file; names the nearest files.
        ConfigFormatError: If its suffix is not .py, .json, .yaml or .yml.
    """
    path = Path(filename).expanduser().absolute()
    if path.suffix not in PYTHON_SUFFIXES + DATA_SUFFIXES:
        raise ConfigFormatError(
            f'{wanted_by}a config file ends in .py, .json, .yaml or .yml, got {str(filename)!r}'
        )
    if path.is_file():
        return path
    raise ConfigFileNotFoundError(
        f'{wanted_by}no config file {str(filename)!r}.{_nearest_files(path)}'
    )


def base_path(name: object, child: Path) -> tuple[Path, str | None]:
    """The file that ``_base_`` of ``child`` names, and the scope if it is in another package.

    Raises:
        ConfigParsingError: If ``name`` is not a string.
        ConfigFileNotFoundError: If there is no such file.
    """
    if not isinstance(name, str):
        raise ConfigParsingError(
            f'{child}: _base_ holds file names, got {type(name).__name__} {name!r}'
        )
    if '::' in name:
        package, inside = package_and_path(name)
        return external_base_path(package_folder(package), inside), package
    return checked_path(normalized(child.parent / name), wanted_by=f'{child}: _base_: '), None


def normalized(path: Path) -> Path:
    """``path`` without ``..`` inside, symbolic links kept as they are written."""
    import os.path

    return Path(os.path.normpath(path))


def _nearest_files(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f' The folder {str(folder)!r} does not exist.'
    names = sorted(
        item.name for item in folder.iterdir() if item.suffix in PYTHON_SUFFIXES + DATA_SUFFIXES
    )
    near = difflib.get_close_matches(path.name, names, n=3, cutoff=0.5)
    if near:
        return f' Did you mean {" or ".join(map(repr, near))} in {str(folder)!r}?'
    shown = ', '.join(names[:5]) + (f' and {len(names) - 5} more' if len(names) > 5 else '')
    return f' The folder {str(folder)!r} has {shown or "no config files"}.'
