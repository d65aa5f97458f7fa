"""Lists and tables in plain text files."""

from collections.abc import Callable
from io import StringIO
from itertools import islice
from pathlib import Path
from typing import Any

from mmengine.fileio.io import BackendArgs, _backend_of
from mmengine.utils.errors import ArgumentError


def list_from_file(
    filename: str | Path,
    prefix: str = '',
    offset: int = 0,
    max_num: int = 0,
    encoding: str = 'utf-8',
    file_client_args: BackendArgs | None = None,
    backend_args: BackendArgs | None = None,
) -> list[str]:
    """The lines of a text file.

    Args:
        filename: The file.
        prefix: Put in front of each line.
        offset: How many lines to leave out at the start.
        max_num: How many lines to read at most; 0 means all.
        encoding: Encoding of the file.
        file_client_args: The old form of ``backend_args``.
        backend_args: See :mod:`mmengine.fileio.io`.
    """
    lines = _lines(filename, encoding, file_client_args, backend_args)
    stop = offset + max_num if max_num > 0 else None
    return [prefix + line for line in islice(lines, offset, stop)]


def dict_from_file(
    filename: str | Path,
    key_type: Callable[[str], Any] = str,
    encoding: str = 'utf-8',
    file_client_args: BackendArgs | None = None,
    backend_args: BackendArgs | None = None,
) -> dict[Any, str | list[str]]:
    """A table: the first word of each line, and the word (or the list of words) after it.

    Args:
        filename: The file.
        key_type: Called with each first word.
        encoding: Encoding of the file.
        file_client_args: The old form of ``backend_args``.
        backend_args: See :mod:`mmengine.fileio.io`.

    Raises:
        ArgumentError: If a line has no second word.
    """
    table: dict[Any, str | list[str]] = {}
    for number, line in enumerate(_lines(filename, encoding, file_client_args, backend_args), 1):
        key, *values = line.split() or ['']
        if not values:
            raise ArgumentError(
                f'{filename}:{number} should hold a key and at least one value, got {line!r}.'
            )
        table[key_type(key)] = values[0] if len(values) == 1 else values
    return table


def _lines(
    filename: str | Path,
    encoding: str,
    file_client_args: BackendArgs | None,
    backend_args: BackendArgs | None,
) -> list[str]:
    text = _backend_of(filename, file_client_args, backend_args).get_text(filename, encoding)
    # Not str.splitlines: that also cuts at form feeds and other marks which may be part of a line.
    return [line.rstrip('\r\n') for line in StringIO(text)]
