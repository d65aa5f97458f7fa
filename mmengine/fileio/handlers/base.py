"""The base class of file formats."""

from abc import ABCMeta, abstractmethod
from pathlib import Path
from typing import IO, Any

from mmengine.fileio._atomic import atomic_write


class BaseFileHandler(metaclass=ABCMeta):
    """Turns objects into the text or the bytes of one file format, and back.

    Attributes:
        str_like: Whether the format is text; otherwise it is bytes.
    """

    str_like = True

    @abstractmethod
    def load_from_fileobj(self, file: IO[Any], **kwargs: Any) -> Any:
        """Read the object in an open file."""

    @abstractmethod
    def dump_to_fileobj(self, obj: Any, file: IO[Any], **kwargs: Any) -> None:
        """Write an object to an open file."""

    @abstractmethod
    def dump_to_str(self, obj: Any, **kwargs: Any) -> Any:
        """An object as text or bytes."""

    def load_from_path(self, filepath: str | Path, mode: str = 'r', **kwargs: Any) -> Any:
        """Read the object in a local file."""
        with open(filepath, mode, encoding=None if 'b' in mode else 'utf-8') as file:
            return self.load_from_fileobj(file, **kwargs)

    def dump_to_path(self, obj: Any, filepath: str | Path, mode: str = 'w', **kwargs: Any) -> None:
        """Write an object to a local file, which appears whole or not at all."""
        with atomic_write(filepath, mode) as file:
            self.dump_to_fileobj(obj, file, **kwargs)
