"""JSON, with NumPy numbers and arrays as plain numbers and lists."""

import json
from typing import IO, Any

import numpy as np

from mmengine.fileio.handlers.base import BaseFileHandler


def set_default(obj: Any) -> Any:
    """What JSON writes for an object it does not know.

    Sets, ranges and arrays become lists, the numbers of NumPy plain ones.

    Raises:
        TypeError: If the object is none of these.
    """
    if isinstance(obj, (set, frozenset, range)):
        return list(obj)
    if isinstance(obj, np.ndarray):
        return obj.tolist()
    if isinstance(obj, np.generic):
        return obj.item()
    raise TypeError(f'JSON cannot hold a {type(obj).__module__}.{type(obj).__qualname__}.')


class JsonHandler(BaseFileHandler):
    """JSON files."""

    def load_from_fileobj(self, file: IO[Any]) -> Any:  # type: ignore[override]  # JSON has no options
        """The object that an open file holds."""
        return json.load(file)

    def dump_to_fileobj(self, obj: Any, file: IO[Any], **kwargs: Any) -> None:
        """Write an object to an open file; ``kwargs`` go to :func:`json.dump`."""
        json.dump(obj, file, **{'default': set_default, **kwargs})

    def dump_to_str(self, obj: Any, **kwargs: Any) -> str:
        """An object as text; ``kwargs`` go to :func:`json.dumps`."""
        return json.dumps(obj, **{'default': set_default, **kwargs})
