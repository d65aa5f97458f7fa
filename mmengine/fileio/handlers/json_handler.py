"""JSON, with NumPy numbers and arrays as plain numbers and lists."""

import json
from typing import IO, Any

import numpy as np

from mmengine.fileio.handlers.base import BaseFileHandler
from mmengine.utils._public_name import public_name


def set_default(obj: Any) -> Any:
    """The form that is written for an object without a JSON form.

    Sets, ranges and arrays become lists, NumPy numbers become plain numbers.

    Raises:
        TypeError: If the object is none of these.
    """
    if isinstance(obj, (set, frozenset, range)):
        return list(obj)
    if isinstance(obj, np.ndarray):
        return obj.tolist()
    if isinstance(obj, np.generic):
        return obj.item()
    raise TypeError(f'JSON cannot hold a {public_name(type(obj))}.')


class JsonHandler(BaseFileHandler):
    """JSON files."""

    def load_from_fileobj(self, file: IO[Any]) -> Any:  # type: ignore[override]  # JSON has no options
        """Read the object in an open file.

        Raises:
            ValueError: If it is not JSON, or is nested deeper than Python's limit of calls.
        """
        try:
            return json.load(file)
        except RecursionError:
            raise ValueError('This JSON has too many levels of nesting.') from None

    def dump_to_fileobj(self, obj: Any, file: IO[Any], **kwargs: Any) -> None:
        """Write an object to an open file; ``kwargs`` go to :func:`json.dumps`."""
        # json.dump writes the same text, piece by piece and several times slower.
        file.write(self.dump_to_str(obj, **kwargs))

    def dump_to_str(self, obj: Any, **kwargs: Any) -> str:
        """An object as text; ``kwargs`` go to :func:`json.dumps`."""
        return json.dumps(obj, **{'default': set_default, **kwargs})
