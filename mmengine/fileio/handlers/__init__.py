"""The file formats."""

from mmengine.fileio.handlers.base import BaseFileHandler
from mmengine.fileio.handlers.json_handler import JsonHandler
from mmengine.fileio.handlers.pickle_handler import PickleHandler
from mmengine.fileio.handlers.registry_utils import file_handlers, register_handler
from mmengine.fileio.handlers.yaml_handler import YamlHandler

__all__ = [
    'BaseFileHandler',
    'JsonHandler',
    'PickleHandler',
    'YamlHandler',
    'file_handlers',
    'register_handler',
]
