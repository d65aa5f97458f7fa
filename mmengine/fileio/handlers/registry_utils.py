"""Which handler reads and writes a file format, by the suffix of the file."""

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from mmengine.fileio.handlers.base import BaseFileHandler
from mmengine.fileio.handlers.json_handler import JsonHandler
from mmengine.fileio.handlers.pickle_handler import PickleHandler
from mmengine.fileio.handlers.yaml_handler import YamlHandler
from mmengine.utils._sequences import is_seq_of

H = TypeVar('H', bound=type[BaseFileHandler])

file_handlers: dict[str, BaseFileHandler] = {}


def _register_handler(handler: BaseFileHandler, file_formats: str | Sequence[str]) -> None:
    if not isinstance(handler, BaseFileHandler):
        raise TypeError(
            f'A handler must be a BaseFileHandler, got an instance of {type(handler).__name__}.'
        )
    if not is_seq_of(file_formats, str):
        raise TypeError(
            f'file_formats must be a string or a list of strings, got {file_formats!r}.'
        )
    formats = [file_formats] if isinstance(file_formats, str) else file_formats
    file_handlers.update(dict.fromkeys(formats, handler))


def register_handler(file_formats: str | Sequence[str], **kwargs: Any) -> Callable[[H], H]:
    """Decorator for the class that handles one or several file formats.

    Args:
        file_formats: Suffixes of the files, without the dot.
        kwargs: Arguments of the class.

    Raises:
        TypeError: If the class is not a ``BaseFileHandler``, or the formats are not strings.
    """

    def decorate(cls: H) -> H:
        _register_handler(cls(**kwargs), file_formats)
        return cls

    return decorate


_register_handler(JsonHandler(), 'json')
_register_handler(YamlHandler(), ['yaml', 'yml'])
_register_handler(PickleHandler(), ['pickle', 'pkl'])
