"""Pickle files. Loading one runs code that it names: load only what you trust, or plain values."""

import pickle
from pathlib import Path
from typing import IO, Any

from mmengine.fileio.handlers.base import BaseFileHandler
from mmengine.utils._plain_pickle import READ_ERRORS, read_plain_pickle

# Every Python this package supports reads protocol 4, and it holds arrays of any size.
_PROTOCOL = 4


class _Unpickler(pickle.Unpickler):
    """Reads paths that another version of Python has written."""

    def find_class(self, module: str, name: str) -> Any:
        # Only Python 3.13 has this module, and pickles the classes of pathlib by it.
        return super().find_class('pathlib' if module == 'pathlib._local' else module, name)


class PickleHandler(BaseFileHandler):
    """Pickle files."""

    str_like = False

    def load_from_fileobj(
        self, file: IO[bytes], *, allow_pickle: bool = True, **kwargs: Any
    ) -> Any:
        """Read the object in an open file.

        Args:
            file: The file.
            allow_pickle: Let the file run code, as pickles can. Without it lists, dicts, texts,
                numbers and numpy arrays are read, more slowly, and any other object is refused.
            kwargs: The other arguments of :func:`pickle.load`.

        Raises:
            pickle.UnpicklingError: If the file is broken, or names other objects and
                ``allow_pickle`` is False.
        """
        if allow_pickle:
            return _Unpickler(file, **kwargs).load()
        try:
            content, left_out = read_plain_pickle(file)
        except READ_ERRORS as error:
            raise pickle.UnpicklingError(f'This is not a readable pickle: {error}') from error
        if left_out:
            raise pickle.UnpicklingError(
                f'This pickle names {", ".join(sorted(left_out))}, so reading it could run any '
                'code. Pass allow_pickle=True if you trust whoever made it.'
            )
        return content

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
