"""Pickle files. Loading one runs code that it names: load only what you trust."""

import pickle
from pathlib import Path
from typing import IO, Any

from mmengine.fileio.handlers.base import BaseFileHandler

# Every Python this package supports reads protocol 4, and it holds arrays of any size.
_PROTOCOL = 4


class PickleHandler(BaseFileHandler):
    """Pickle files."""

    str_like = False

    def load_from_fileobj(self, file: IO[bytes], **kwargs: Any) -> Any:
        """Read the object in an open file; ``kwargs`` go to :func:`pickle.load`."""
        return pickle.load(file, **kwargs)

    def load_from_path(self, filepath: str | Path, **kwargs: Any) -> Any:  # type: ignore[override]  # bytes only
        """Read the object in a local file."""
        return super().load_from_path(filepath, mode='rb', **kwargs)

    def dump_to_fileobj(self, obj: Any, file: IO[bytes], **kwargs: Any) -> None:
        """Write an object to an open file; ``kwargs`` go to :func:`pickle.dump`."""
        pickle.dump(obj, file, **{'protocol': _PROTOCOL, **kwargs})

    def dump_to_path(self, obj: Any, filepath: str | Path, **kwargs: Any) -> None:  # type: ignore[override]  # bytes only
        """Write an object to a local file."""
        super().dump_to_path(obj, filepath, mode='wb', **kwargs)

    def dump_to_str(self, obj: Any, **kwargs: Any) -> bytes:
        """An object as bytes; ``kwargs`` go to :func:`pickle.dumps`."""
        return pickle.dumps(obj, **{'protocol': _PROTOCOL, **kwargs})
