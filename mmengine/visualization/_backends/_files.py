"""Files of records that appear line by line."""

import json
import math
import os
from collections.abc import Mapping
from typing import Any

from .base import tracker_value

# `json.dumps` would make an encoder for every record.
_encode = json.JSONEncoder(default=tracker_value, allow_nan=False).encode


class JsonLines:
    """Appends records to a file, one JSON object a line, each in one write.

    The file stays open between records. A line is written in one call, so a killed run
    leaves no half record, and readers may follow the file. NaN and the infinities, which JSON does
    not have, become null.

    Args:
        path: The file; it and its folder are made with the first record.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._descriptor: int | None = None

    def append(self, record: Mapping[str, Any]) -> None:
        """Write ``record`` as the next line.

        Raises:
            TypeError: If it holds something that is neither a number, text, a tensor nor a list or
                dict of them.
            OSError: If the file cannot be written.
        """
        self.append_line(json_line(record))

    def append_line(self, line: bytes) -> None:
        """Write a line that :func:`json_line` returned."""
        if self._descriptor is None:
            os.makedirs(os.path.dirname(self.path) or '.', exist_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | getattr(os, 'O_CLOEXEC', 0)
            self._descriptor = os.open(self.path, flags, 0o666)
        while line:
            line = line[os.write(self._descriptor, line) :]

    def close(self) -> None:
        """Close the file; the next record opens it again."""
        if self._descriptor is not None:
            descriptor, self._descriptor = self._descriptor, None
            os.close(descriptor)

    def __del__(self) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        # Two owners of one descriptor would close it twice; a copy opens its own.
        return {'path': self.path, '_descriptor': None}


def json_line(record: Mapping[str, Any]) -> bytes:
    """``record`` as a line of :class:`JsonLines`."""
    try:
        text = _encode(record)
    except ValueError:
        text = _encode(_without_non_finite(tracker_value(record)))
    return f'{text}\n'.encode()


def _without_non_finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _without_non_finite(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_without_non_finite(item) for item in value]
    return value
