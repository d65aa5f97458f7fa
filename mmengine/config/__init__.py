"""Configs: files in Python, JSON or YAML that describe a run."""

from mmengine.config._origin.places import placed, source_location
from mmengine.config.config import Config, DictAction, read_base
from mmengine.config.config_dict import ConfigDict
from mmengine.config.errors import ConfigError

__all__ = [
    'Config',
    'ConfigDict',
    'ConfigError',
    'DictAction',
    'placed',
    'read_base',
    'source_location',
]
